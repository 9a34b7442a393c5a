"""Recordings that are done with, known again by what the file system says of them, or by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from humwatch_service.sources.folder.name_times import FIRST_S
from humwatch_service.sources.folder.scan import FoundFile
from humwatch_service.storage.folder_records import FileIdentity, FileRow, FolderPart
from humwatch_service.storage.folder_rows import FolderRows

MAX_GONE: Final = 100_000
"""Most recordings that are remembered though they are not there: a card that is out, a share that is away."""
FORGOTTEN_TOGETHER: Final = 2_000
_EDGE_BYTES: Final = 65_536
_BLOCK_BYTES: Final = 4_096
_BLOCKS: Final = 8
"""Content is compared by both ends and so many blocks between: whole recordings over a network would take minutes."""
_SHIFT_NS: Final = 900 * 10**9
"""Zones differ by multiples of a quarter of an hour."""
_FAT_NS: Final = 2 * 10**9
"""FAT keeps times of change in steps of two seconds."""


class KnownFiles:
    """Recordings of a folder that are done with: 130 bytes of memory each, the rest in the database.

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
        self._signatures: set[int] = set()
        self._names: set[int] = set()
        self.learn(rows.files(key))

    def __len__(self) -> int:
        return len(self._signatures)

    def has_name(self, path: str) -> bool:
        """Return True if a recording of this path is done with, whatever its content was."""
        return hash(path) in self._names

    def knows(self, path: str, identity: FileIdentity) -> bool:
        """Return True if this file is done with, as far as can be said at once."""
        return _signature(path, identity) in self._signatures

    def note(self, files: Sequence[FileRow], instead_of: Sequence[FileRow] = ()) -> None:
        """Keep that recordings are done with, and forget what they were kept as before."""
        self._rows.note(self._key, files, instead_of)
        self.unlearn(instead_of)
        self.learn(files)

    def learn(self, files: Iterable[FileRow]) -> None:
        """Know recordings that the database has."""
        for file in files:
            self._names.add(hash(file.path))
            self._signatures.add(_signature(file.path, file.identity))

    def unlearn(self, files: Iterable[FileRow]) -> None:
        """Know recordings no more that the database has forgotten."""
        self._signatures.difference_update(_signature(file.path, file.identity) for file in files)

    def lose(self, part: FolderPart) -> None:
        """Forget a part and its file, which is new if it comes back."""
        rows = self._rows.find(self._key, [part.path]).get(part.path, [])
        self._rows.lose(self._key, part)
        self._names.discard(hash(part.path))
        self.unlearn(row for row in rows if row.identity == part.identity)

    def resolve(self, found: Sequence[FoundFile]) -> tuple[list[FoundFile], list[FileRow]]:
        """Return which files are new, and the rows of those that are known.

        A file is the same as before if its path, size and time are (a share that was mounted anew gives it another
        number), if its content is (it was touched), or if its number, size and time are (it was renamed, or is a
        hard link). Where the time of a file says nothing, as of a recorder without a clock, the content decides.
        """
        rows = self._rows.find(self._key, [file.path for file in found])
        new: list[FoundFile] = []
        before: list[FileRow] = []
        same: list[FileRow] = []
        moved: list[FileRow] = []
        for file in found:
            row = next((row for row in rows.get(file.path, ()) if self._is_same(row, file)), None)
            if row is not None:
                before.append(row)
                same.append(_renamed(row, file))
            elif (other := self.moved(file)) is not None:
                moved.append(_renamed(other, file))
            else:
                new.append(file)
        known = [*same, *moved]
        if known:
            self.note(known, before)
        return new, known

    def moved(self, file: FoundFile) -> FileRow | None:
        """Return the row of a file that is known under another name, or was; None where there is none."""
        row = self._rows.find_moved(self._key, file.identity) if self._signatures else None
        return row if row is not None and row.path != file.path and self._is_same(row, file) else None

    def has_grown(self, file: FoundFile) -> bool:
        """Return True for a file that was heard before, and became longer since."""
        rows = self._rows.find(self._key, [file.path]).get(file.path, []) if self.has_name(file.path) else []
        now = file.identity
        return any(
            row.outcome == "heard" and row.identity.inode == now.inode and row.identity.size < now.size for row in rows
        )

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
        gone: list[FileRow] = []
        after = (-1.0, "")
        while len(gone) < min(excess, FORGOTTEN_TOGETHER):
            oldest = self._rows.oldest(self._key, after, FORGOTTEN_TOGETHER)
            if not oldest:
                break
            gone += [row for row in oldest if not self._is_there(row)]
            after = (oldest[-1].noted_s, oldest[-1].path)
        gone = gone[:excess]
        self._rows.forget(self._key, gone)
        self.unlearn(gone)
        return len(gone)

    def _is_there(self, row: FileRow) -> bool:
        try:
            now = FileIdentity.of((self._root / row.path).stat())
        except OSError:
            return False
        return (now.size, now.modified_ns) == (row.identity.size, row.identity.modified_ns)

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


def _signature(path: str, identity: FileIdentity) -> int:
    return hash((path, identity.size, identity.modified_ns, identity.inode, identity.changed_ns))
