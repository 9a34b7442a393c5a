"""One service a state folder: two would raise each alarm twice."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO, Final

from humwatch_service.errors import StateUnusable

FILE: Final = "lock"


class FolderLock:
    """Held by a process until it ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Take the lock, or go on holding it. Raises :class:`StateUnusable` when another process has it."""
        if self._file is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab")
        except OSError as error:
            raise StateUnusable(f"{self._path} cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise StateUnusable(f"{self._path.parent} is in use by another humwatch service") from error
        self._file = file

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None
