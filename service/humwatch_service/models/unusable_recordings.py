"""Recordings of a calibration that cannot be used: all are named at once, or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from humwatch.audio.files import some_of
from humwatch.errors import AudioError, CalibrationError, HumwatchError
from humwatch_service.errors import FileUnreadable

NAMED: Final = 20
"""Recordings that cannot be used and are named, of as many as there are."""


class UnusableRecordings:
    """Recordings that cannot be used, each with the reason.

    Args:
        on_unusable: callback for each, which is then left out; None where none may be.
    """

    def __init__(self, on_unusable: Callable[[Path, HumwatchError], None] | None) -> None:
        self._on_unusable = on_unusable
        self._errors: dict[Path, HumwatchError] = {}

    @contextmanager
    def noted(self, path: Path) -> Iterator[None]:
        """Note what goes wrong with a recording inside, with its path."""
        try:
            yield
        except CalibrationError as error:
            self._note(path, error)
        except AudioError as error:
            self._note(path, type(error)(f"{path}: {error}"))
        except OSError as error:
            self._note(path, FileUnreadable(f"{path} cannot be read: {error.strerror}"))

    def _note(self, path: Path, error: HumwatchError) -> None:
        self._errors[path] = error
        if self._on_unusable is not None:
            self._on_unusable(path, error)

    def check(self, *, nothing_left: bool) -> None:
        """Raise an error that names all of them, of the kind of the first, unless they may be left out."""
        if not self._errors or (self._on_unusable is not None and not nothing_left):
            return
        first, *others = self._errors.values()
        if not others:
            raise first
        named = some_of([first, *others], NAMED)
        raise type(first)(f"{len(self._errors)} recordings cannot be used: {named}")
