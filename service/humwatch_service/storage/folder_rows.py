"""Rows of watched folders: which recordings are done with, and which sound may be needed again after a restart."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from humwatch_service.storage.database import Database
from humwatch_service.storage.schema import FOLDER_FILES, FOLDER_PARTS, FOLDERS

FileOutcome = Literal["heard", "existing", "empty", "unreadable", "unsupported", "gone"]
"""What became of a recording; all but ``heard`` were passed over."""
FILE_OUTCOMES: Final[tuple[FileOutcome, ...]] = get_args(FileOutcome)

ROWS_TOGETHER: Final = 5_000
"""Most rows that are written in one transaction, so that nobody else waits long."""
_NAMES_TOGETHER: Final = 500
_INT64: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What the file system says of a file, by which it is known again.

    Attributes:
        size: size, bytes.
        modified_ns: last change, nanoseconds since 1970.
        inode: number of the file, as a signed number of 64 bits.
    """

    size: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        """Return the identity of a file."""
        inode = status.st_ino % _INT64
        return cls(status.st_size, status.st_mtime_ns, inode - _INT64 if inode >= _INT64 // 2 else inode)

    @property
    def modified_s(self) -> float:
        """Last change, seconds since 1970."""
        return self.modified_ns / 1e9


@dataclass(frozen=True, slots=True)
class FileRow:
    """A recording that is done with.

    Attributes:
        path: path inside the folder.
        identity: what the file system said of it then.
        outcome: what became of it.
        noted_s: when that was noted, seconds since 1970.
        recorded_s: when it was taken, seconds since 1970; None where nobody looked.
        fingerprint: digest of parts of its content; None where it was not read.
    """

    path: str
    identity: FileIdentity
    outcome: FileOutcome
    noted_s: float
    recorded_s: float | None = None
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class FolderPart:
    """A recording as a part of a stream.

    Attributes:
        number: place in the order in which recordings are heard.
        path: path inside the folder.
        identity: what the file system said of it.
        stream_id: name of the count of samples.
        start_sample: index of its first sample in that count.
        samples: number of its samples, as its header says.
        rate_hz: sample rate, Hz.
        recorded_s: when the first sample was taken, seconds since 1970.
    """

    number: int
    path: str
    identity: FileIdentity
    stream_id: str
    start_sample: int
    samples: int
    rate_hz: int
    recorded_s: float


@dataclass(frozen=True)
class KeptFolder:
    """What is kept of a folder, but for its files.

    Attributes:
        key: number of the folder.
        device: device that it lay on when it was looked at for the first time; None before.
        stream_id: stream that was scored last; None before any.
        scored_until: sample before which its sound is done with.
        parts: recordings whose sound may be needed again, in order.
    """

    key: int
    device: str | None
    stream_id: str | None
    scored_until: int
    parts: tuple[FolderPart, ...]


class FolderRows:
    """Watched folders in the database; used from any thread. Every method blocks and may raise StateUnusable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, machine_id: str, folder: str) -> KeptFolder:
        """Return what is kept of a folder that is watched for a machine; it may be new."""
        place = {"machine_id": machine_id, "folder": os.fsencode(folder)}
        with self._database.writing() as connection:
            connection.execute(insert(FOLDERS).values(**place).on_conflict_do_nothing())
            row = connection.execute(
                select(FOLDERS).where(FOLDERS.c.machine_id == machine_id, FOLDERS.c.folder == place["folder"])
            ).one()
            parts = connection.execute(
                select(FOLDER_PARTS).where(FOLDER_PARTS.c.folder_key == row.key).order_by(FOLDER_PARTS.c.number)
            ).mappings()
            return KeptFolder(
                row.key, row.device, row.stream_id, row.scored_until, tuple(_part_of(part) for part in parts)
            )

    def files(self, key: int) -> Iterator[FileRow]:
        """Yield all files of a folder that are done with."""
        with self._database.reading() as connection:
            for row in connection.execute(select(FOLDER_FILES).where(FOLDER_FILES.c.folder_key == key)).mappings():
                yield _file_of(row)

    def find(self, key: int, paths: Collection[str]) -> dict[str, FileRow]:
        """Return the files of these paths that are done with."""
        names = [os.fsencode(path) for path in paths]
        found: dict[str, FileRow] = {}
        with self._database.reading() as connection:
            for at in range(0, len(names), _NAMES_TOGETHER):
                these = FOLDER_FILES.c.path.in_(names[at : at + _NAMES_TOGETHER])
                rows = connection.execute(select(FOLDER_FILES).where(FOLDER_FILES.c.folder_key == key, these))
                found.update((row.path, row) for row in map(_file_of, rows.mappings()))
        return found

    def find_moved(self, key: int, identity: FileIdentity) -> FileRow | None:
        """Return a file that is done with, under whatever path; None where none is the same by the file system."""
        same = and_(
            FOLDER_FILES.c.folder_key == key,
            FOLDER_FILES.c.inode == identity.inode,
            FOLDER_FILES.c.size == identity.size,
            FOLDER_FILES.c.modified_ns == identity.modified_ns,
        )
        with self._database.reading() as connection:
            row = connection.execute(select(FOLDER_FILES).where(same).limit(1)).mappings().one_or_none()
            return None if row is None else _file_of(row)

    def note(self, key: int, files: Iterable[FileRow]) -> None:
        """Keep files that are done with, over what was kept of their paths."""
        with self._database.writing() as connection:
            _write_files(connection, key, files)

    def begin(self, key: int, device: str) -> None:
        """Note that a folder was looked at for the first time."""
        with self._database.writing() as connection:
            connection.execute(update(FOLDERS).where(FOLDERS.c.key == key).values(device=device))

    def assign(self, key: int, part: FolderPart, file: FileRow) -> None:
        """Keep that a recording is a part of a stream, before any of its sound is sent."""
        place = {"folder_key": key, "number": part.number, "path": os.fsencode(part.path)}
        names = ("stream_id", "start_sample", "samples", "rate_hz", "recorded_s")
        stream = {name: getattr(part, name) for name in names}
        with self._database.writing() as connection:
            _write_files(connection, key, [file])
            connection.execute(insert(FOLDER_PARTS).values(**place, **_identity_values(part.identity), **stream))

    def advance(self, key: int, stream_id: str, scored_until: int, done: Collection[int]) -> None:
        """Keep how far a stream was scored, and forget parts whose sound is not needed again."""
        with self._database.writing() as connection:
            values = {"stream_id": stream_id, "scored_until": scored_until}
            connection.execute(update(FOLDERS).where(FOLDERS.c.key == key).values(**values))
            these = and_(FOLDER_PARTS.c.folder_key == key, FOLDER_PARTS.c.number.in_(done))
            connection.execute(delete(FOLDER_PARTS).where(these))

    def fail(self, key: int, part: FolderPart, outcome: FileOutcome) -> None:
        """Keep what became of the file of a part."""
        with self._database.writing() as connection:
            connection.execute(update(FOLDER_FILES).where(*_file_of_part(key, part)).values(outcome=outcome))

    def lose(self, key: int, part: FolderPart) -> None:
        """Forget a part and its file."""
        one = and_(FOLDER_PARTS.c.folder_key == key, FOLDER_PARTS.c.number == part.number)
        with self._database.writing() as connection:
            connection.execute(delete(FOLDER_FILES).where(*_file_of_part(key, part)))
            connection.execute(delete(FOLDER_PARTS).where(one))

    def recall(self, key: int, since_s: float | None) -> None:
        """Forget files that were there before the folder was watched, so that they are heard.

        Args:
            key: number of the folder.
            since_s: only those that were taken from then on, seconds since 1970; None: all.
        """
        there = and_(FOLDER_FILES.c.folder_key == key, FOLDER_FILES.c.outcome == "existing")
        late = [] if since_s is None else [FOLDER_FILES.c.recorded_s >= since_s]
        with self._database.writing() as connection:
            connection.execute(delete(FOLDER_FILES).where(there, *late))

    def oldest(self, key: int, after: tuple[float, str], limit: int) -> list[tuple[float, str]]:
        """Return when files were noted, and their paths, in that order, from behind one on."""
        place = tuple_(FOLDER_FILES.c.noted_s, FOLDER_FILES.c.path)
        rows = (
            select(FOLDER_FILES.c.noted_s, FOLDER_FILES.c.path)
            .where(FOLDER_FILES.c.folder_key == key, place > tuple_(after[0], os.fsencode(after[1])))
            .order_by(FOLDER_FILES.c.noted_s, FOLDER_FILES.c.path)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [(noted_s, os.fsdecode(path)) for noted_s, path in connection.execute(rows)]

    def forget(self, key: int, paths: Collection[str]) -> None:
        """Forget files."""
        names = [os.fsencode(path) for path in paths]
        with self._database.writing() as connection:
            for at in range(0, len(names), _NAMES_TOGETHER):
                these = FOLDER_FILES.c.path.in_(names[at : at + _NAMES_TOGETHER])
                connection.execute(delete(FOLDER_FILES).where(FOLDER_FILES.c.folder_key == key, these))

    def counts(self, key: int) -> dict[str, int]:
        """Return how many files are known, by what became of them."""
        counted = (
            select(FOLDER_FILES.c.outcome, func.count().label("number"))
            .where(FOLDER_FILES.c.folder_key == key)
            .group_by(FOLDER_FILES.c.outcome)
        )
        with self._database.reading() as connection:
            return {row.outcome: row.number for row in connection.execute(counted)}

    def newest_heard_s(self, key: int) -> float | None:
        """Return when the newest recording that was heard was taken, seconds since 1970; None without one."""
        heard = and_(FOLDER_FILES.c.folder_key == key, FOLDER_FILES.c.outcome == "heard")
        with self._database.reading() as connection:
            found: float | None = connection.execute(
                select(func.max(FOLDER_FILES.c.recorded_s)).where(heard)
            ).scalar_one()
            return found


def _file_of_part(key: int, part: FolderPart) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the row of a part's file, unless another of that name took its place."""
    return (
        FOLDER_FILES.c.folder_key == key,
        FOLDER_FILES.c.path == os.fsencode(part.path),
        FOLDER_FILES.c.modified_ns == part.identity.modified_ns,
    )


def _write_files(connection: Connection, key: int, files: Iterable[FileRow]) -> None:
    rows = [
        {
            "folder_key": key,
            "path": os.fsencode(file.path),
            **_identity_values(file.identity),
            "outcome": file.outcome,
            "recorded_s": file.recorded_s,
            "noted_s": file.noted_s,
            "fingerprint": file.fingerprint,
        }
        for file in files
    ]
    if rows:
        new = insert(FOLDER_FILES)
        written = {name: getattr(new.excluded, name) for name in rows[0] if name not in ("folder_key", "path")}
        connection.execute(new.on_conflict_do_update(index_elements=["folder_key", "path"], set_=written), rows)


def _identity_values(identity: FileIdentity) -> dict[str, int]:
    return {"size": identity.size, "modified_ns": identity.modified_ns, "inode": identity.inode}


def _identity_of(row: Mapping[Any, Any]) -> FileIdentity:
    return FileIdentity(row["size"], row["modified_ns"], row["inode"])


def _file_of(row: Mapping[Any, Any]) -> FileRow:
    return FileRow(
        path=os.fsdecode(row["path"]),
        identity=_identity_of(row),
        outcome=row["outcome"],
        noted_s=row["noted_s"],
        recorded_s=row["recorded_s"],
        fingerprint=row["fingerprint"],
    )


def _part_of(row: Mapping[Any, Any]) -> FolderPart:
    return FolderPart(
        number=row["number"],
        path=os.fsdecode(row["path"]),
        identity=_identity_of(row),
        stream_id=row["stream_id"],
        start_sample=row["start_sample"],
        samples=row["samples"],
        rate_hz=row["rate_hz"],
        recorded_s=row["recorded_s"],
    )
