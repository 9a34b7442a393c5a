"""What the logbook writes together, and how much it holds while the disk takes nothing, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot
from humwatch_service.errors import StateUnusable
from humwatch_service.live.logbook import MAX_PEAK_POINTS, MAX_TOGETHER, Logbook
from humwatch_service.storage.records import MachineChange, ScoreSecond, StreamPosition, TracePoint


class Store:
    """A database that may be full; keeps what each transaction held."""

    def __init__(self) -> None:
        self.full = False
        self.commits: list[tuple[MachineChange, ...]] = []
        self.traces: list[tuple[float, int]] = []
        self.seconds: list[tuple[str, int]] = []
        self.order: list[str] = []

    def _check(self) -> None:
        if self.full:
            raise StateUnusable("the disk is full")

    def commit(self, *changes: MachineChange) -> None:
        self._check()
        self.order.append("changes")
        self.commits.append(changes)

    def add_seconds(self, rows: Iterable[ScoreSecond]) -> int:
        self._check()
        self.order.append("history")
        self.seconds += [(row.machine_id, row.at_s) for row in rows]
        return 0

    def peak(self, alarm_id: str, score: float, trace: Sequence[TracePoint]) -> bool:
        self._check()
        self.traces.append((score, len(trace)))
        return True


def machine(number: int, *, sample: int = 16_000, alarm: int | None = None) -> Any:
    active = None if alarm is None else ActiveAlarm(number=alarm, raised_s=1.0)
    return SimpleNamespace(
        machine_id=f"m-{number}",
        lock=threading.RLock(),
        position=StreamPosition(stream_id="s", rate_hz=16_000, next_sample=sample),
        written=None,
        state="alarm" if alarm else "normal",
        alarm=SimpleNamespace(snapshot=AlarmSnapshot(last_number=alarm or 0, active=active), number_in_force=alarm),
    )


def reading(at_s: float, score: float) -> Any:
    return SimpleNamespace(at_s=at_s, place_s=None, score=score, level_dbfs=-30.0, late_s=0.0)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def logbook(store: Store) -> Logbook:
    return Logbook(store, recipients=lambda machine, event, late_s: ())  # type: ignore[arg-type]


def test_positions_of_all_machines_are_written_together(store: Store, logbook: Logbook) -> None:
    machines = [machine(number) for number in range(2 * MAX_TOGETHER + 1)]
    logbook.flush(machines)
    assert [len(changes) for changes in store.commits] == [MAX_TOGETHER, MAX_TOGETHER, 1]
    written = [change.machine_id for changes in store.commits for change in changes]
    assert written == [each.machine_id for each in machines]
    assert all(each.written == each.position for each in machines)
    assert logbook.unsaved == 0


def test_while_the_disk_takes_nothing_no_position_waits_and_the_next_flush_writes_it(
    store: Store, logbook: Logbook
) -> None:
    one = machine(1)
    logbook.on_second(one, reading(1.0, 0.5))
    store.full = True
    logbook.flush([one])
    assert logbook.failure is not None
    assert (logbook.unsaved, one.written) == (0, None)
    store.full = False
    logbook.flush([one])  # history first: whether the disk takes anything shows there
    logbook.flush([one])
    assert one.written == one.position


def test_scores_of_an_alarm_are_bounded_while_the_disk_takes_nothing(store: Store, logbook: Logbook) -> None:
    one = machine(1, alarm=7)
    store.full = True
    logbook.on_second(one, reading(0.0, 9.0))
    for second in range(1, 2 * MAX_PEAK_POINTS):
        logbook.on_second(one, reading(float(second), 1.5))
        if second % 100 == 0:
            logbook.flush([one])
    store.full = False
    logbook.flush()
    logbook.flush()
    assert store.traces == [(9.0, MAX_PEAK_POINTS)]


def test_an_event_writes_the_history_of_its_own_machine_and_not_that_of_others(store: Store, logbook: Logbook) -> None:
    one, other = machine(1, alarm=7), machine(2, alarm=3)
    for second in range(3):
        logbook.on_second(one, reading(float(second), 1.5))
        logbook.on_second(other, reading(float(second), 2.5))
    logbook.on_events(one, [AlarmEvent("cleared", 3.0, "alarm", "normal", alarm=7)], None, "none")
    assert store.seconds == [("m-1", 0), ("m-1", 1), ("m-1", 2)]
    assert store.traces == [(1.5, 3)]
    assert store.order == ["history", "changes"]  # what the position says was scored is there before it
    assert one.written == one.position
    logbook.flush()
    assert store.seconds[3:] == [("m-2", 0), ("m-2", 1), ("m-2", 2)]
    assert store.traces == [(1.5, 3), (2.5, 3)]


def test_an_event_while_the_disk_takes_nothing_leaves_history_to_wait(store: Store, logbook: Logbook) -> None:
    one = machine(1)
    logbook.on_second(one, reading(0.0, 0.5))
    store.full = True
    logbook.on_events(one, [AlarmEvent("raised", 1.0, "normal", "alarm", alarm=1)], None, "none")
    assert (logbook.unsaved, store.seconds) == (1, [])
    store.full = False
    logbook.flush()
    assert (logbook.unsaved, store.seconds) == (0, [("m-1", 0)])
    assert [change.machine_id for changes in store.commits for change in changes] == ["m-1"]
