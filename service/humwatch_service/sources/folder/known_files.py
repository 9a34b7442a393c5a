"""Recordings that are done with, known again by what the file system says of them, or by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from humwatch_service.sources.folder.name_times import FIRST_S
from humwatch_service.sources.folder.scan import FoundFile
from humwatch_service.storage.folder_rows import FileIdentity, FileRow, FolderRows

MAX_GONE: Final = 100_000
"""Most recordings that are remembered though they are not there: a card that is out, a share that is away."""
FORGOTTEN_TOGETHER: Final = 2_000
_EDGE_BYTES: Final = 65_536
_BLOCK_BYTES: Final = 4_096
_BLOCKS: Final = 8
_SHIFT_NS: Final = 900 * 10**9
_FAT_NS: Final = 2 * 10**9


class KnownFiles:
    """What is known of the recordings of a folder: 130 bytes of memory each, the rest in the database.

    For one thread at a time; every method but the first two blocks, and may raise :class:`StateUnusable`.
    """

    def __init__(self, rows: FolderRows, key: int, root: Path) -> None:
        """Read what is known.

        Args:
            rows: rows of watched folders.
            key: number of the folder.
            root: the folder.
        """
        self._rows = rows
        self._key = key
        self._root = root
        self._signatures = {hash(row.path): _signature(row.identity) for row in rows.files(key)}

    def __len__(self) -> int:
        return len(self._signatures)

    def has_name(self, path: str) -> bool:
        """Return True if a recording of this path is done with, whatever its content was."""
        return hash(path) in self._signatures

    def knows(self, path: str, identity: FileIdentity) -> bool:
        """Return True if this file is done with, as far as can be said at once."""
        return self._signatures.get(hash(path)) == _signature(identity)

    def note(self, files: Sequence[FileRow]) -> None:
        """Keep that recordings are done with."""
        self._rows.note(self._key, files)
        self.learn(files)

    def learn(self, files: Iterable[FileRow]) -> None:
        """Know recordings that the database has."""
        self._signatures.update((hash(file.path), _signature(file.identity)) for file in files)

    def unlearn(self, path: str) -> None:
        """Know a recording no more that the database has forgotten."""
        self._signatures.pop(hash(path), None)

    def resolve(self, found: Sequence[FoundFile]) -> tuple[list[FoundFile], list[FileRow]]:
        """Return which files are new, and the rows of those that are known under another name.

        A file is the same as before if its path, size and time are (a share that was mounted anew gives it another
        number), if its content is (it was touched), or if its number, size and time are (it was renamed, or is a
        hard link). Where the time of a file says nothing, as of a recorder without a clock, the content decides.
        """
        rows = self._rows.find(self._key, [file.path for file in found])
        new: list[FoundFile] = []
        same: list[FileRow] = []
        moved: list[FileRow] = []
        for file in found:
            row = rows.get(file.path)
            if row is not None and self._is_same(row, file):
                same.append(_renamed(row, file))
            elif (other := self.moved(file)) is not None:
                moved.append(_renamed(other, file))
            else:
                new.append(file)
        if same or moved:
            self.note([*same, *moved])
        return new, moved

    def moved(self, file: FoundFile) -> FileRow | None:
        """Return the row of a file that is known under another name, or was; None where there is none."""
        row = self._rows.find_moved(self._key, file.identity) if self._signatures else None
        return row if row is not None and row.path != file.path and self._is_same(row, file) else None

    def fingerprint(self, path: str, size: int) -> bytes | None:
        """Return the digest of a file's begin, end and a few places between; None where it cannot be read."""
        try:
            with (self._root / path).open("rb") as file:
                digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
                digest.update(file.read(_EDGE_BYTES))
                for number in range(1, _BLOCKS + 1):
                    file.seek(size * number // (_BLOCKS + 1))
                    digest.update(file.read(_BLOCK_BYTES))
                file.seek(max(0, size - _EDGE_BYTES))
                digest.update(file.read(_EDGE_BYTES))
        except OSError:
            return None
        return digest.digest()

    def forget_gone(self, present: int) -> int:
        """Forget recordings that are not there, those that were noted first, where there are too many; return how many.

        Args:
            present: number of recordings that are there.
        """
        excess = len(self) - present - MAX_GONE
        if present == 0 or excess <= 0:
            return 0
        gone: list[str] = []
        after = (-1.0, "")
        while len(gone) < min(excess, FORGOTTEN_TOGETHER):
            oldest = self._rows.oldest(self._key, after, FORGOTTEN_TOGETHER)
            if not oldest:
                break
            gone += [path for _, path in oldest if not os.path.lexists(self._root / path)]
            after = oldest[-1]
        self._rows.forget(self._key, gone)
        for path in gone:
            self._signatures.pop(hash(path), None)
        return len(gone)

    def _is_same(self, row: FileRow, file: FoundFile) -> bool:
        before, now = row.identity, file.identity
        if before.size != now.size:
            return False
        same_time = before.modified_ns == now.modified_ns
        if same_time and before.modified_s >= FIRST_S and (row.path == file.path or row.fingerprint is None):
            return True
        if row.fingerprint is None:
            return same_time or _is_shifted(before, now)
        return self.fingerprint(file.path, now.size) == row.fingerprint


def _renamed(row: FileRow, file: FoundFile) -> FileRow:
    return FileRow(file.path, file.identity, row.outcome, row.noted_s, row.recorded_s, row.fingerprint)


def _is_shifted(before: FileIdentity, now: FileIdentity) -> bool:
    """Return True for a time that a FAT file system, which keeps local time, shows in another zone."""
    shift_ns = now.modified_ns - before.modified_ns
    return shift_ns % _SHIFT_NS == 0 and abs(shift_ns) <= 56 * _SHIFT_NS and now.modified_ns % _FAT_NS == 0


def _signature(identity: FileIdentity) -> int:
    return hash((identity.size, identity.modified_ns, identity.inode))
