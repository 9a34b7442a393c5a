"""What the database does when the disk does not: it says so by name, and works again as soon as the disk does."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot
from humwatch_service.errors import StateUnusable
from humwatch_service.storage.records import MachineChange
from humwatch_service.storage.schema import SCHEMA_VERSION
from humwatch_service.storage.store import StateStore

NOBODY = 65_534


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state", busy_timeout_s=0.1)
    yield opened
    opened.close()


def raised(number: int, why: str = "") -> MachineChange:
    snapshot = AlarmSnapshot(last_number=number, active=ActiveAlarm(number=number, raised_s=float(number)))
    event = AlarmEvent("raised", float(number), "normal", "alarm", alarm=number, why=why)
    return MachineChange(machine_id="m", snapshot=snapshot, events=(event,))


def numbers(store: StateStore) -> list[int]:
    return [alarm.number for alarm in store.alarms().alarms]


CALLS: dict[str, Callable[[StateStore], Any]] = {
    "commit": lambda store: store.commit(raised(1)),
    "check": lambda store: store.check(),
    "machines": lambda store: store.machines(),
    "kept": lambda store: store.kept("m"),
    "alarms": lambda store: store.alarms(),
    "alarm": lambda store: store.alarm("m-000001"),
    "events": lambda store: store.events(),
    "history": lambda store: store.history("m", 0, 60),
    "peak": lambda store: store.peak("m-000001", 1.0, []),
    "note": lambda store: store.note("m", "run_signal", 1.0, "ann", None),
    "feedback": lambda store: store.feedback("m-000001", "unsure", cause="", action="", who="ann", at_s=1.0),
    "acknowledge": lambda store: store.acknowledge_cleared("m-000001", who="ann", why="", at_s=1.0),
    "evidence": lambda store: store.evidence("m-000001", "kept"),
    "reconcile": lambda store: store.reconcile_evidence({}),
    "seconds": lambda store: store.add_seconds([]),
    "prune": lambda store: store.prune(0.0),
    "damage": lambda store: store.damage(),
    "due": lambda store: store.outbox.due(0.0, 10, "cmms"),
    "delivered": lambda store: store.outbox.delivered(1, 0.0),
    "failed": lambda store: store.outbox.failed(1, "", None),
    "counts": lambda store: store.outbox.counts(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_names_a_disk_that_is_not_there(tmp_path: Path, call: Callable[[StateStore], Any]) -> None:
    (tmp_path / "disk").write_text("a file where a folder should be")
    store = StateStore(tmp_path / "disk" / "state")
    with pytest.raises(StateUnusable, match=r"humwatch\.sqlite3: Not a directory"):
        call(store)
    (tmp_path / "disk").unlink()
    store.commit(raised(1))
    assert numbers(store) == [1]
    store.close()


@pytest.mark.process
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """In a process of its own: root may write everywhere, until it is somebody else."""
    with tempfile.TemporaryDirectory() as folder:  # nobody may enter tmp_path
        Path(folder).chmod(0o755)
        told = subprocess.run(
            [sys.executable, __file__, folder], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    assert told.splitlines() == ["Permission denied", "[1]", "it is read-only", "it is read-only", "[1]", "[2, 1]"]


def as_nobody(folder: Path) -> None:
    """Fail to write, then be allowed to, on the standard output."""
    state = folder / "state"
    privileged = os.geteuid() == 0
    StateStore(folder / "warm").check()  # all modules are read while that is allowed
    if privileged:
        os.seteuid(NOBODY)
    store = StateStore(state, busy_timeout_s=0.1)
    folder_mode(folder, 0o555, privileged)
    say(lambda: store.commit(raised(1)))
    folder_mode(folder, 0o777, privileged)
    store.commit(raised(1))
    say(lambda: numbers(store))
    store.close()
    store.path.chmod(0o444)
    say(lambda: store.commit(raised(2)))
    store.close()
    say(lambda: store.check())
    say(lambda: numbers(store))
    for path in state.iterdir():  # SQLite makes its two files beside with the same mode
        path.chmod(0o644)
    store.commit(raised(2))
    say(lambda: numbers(store))


def folder_mode(folder: Path, mode: int, privileged: bool) -> None:
    if privileged:
        os.seteuid(0)
    folder.chmod(mode)
    if privileged:
        os.seteuid(NOBODY)


def say(call: Callable[[], object]) -> None:
    try:
        sys.stdout.write(f"{call()}\n")
    except StateUnusable as error:
        sys.stdout.write(f"{str(error).rpartition(': ')[2]}\n")


def test_a_file_that_turns_read_only(store: StateStore) -> None:
    """A file whose header asks for a writer that does not exist yet is read-only to everybody, root too."""
    store.commit(raised(1))
    store.close()
    with store.path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")
    with pytest.raises(StateUnusable, match="read-only"):
        store.commit(raised(2))
    with store.path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x02")
    store.commit(raised(2))
    assert numbers(store) == [2, 1]


@contextmanager
def another_writer(path: Path) -> Iterator[None]:
    """Another process in the middle of a transaction."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.mark.process
def test_a_file_that_another_program_locks(store: StateStore) -> None:
    store.commit(raised(1))
    with another_writer(store.path):
        started_s = time.monotonic()
        with pytest.raises(StateUnusable, match="locked by another program"):
            store.commit(raised(2))
        assert 0.08 < time.monotonic() - started_s < 2.0
        assert numbers(store) == [1]
    store.commit(raised(2))
    assert numbers(store) == [2, 1]


@pytest.mark.process
def test_a_lock_that_is_short_is_waited_for(tmp_path: Path) -> None:
    store = StateStore(tmp_path, busy_timeout_s=10.0)
    store.commit(raised(1))
    lock = another_writer(store.path)
    lock.__enter__()
    release = threading.Timer(0.3, lambda: lock.__exit__(None, None, None))
    release.start()
    store.commit(raised(2))
    release.join()
    assert numbers(store) == [2, 1]
    store.close()


def test_a_thread_does_not_wait_for_another_for_ever(store: StateStore) -> None:
    store.check()
    with store._database.writing(), pytest.raises(StateUnusable, match="another change is not written yet"):
        store.commit(raised(1))
    store.commit(raised(1))
    assert numbers(store) == [1]


@contextmanager
def full_at(pages: int) -> Iterator[None]:
    """Every database that is opened meanwhile may not grow over so many pages."""

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


def fill(store: StateStore, start: int) -> int:
    """Commit until the disk is full; returns the number that it did not take."""
    for number in range(start, start + 10_000):
        try:
            store.commit(raised(number, "x" * 2_000))
        except StateUnusable as error:
            assert store.path.name in str(error)
            return number
    raise AssertionError("the disk was never full")


def test_a_full_database(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    with full_at(60):
        refused = fill(store, 1)
        with pytest.raises(StateUnusable, match="the disk is full"):
            store.commit(raised(refused, "x" * 20_000))
        assert store.alarms(limit=1).alarms[0].number == refused - 1
    store.close()
    store.commit(raised(refused, "x" * 2_000))
    assert [alarm.number for alarm in store.alarms(limit=500).alarms] == list(range(refused, 0, -1))
    assert store.damage() == []
    store.close()


def test_a_disk_that_takes_no_more_bytes(store: StateStore) -> None:
    """The operating system refuses to make any file longer, in the middle of a write."""
    store.commit(raised(1))
    log = store.path.with_name(f"{store.path.name}-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 30_000, hard))
    try:
        refused = fill(store, 2)
        with pytest.raises(StateUnusable, match=r"the disk is full|does not read or write"):
            store.commit(raised(refused, "x" * 1_000_000))  # more than the log holds, should it begin anew
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.commit(raised(refused))
    assert numbers(store) == list(range(refused, 0, -1))[:50]
    assert store.damage() == []


def test_a_file_that_is_no_database(store: StateStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"these are not the bytes of a database\n" * 500)
    for call in (store.check, store.machines):
        with pytest.raises(StateUnusable, match="damaged or no database"):
            call()
    assert store.path.read_bytes().startswith(b"these are")
    store.path.unlink()
    store.commit(raised(1))
    assert numbers(store) == [1]


def test_a_damaged_file(store: StateStore, tmp_path: Path) -> None:
    for number in range(1, 200):
        store.commit(raised(number, "x" * 500))
    store.close()
    shutil.copy(store.path, tmp_path / "copy")
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (store.path.stat().st_size - 4096))
    for call in (store.alarms, store.events, lambda: store.commit(raised(900))):
        with pytest.raises(StateUnusable, match="damaged"):
            call()
    store.close()
    (tmp_path / "copy").replace(store.path)
    store.commit(raised(200))
    assert numbers(store)[:2] == [200, 199]
    assert store.damage() == []


def test_damage_is_found(store: StateStore) -> None:
    for number in range(1, 200):
        store.commit(raised(number, "x" * 500))
    store.close()
    with sqlite3.connect(store.path, isolation_level=None) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("DELETE FROM sqlite_master WHERE name = 'events_of_alarm'")
    raw.close()
    assert any("never used" in line for line in store.damage())


def test_a_file_of_a_newer_version_is_left_alone(store: StateStore) -> None:
    store.check()
    store.close()
    with sqlite3.connect(store.path, isolation_level=None) as raw:
        raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    raw.close()
    before = store.path.read_bytes()
    newer = rf"newer Humwatch \(schema {SCHEMA_VERSION + 1}; this one knows {SCHEMA_VERSION}\)"
    for call in (store.check, store.machines, lambda: store.commit(raised(1))):
        with pytest.raises(StateUnusable, match=newer):
            call()
    store.close()
    assert store.path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(store: StateStore) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    before = store.path.read_bytes()
    with pytest.raises(StateUnusable, match="another program"):
        store.commit(raised(1))
    store.close()
    assert store.path.read_bytes() == before


def test_a_file_that_is_taken_away_is_missed(store: StateStore) -> None:
    """Writing on into a file that has no name any more would lose every alarm."""
    store.commit(raised(1))
    for path in list(store.path.parent.iterdir()):
        path.unlink()
    with pytest.raises(StateUnusable, match="removed or replaced"):
        store.commit(raised(2))
    store.commit(raised(2))
    assert numbers(store) == [2]


def test_what_a_machine_is_said_to_be_has_to_be_readable(store: StateStore) -> None:
    store.commit(raised(1))
    with sqlite3.connect(store.path) as raw:
        raw.execute("""UPDATE machines SET snapshot = '{"last_number": -5}'""")
    raw.close()
    for call in (store.machines, store.alarms):
        with pytest.raises(StateUnusable, match="cannot be read"):
            call()


if __name__ == "__main__":
    as_nobody(Path(sys.argv[1]))
