"""Rows of watched folders: which recordings are done with, and which sound may be needed again after a restart."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from humwatch_service.storage.database import Database
from humwatch_service.storage.folder_records import FileIdentity, FileOutcome, FileRow, FolderPart, KeptFolder
from humwatch_service.storage.schema import FOLDER_FILES, FOLDER_PARTS, FOLDERS

ROWS_TOGETHER: Final = 5_000
"""Most rows that are written in one transaction, so that nobody else waits long."""
_NAMES_TOGETHER: Final = 500
_WRITE_FILE: Final = f"INSERT OR REPLACE INTO {FOLDER_FILES.name} VALUES ({', '.join('?' * len(FOLDER_FILES.columns))})"


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

    def find(self, key: int, paths: Collection[str]) -> dict[str, list[FileRow]]:
        """Return the files of these paths that are done with; several of one path had other sizes or times."""
        names = [os.fsencode(path) for path in paths]
        found: dict[str, list[FileRow]] = {}
        with self._database.reading() as connection:
            for at in range(0, len(names), _NAMES_TOGETHER):
                these = FOLDER_FILES.c.path.in_(names[at : at + _NAMES_TOGETHER])
                rows = connection.execute(select(FOLDER_FILES).where(FOLDER_FILES.c.folder_key == key, these))
                for row in map(_file_of, rows.mappings()):
                    found.setdefault(row.path, []).append(row)
        return found

    def find_moved(self, key: int, identity: FileIdentity) -> FileRow | None:
        """Return a file that is done with, under whatever path; None where none is the same by the file system."""
        with self._database.reading() as connection:
            same = _same_file(FOLDER_FILES, key, identity)
            row = connection.execute(select(FOLDER_FILES).where(same).limit(1)).mappings().one_or_none()
            return None if row is None else _file_of(row)

    def note(self, key: int, files: Iterable[FileRow], instead_of: Iterable[FileRow] = ()) -> None:
        """Keep files that are done with, and forget what they were kept as before."""
        with self._database.writing() as connection:
            _delete_files(connection, key, instead_of)
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

    def recall(self, key: int, outcome: FileOutcome) -> None:
        """Forget files that were passed over for a reason that may be none any more, so that they are heard."""
        these = and_(FOLDER_FILES.c.folder_key == key, FOLDER_FILES.c.outcome == outcome)
        with self._database.writing() as connection:
            connection.execute(delete(FOLDER_FILES).where(these))

    def is_part(self, key: int, identity: FileIdentity) -> bool:
        """Return True if a file is a part of a stream whose sound may be needed again, under whatever name."""
        with self._database.reading() as connection:
            same = _same_file(FOLDER_PARTS, key, identity)
            return connection.execute(select(FOLDER_PARTS.c.number).where(same).limit(1)).one_or_none() is not None

    def oldest(self, key: int, after: tuple[float, str], limit: int) -> list[FileRow]:
        """Return the files that were noted first, in that order, from behind a time and path on."""
        place = tuple_(FOLDER_FILES.c.noted_s, FOLDER_FILES.c.path)
        rows = (
            select(FOLDER_FILES)
            .where(FOLDER_FILES.c.folder_key == key, place > tuple_(after[0], os.fsencode(after[1])))
            .order_by(FOLDER_FILES.c.noted_s, FOLDER_FILES.c.path)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_file_of(row) for row in connection.execute(rows).mappings()]

    def forget(self, key: int, files: Iterable[FileRow]) -> None:
        """Forget files."""
        with self._database.writing() as connection:
            _delete_files(connection, key, files)

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


def _same_file(table: Table, key: int, identity: FileIdentity) -> ColumnElement[bool]:
    """Return the condition of rows of a file that is the same by the file system, under whatever name."""
    return and_(
        table.c.folder_key == key,
        table.c.inode == identity.inode,
        table.c.size == identity.size,
        table.c.modified_ns == identity.modified_ns,
    )


def _file_of_part(key: int, part: FolderPart) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the row of a part's file, unless another of that name took its place."""
    return (
        FOLDER_FILES.c.folder_key == key,
        FOLDER_FILES.c.path == os.fsencode(part.path),
        FOLDER_FILES.c.size == part.identity.size,
        FOLDER_FILES.c.modified_ns == part.identity.modified_ns,
    )


def _write_files(connection: Connection, key: int, files: Iterable[FileRow]) -> None:
    rows = [
        (
            key,
            os.fsencode(file.path),
            file.identity.size,
            file.identity.modified_ns,
            file.identity.inode,
            file.identity.changed_ns,
            file.outcome,
            file.recorded_s,
            file.noted_s,
            file.fingerprint,
        )
        for file in files
    ]
    if rows:  # by the driver itself: there may be 100,000, and the service's first minute is not theirs alone
        connection.exec_driver_sql(_WRITE_FILE, rows)


def _delete_files(connection: Connection, key: int, files: Iterable[FileRow]) -> None:
    rows = [
        {"of": key, "at": os.fsencode(file.path), "bytes": file.identity.size, "then": file.identity.modified_ns}
        for file in files
    ]
    if rows:
        one = and_(
            FOLDER_FILES.c.folder_key == bindparam("of"),
            FOLDER_FILES.c.path == bindparam("at"),
            FOLDER_FILES.c.size == bindparam("bytes"),
            FOLDER_FILES.c.modified_ns == bindparam("then"),
        )
        connection.execute(delete(FOLDER_FILES).where(one), rows)


def _identity_values(identity: FileIdentity) -> dict[str, int]:
    return {"size": identity.size, "modified_ns": identity.modified_ns, "inode": identity.inode}


def _identity_of(row: Mapping[Any, Any]) -> FileIdentity:
    return FileIdentity(row["size"], row["modified_ns"], row["inode"], row.get("changed_ns", 0))


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
