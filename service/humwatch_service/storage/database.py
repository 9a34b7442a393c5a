"""The SQLite file: one connection that writes, a few that read, and every failure of the disk by its name."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import QueuePool

from humwatch_service.errors import StateUnusable
from humwatch_service.storage.schema import METADATA, SCHEMA_VERSION

READERS: Final = 4
_PRAGMAS: Final = (
    "journal_mode = WAL",  # who reads does not block who writes
    "synchronous = FULL",  # a commit is on the disk when it returns, also if the power goes
    "foreign_keys = ON",
    "journal_size_limit = 16777216",  # the log of one huge change does not stay
)

_REASONS: Final = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_BUSY": "it is locked by another program",
    "SQLITE_CORRUPT": "it is damaged: put a copy from before in its place, or move it away",
    "SQLITE_NOTADB": "it is damaged or no database: put a copy from before in its place, or move it away",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_IOERR": "the disk does not read or write",
}

_OURS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError)


class Database:
    """SQLite file that is opened when first needed and again after a failure; used from any thread.

    Args:
        path: the file; its folder is made.
        busy_timeout_s: longest wait for another writer, seconds.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._open_lock = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._doubtful = False
        self._writer = self._engine("BEGIN IMMEDIATE", connections=1)
        self._reader = self._engine("BEGIN", connections=READERS)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is on the disk when the block ends, or not at all. Raises :class:`StateUnusable`."""
        with self._named():
            if not self._write_lock.acquire(timeout=self._busy_timeout_s):
                raise StateUnusable(f"{self.path}: another change is not written yet; the disk may be slow")
            try:
                if self._doubtful:  # a reader that found the file read-only keeps it so for this whole process
                    self.close()
                with self._transaction(self._writer) as connection:
                    yield connection
                self._doubtful = False
            finally:
                self._write_lock.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a view of one state of the data, whatever is written meanwhile. Raises :class:`StateUnusable`."""
        with self._named(), self._transaction(self._reader) as connection:
            yield connection

    def close(self) -> None:
        """Give the file back; the write-ahead log is worked in."""
        with self._open_lock:
            self._let_go()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        self._open()
        with engine.connect() as connection:
            try:
                with connection.begin():
                    yield connection
            except (exc.SQLAlchemyError, sqlite3.Error):
                connection.invalidate()  # the next one asks the disk anew
                raise

    def _open(self) -> None:
        if self._file is not None and self._file == self._found():
            return
        with self._open_lock:
            found = self._found()
            if self._file is not None and self._file != found:
                self._let_go()
                raise StateUnusable(f"{self.path}: was removed or replaced while in use; it is opened anew")
            if self._file is None:
                self._prepare()
                self._file = self._found()

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _let_go(self) -> None:
        self._reader.dispose()
        self._writer.dispose()
        self._file = None

    def _prepare(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._has_all_tables():
            with self._writer.connect() as connection, connection.begin():
                METADATA.create_all(connection)  # those that are missing: a newer version of the schema may only add
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif self._lacks_tables(self._reader):  # written by a version before they were added
            with self._writer.connect() as connection, connection.begin():
                METADATA.create_all(connection)

    @staticmethod
    def _lacks_tables(engine: Engine) -> bool:
        with engine.connect() as connection:
            return not set(METADATA.tables) <= set(inspect(connection).get_table_names())

    def _has_all_tables(self) -> bool:
        with self._reader.connect() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            return bool(version) and set(METADATA.tables) <= set(inspect(connection).get_table_names())

    def _engine(self, begin: str, *, connections: int) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=self._busy_timeout_s,
            # no transaction that the driver opens by itself; a connection goes from thread to thread
            connect_args={"isolation_level": None, "timeout": self._busy_timeout_s, "check_same_thread": False},
        )
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _set_up(self, connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        try:
            self._refuse_strange(cursor)
            for pragma in _PRAGMAS:
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()

    def _refuse_strange(self, cursor: DBAPICursor) -> None:
        """Refuse a file that is not ours, before anything in it is changed."""
        cursor.execute("SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version")
        version, tables = cursor.fetchone() or (0, 0)
        if version > SCHEMA_VERSION:
            raise StateUnusable(
                f"{self.path}: written by a newer Humwatch (schema {version}; this one knows {SCHEMA_VERSION})"
            )
        if version == 0 and tables:
            raise StateUnusable(f"{self.path}: a database of another program")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except _OURS:
            raise
        except (exc.DatabaseError, exc.TimeoutError, sqlite3.Error, OSError) as error:
            self._doubtful = True
            raise StateUnusable(f"{self.path}: {_reason(error)}") from error
        except (ValidationError, JSONDecodeError) as error:
            raise StateUnusable(f"{self.path}: what is written in it cannot be read: {error}") from error


def _reason(error: Exception) -> str:
    origin = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(origin, OSError):
        return origin.strerror or str(origin)
    if isinstance(error, exc.TimeoutError):
        return "too many read it at once"
    name = getattr(origin, "sqlite_errorname", "")
    for known, reason in _REASONS.items():
        if name.startswith(known):
            return reason
    return str(origin)
