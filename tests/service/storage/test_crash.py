"""What a killed process leaves behind: everything it was told is written, and nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot, EventKind, Mark, Shelf
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import MachineChange, ScoreSecond, StreamPosition
from humwatch_service.storage.store import StateStore

pytestmark = pytest.mark.process

ROUNDS = 30
MACHINE = "fan-1"
STEPS: tuple[EventKind, ...] = ("raised", "shelved", "realarmed", "acknowledged", "unshelved", "cleared")
"""What happens to every alarm, one commit each; one number counts the commits of all rounds."""


def change_of(count: int) -> MachineChange:
    """The commit of that number."""
    number, step = count // len(STEPS) + 1, count % len(STEPS)
    mark = Mark(who="ann", at_s=count + 0.5, why="seen") if step >= STEPS.index("acknowledged") else None
    active = None if STEPS[step] == "cleared" else ActiveAlarm(number=number, raised_s=1.0, acknowledged=mark)
    shelved = STEPS.index("shelved") <= step < STEPS.index("unshelved")
    shelf = Shelf(who="bob", at_s=float(count), why="", until_s=1e9) if shelved else None
    event = AlarmEvent(STEPS[step], float(count), "alarm", "alarm", alarm=number, announced=not shelved, who="ann")
    return MachineChange(
        machine_id=MACHINE,
        snapshot=AlarmSnapshot(last_number=number, active=active, shelf=shelf),
        events=(event,),
        position=StreamPosition(stream_id="s", rate_hz=8_000, next_sample=count),
        webhooks=(("cmms",) if event.announced else (),),
    )


def live_on(folder: Path) -> None:
    """Commit without end, from where the database says that it was, and tell of each commit that returned."""
    store = StateStore(folder)
    evidence = EvidenceFolder(folder / "evidence", quota_bytes=1 << 30, retention_s=1e9)
    kept = store.kept(MACHINE)
    count = 0 if kept is None or kept.position is None else kept.position.next_sample + 1
    while True:
        change = change_of(count)
        store.commit(change)
        tell(count=count)
        if change.events[0].kind in ("raised", "cleared"):
            alarm_id = f"{MACHINE}-{change.snapshot.last_number:06d}"
            store.evidence(alarm_id, keep_clip(evidence, alarm_id, partial=change.events[0].kind == "raised"))
            tell(clip=alarm_id)
        store.add_seconds([ScoreSecond(machine_id=MACHINE, at_s=count, score=0.5, level_dbfs=-3.0, state="alarm")])
        tell(second=count)
        count += 1


def keep_clip(evidence: EvidenceFolder, alarm_id: str, *, partial: bool) -> Any:
    samples = np.arange(4_000 if partial else 8_000).astype(np.int16)
    return evidence.write_clip(alarm_id, samples, 8_000, partial=partial)


def tell(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")  # one write, whole or not at all


def serve() -> None:
    """For each folder on stdin: fork a process that lives on in it, and say when it is dead. Imports are done once."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live_on(Path(line.rstrip("\n")))
        tell(pid=pid)
        os.waitpid(pid, 0)
        tell(dead=pid)


class Victims:
    """Processes that are killed one after another."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        assert server.stdin is not None and server.stdout is not None
        self._asks, self._tells = server.stdin, server.stdout
        self.alive: int | None = None

    def run_and_kill(self, folder: Path, after_s: float, *, commits: int = 0) -> list[dict[str, Any]]:
        """Let one run until a while after so many commits, or after its birth; kill it; return all that it told."""
        self._asks.write(f"{folder}\n")
        self._asks.flush()
        told: list[dict[str, Any]] = []
        while self.alive is None or len(values(told, "count")) < commits:  # in any order: two processes write
            told.append(self._next())
            assert "dead" not in told[-1], "it died by itself"
        time.sleep(after_s)
        self.kill()
        while not values(told, "dead"):
            told.append(self._next())
        return told

    def kill(self) -> None:
        """Kill the one that lives, if one does."""
        if self.alive is not None:
            os.kill(self.alive, signal.SIGKILL)
            self.alive = None

    def _next(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._tells.readline())
        self.alive = line.get("pid", self.alive)
        return line


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        found = Victims(server)
        yield found
        found.kill()
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(10) == 0


def values(told: list[dict[str, Any]], key: str) -> list[Any]:
    return [line[key] for line in told if key in line]


def check(folder: Path, told: list[dict[str, Any]], before: int) -> int:
    """What was told is there, at most one commit more, and nothing twice; returns the last commit's number."""
    store = StateStore(folder)
    assert store.damage() == []
    kept = store.kept(MACHINE)
    last = -1 if kept is None or kept.position is None else kept.position.next_sample
    assert last - max(values(told, "count"), default=before) in (0, 1)
    if kept is not None:
        assert kept.snapshot == change_of(last).snapshot
    check_alarms(store, last)
    check_trail(store, last)
    assert set(values(told, "second")) <= {point.at_s for point in store.history(MACHINE, 0, last + 2, "second")}
    check_clips(store, folder, set(values(told, "clip")))
    store.close()
    return last


def check_trail(store: StateStore, last: int) -> None:
    with store._database.reading() as connection:
        events = connection.exec_driver_sql("SELECT at_s, kind FROM events ORDER BY id").all()
        owed = connection.exec_driver_sql("SELECT at_s FROM outbox JOIN events ON events.id = event_id ORDER BY 1")
        owed_s = list(owed.scalars())
    assert events == [(float(count), STEPS[count % len(STEPS)]) for count in range(last + 1)]
    assert owed_s == [count for count in range(last + 1) if change_of(count).events[0].announced]


def check_clips(store: StateStore, folder: Path, told: set[str]) -> None:
    evidence = EvidenceFolder(folder / "evidence", quota_bytes=1 << 30, retention_s=1e9)
    states = evidence.states()
    assert told <= set(states)
    for alarm_id, state in states.items():
        assert soundfile.info(evidence.clip_path(alarm_id)).frames == {"partial": 4_000, "kept": 8_000}[state]
    store.reconcile_evidence(states)
    assert {alarm_id: store.alarm(alarm_id).evidence for alarm_id in states} == states


def check_alarms(store: StateStore, last: int) -> None:
    alarms = {alarm.number: alarm for alarm in store.alarms(limit=500).alarms}
    newest = last // len(STEPS) + 1
    assert sorted(alarms) == list(range(1, newest + 1))
    for number, alarm in alarms.items():
        done = STEPS[: last % len(STEPS) + 1] if number == newest else STEPS
        assert (alarm.status == "cleared") == ("cleared" in done)
        assert (alarm.acknowledged is not None) == ("acknowledged" in done)
        assert alarm.shelved == ("shelved" in done and "unshelved" not in done)


def test_kill_at_any_moment_loses_nothing_that_was_told(tmp_path: Path, victims: Victims) -> None:
    chance, last = random.Random(1), -1
    for number in range(ROUNDS):
        # A third are killed around their birth; the others some commits later, at any moment of the next few.
        commits, after_s = (chance.randint(1, 8), 0.05) if number % 3 else (0, 0.15)
        told = victims.run_and_kill(tmp_path, chance.uniform(0.0, after_s), commits=commits)
        assert values(told, "count")[:1] in ([last + 1], [])
        last = check(tmp_path, told, last)
    assert last > 2 * ROUNDS


def test_kill_while_the_file_is_made(tmp_path: Path, victims: Victims) -> None:
    chance = random.Random(2)
    for number in range(10):
        folder = tmp_path / str(number)
        check(folder, victims.run_and_kill(folder, chance.uniform(0.0, 0.1)), -1)


def test_what_a_killed_process_left_in_the_log_is_read(tmp_path: Path, victims: Victims) -> None:
    """Nobody closed the database: what was committed is in the write-ahead log alone."""
    told = victims.run_and_kill(tmp_path, 0.02, commits=1)
    log = tmp_path / "humwatch.sqlite3-wal"
    assert log.stat().st_size > 0
    check(tmp_path, told, -1)
    assert not log.exists()


if __name__ == "__main__":
    serve()
