from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot, EventKind, Mark, Shelf
from humwatch.alarm.rule import AlarmRule
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.errors import OperationRefused
from humwatch.scoring.explain import BandRange
from humwatch_service.errors import AlarmNotFound
from humwatch_service.storage.records import (
    MAX_TRACE_POINTS,
    AlarmContext,
    AlarmLevels,
    AlarmRecord,
    MachineChange,
    ScoreSecond,
    SoundSource,
    StreamPosition,
    TracePoint,
    alarm_id_of,
    split_alarm_id,
)
from humwatch_service.storage.schema import SCHEMA_VERSION
from humwatch_service.storage.store import StateStore

CONTEXT = AlarmContext(
    score=1.4,
    raw_score=212.5,
    model_version="3",
    model_sha256="a" * 64,
    levels=AlarmLevels(warn=0.7, alarm=1.0),
    raw_levels=AlarmLevels(warn=150.0, alarm=190.0),
    rule=AlarmRule(on_delay_s=2.0, latch=True),
    bands=(BandRange(low_hz=900.0, high_hz=1100.0, contribution=0.8, departure_db=6.5),),
    trace=(TracePoint(at_s=98.0, score=0.2), TracePoint(at_s=99.0, score=1.2), TracePoint(at_s=100.0, score=1.4)),
    reasons=("clipped",),
    source=SoundSource(stream_id="s-1", sample=480_000, rate_hz=48_000),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state", busy_timeout_s=2.0)
    yield opened
    opened.close()


def event(kind: EventKind, at_s: float, number: int | None = 1, **more: Any) -> AlarmEvent:
    return AlarmEvent(kind=kind, at_s=at_s, from_state="normal", to_state="alarm", alarm=number, **more)


def raised(machine_id: str, number: int, at_s: float, **more: Any) -> MachineChange:
    active = ActiveAlarm(number=number, raised_s=at_s)
    return MachineChange(
        machine_id=machine_id,
        snapshot=AlarmSnapshot(last_number=number, active=active),
        events=(event("raised", at_s, number, score=1.4, announced=True), event("state_changed", at_s, number)),
        **more,
    )


def cleared(machine_id: str, number: int, at_s: float) -> MachineChange:
    return MachineChange(
        machine_id=machine_id,
        snapshot=AlarmSnapshot(last_number=number),
        events=(event("cleared", at_s, number, announced=True),),
    )


def acknowledged(machine_id: str, number: int, at_s: float, who: str = "ann") -> MachineChange:
    mark = Mark(who=who, at_s=at_s, why="seen")
    active = ActiveAlarm(number=number, raised_s=at_s - 10, acknowledged=mark)
    return MachineChange(
        machine_id=machine_id,
        snapshot=AlarmSnapshot(last_number=number, active=active),
        events=(event("acknowledged", at_s, number, who=who, why="seen"),),
    )


def ids(alarms: tuple[AlarmRecord, ...]) -> list[str]:
    return [alarm.id for alarm in alarms]


def test_a_raised_alarm_is_there_with_all_that_was_in_force(store: StateStore) -> None:
    store.commit(raised("fan-1", 7, 100.0, context=CONTEXT))
    alarm = store.alarm("fan-1-000007")
    assert alarm.context == CONTEXT
    assert (alarm.machine_id, alarm.number, alarm.status, alarm.raised_s) == ("fan-1", 7, "active", 100.0)
    assert (alarm.score, alarm.peak_score, alarm.announced_s) == (1.4, 1.4, 100.0)
    assert (alarm.acknowledged, alarm.cleared_s, alarm.feedback, alarm.evidence) == (None, None, None, "none")
    assert AlarmRecord.model_validate_json(alarm.model_dump_json()) == alarm


def test_what_the_detector_that_decided_found_is_kept(store: StateStore) -> None:
    stretch = IrregularTime(start_s=97.1, end_s=97.3, change_db=12.0, share=0.9)
    line = LineFinding(change="speed", before_hz=248.0, after_hz=255.4, shift_percent=3.0)
    context = CONTEXT.model_copy(update={"detector": "rhythm", "irregular_times": (stretch,), "line": line})
    store.commit(raised("fan-1", 7, 100.0, context=context))
    assert store.alarm("fan-1-000007").context == context


def test_an_alarm_of_a_version_that_had_one_detector_is_read(store: StateStore) -> None:
    store.commit(raised("fan-1", 7, 100.0, context=CONTEXT))
    later = {"detector", "irregular_times", "line"}
    older = json.dumps(CONTEXT.model_dump(mode="json", exclude=later | {"trace"}))
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute("UPDATE alarms SET context = ?", (older,))
    found = store.alarm("fan-1-000007").context
    assert found is not None and found == CONTEXT
    assert (found.detector, found.irregular_times, found.line) == (None, (), None)


def test_what_there_is_of_the_sound_is_said_with_the_alarm(store: StateStore) -> None:
    """Not a moment later: who is told of an alarm may ask for its sound at once."""
    store.commit(raised("fan-1", 1, 100.0, evidence="partial"))
    assert store.alarm("fan-1-000001").evidence == "partial"
    store.evidence("fan-1-000001", "kept")
    store.commit(acknowledged("fan-1", 1, 130.0))
    assert store.alarm("fan-1-000001").evidence == "kept"


def test_the_alarm_follows_the_events(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    store.commit(acknowledged("fan-1", 1, 130.0))
    alarm = store.alarm("fan-1-000001")
    assert (alarm.status, alarm.acknowledged) == ("active", Mark(who="ann", at_s=130.0, why="seen"))
    store.commit(cleared("fan-1", 1, 190.0))
    alarm = store.alarm("fan-1-000001")
    assert (alarm.status, alarm.cleared_s, alarm.acknowledged is not None) == ("cleared", 190.0, True)


def test_a_repeated_announcement_is_noted(store: StateStore) -> None:
    change = raised("fan-1", 1, 100.0)
    store.commit(change)
    store.commit(replace(change, events=(event("realarmed", 3700.0, announced=True),)))
    assert store.alarm("fan-1-000001").announced_s == 3700.0
    store.commit(replace(change, events=(event("realarmed", 7300.0, announced=False),)))
    assert store.alarm("fan-1-000001").announced_s == 3700.0


def test_shelf_and_latch_show_on_the_alarm_in_force_only(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    store.commit(cleared("fan-1", 1, 150.0))
    active = ActiveAlarm(number=2, raised_s=200.0, over=True)
    shelf = Shelf(who="ann", at_s=210.0, why="belt is ordered", until_s=4000.0)
    store.commit(raised("fan-1", 2, 200.0))
    store.commit(
        MachineChange(
            machine_id="fan-1",
            snapshot=AlarmSnapshot(last_number=2, active=active, shelf=shelf),
            events=(event("shelved", 210.0, 2, who="ann", why="belt is ordered", until_s=4000.0),),
        )
    )
    now, before = store.alarms().alarms
    assert (now.id, now.shelved, now.over) == ("fan-1-000002", True, True)
    assert (before.id, before.shelved, before.over) == ("fan-1-000001", False, False)
    shelved = store.events(alarm_id="fan-1-000002").events[0]
    assert (shelved.kind, shelved.who, shelved.why, shelved.until_s) == ("shelved", "ann", "belt is ordered", 4000.0)


def test_a_change_written_twice_is_one(store: StateStore) -> None:
    change = raised("fan-1", 1, 100.0, webhooks=(("cmms",),), context=CONTEXT)
    store.commit(change)
    store.commit(change, change)
    assert ids(store.alarms().alarms) == ["fan-1-000001"]
    assert [line.kind for line in store.events().events] == ["state_changed", "raised"]
    assert store.outbox.counts().pending == 1


def test_a_change_that_comes_again_late_undoes_nothing(store: StateStore) -> None:
    change = raised("fan-1", 1, 100.0)
    for each in (change, acknowledged("fan-1", 1, 130.0), change):
        store.commit(each)
    kept = store.kept("fan-1")
    assert kept is not None and kept.snapshot.active is not None and kept.snapshot.active.acknowledged is not None
    assert store.alarm("fan-1-000001").acknowledged is not None


def test_changes_of_one_commit_are_all_written_or_none(store: StateStore) -> None:
    nameless: Any = None
    with pytest.raises(IntegrityError):
        store.commit(raised("fan-1", 1, 100.0), raised("fan-2", 1, 100.0, webhooks=((nameless,),)))
    assert store.alarms().alarms == ()
    assert store.machines() == []


def test_a_machine_has_an_id_that_alarms_can_be_called_after() -> None:
    with pytest.raises(ValueError, match="no machine's id"):
        raised("Fan 1", 1, 100.0)


def test_an_alarm_whose_raising_was_lost_is_listed(store: StateStore) -> None:
    store.commit(acknowledged("fan-1", 4, 130.0))
    alarm = store.alarm("fan-1-000004")
    assert (alarm.status, alarm.raised_s, alarm.context, alarm.score) == ("active", 120.0, None, None)


def test_what_a_machine_needs_after_a_restart_is_kept(store: StateStore, tmp_path: Path) -> None:
    position = StreamPosition(stream_id="s-1", rate_hz=48_000, next_sample=1 << 61)
    snapshot = AlarmSnapshot(
        last_number=3,
        active=ActiveAlarm(number=3, raised_s=5.0, acknowledged=Mark(who="ann", at_s=6.0), over=True),
        shelf=Shelf(who="bob", at_s=7.0, why="noise", until_s=99.0),
        out_of_service=Mark(who="eve", at_s=8.0, why="repair"),
    )
    store.commit(MachineChange(machine_id="fan-1", snapshot=snapshot, position=position, running=False))
    store.commit(MachineChange(machine_id="fan-2", snapshot=AlarmSnapshot()))
    store.close()
    again = StateStore(tmp_path / "state")
    kept = again.kept("fan-1")
    assert kept is not None
    assert (kept.snapshot, kept.position, kept.running) == (snapshot, position, False)
    assert [(each.machine_id, each.running, each.position) for each in again.machines()][1] == ("fan-2", None, None)
    assert [each.heard_s for each in again.machines()] == [None, None]
    for at_s in (119, 121, 60):
        again.add_seconds([ScoreSecond(machine_id="fan-2", at_s=at_s, score=None, level_dbfs=-30.0, state="unknown")])
    assert [each.heard_s for each in again.machines()] == [None, 121.0]
    assert again.kept("fan-3") is None
    again.close()


def test_what_a_change_does_not_say_stays(store: StateStore) -> None:
    position = StreamPosition(stream_id="s-1", rate_hz=8_000, next_sample=5)
    store.commit(MachineChange(machine_id="m", snapshot=AlarmSnapshot(), position=position, running=True))
    store.commit(MachineChange(machine_id="m", snapshot=AlarmSnapshot(last_number=1)))
    kept = store.kept("m")
    assert kept is not None and (kept.position, kept.running, kept.snapshot.last_number) == (position, True, 1)
    store.commit(MachineChange(machine_id="m", snapshot=AlarmSnapshot(last_number=1), running=None))
    kept = store.kept("m")
    assert kept is not None and kept.running is None


def test_the_highest_score_and_the_trace_of_an_alarm_grow(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0, context=CONTEXT))
    assert store.peak("fan-1-000001", 2.5, [TracePoint(at_s=101.0, score=2.5)])
    assert store.peak("fan-1-000001", 1.1, [TracePoint(at_s=102.0, score=1.1), TracePoint(at_s=101.0, score=2.5)])
    alarm = store.alarm("fan-1-000001")
    assert alarm.peak_score == 2.5
    assert alarm.context is not None
    assert [point.at_s for point in alarm.context.trace] == [98.0, 99.0, 100.0, 101.0, 102.0]
    assert not store.peak("fan-1-000009", 1.0, [])


def test_a_long_trace_keeps_its_peaks(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 0.0, context=CONTEXT.model_copy(update={"trace": ()})))
    for start in range(0, 7200, 240):
        points = [TracePoint(at_s=float(at), score=5.0 if at == 3333 else 1.0) for at in range(start, start + 240)]
        store.peak("fan-1-000001", 1.0, points)
    context = store.alarm("fan-1-000001").context
    assert context is not None
    assert MAX_TRACE_POINTS / 3 < len(context.trace) <= MAX_TRACE_POINTS
    assert TracePoint(at_s=3333.0, score=5.0) in context.trace
    times = [point.at_s for point in context.trace]
    assert times == sorted(times) and times[0] < 30 and times[-1] > 7170


def test_a_score_that_is_no_number_loses_no_alarm(store: StateStore) -> None:
    infinite = CONTEXT.model_copy(update={"score": float("inf"), "trace": (TracePoint(at_s=1.0, score=float("nan")),)})
    change = raised("fan-1", 1, 100.0, context=infinite)
    store.commit(replace(change, events=(event("raised", 100.0, score=float("inf")),)))
    context = store.alarm("fan-1-000001").context
    assert context is not None and context.score == float("inf") and context.trace == ()


def test_an_alarm_can_be_acknowledged_after_it_is_over(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    with pytest.raises(OperationRefused, match="is active"):
        store.acknowledge_cleared("fan-1-000001", who="ann", why="", at_s=120.0)
    store.commit(cleared("fan-1", 1, 150.0))
    alarm = store.acknowledge_cleared("fan-1-000001", who="ann", why="was me", at_s=160.0)
    assert alarm.acknowledged == Mark(who="ann", at_s=160.0, why="was me")
    with pytest.raises(OperationRefused, match="already, by ann"):
        store.acknowledge_cleared("fan-1-000001", who="bob", why="", at_s=170.0)
    with pytest.raises(AlarmNotFound):
        store.acknowledge_cleared("fan-1-000002", who="bob", why="", at_s=170.0)
    line = store.events(alarm_id="fan-1-000001").events[0]
    assert (line.kind, line.who, line.why, line.at_s, line.to_state) == ("acknowledged", "ann", "was me", 160.0, None)


def test_feedback_is_overwritten_and_both_are_audited(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    store.feedback("fan-1-000001", "unsure", cause="", action="look again", who="ann", at_s=200.0)
    alarm = store.feedback("fan-1-000001", "true_alarm", cause="bearing", action="replaced", who="bob", at_s=300.0)
    assert alarm.feedback is not None
    assert (alarm.feedback.verdict, alarm.feedback.cause, alarm.feedback.who) == ("true_alarm", "bearing", "bob")
    second, first = store.events(alarm_id="fan-1-000001").events[:2]
    assert (first.kind, first.who, first.details["verdict"]) == ("feedback", "ann", "unsure")
    assert (second.who, second.details) == (
        "bob",
        {"verdict": "true_alarm", "cause": "bearing", "action": "replaced"},
    )
    with pytest.raises(AlarmNotFound):
        store.feedback("fan-1-000002", "unsure", cause="", action="", who="ann", at_s=1.0)


def test_anything_else_can_be_audited(store: StateStore) -> None:
    for _ in range(2):
        store.note("fan-1", "activated", 50.0, "ann", "new model", details={"version": "4", "before": ["3"]})
    (line,) = store.events(machine_id="fan-1").events
    assert (line.kind, line.who, line.why, line.alarm_id) == ("activated", "ann", "new model", None)
    assert line.details == {"version": "4", "before": ["3"]}


def test_open_alarms_are_those_in_force_or_not_seen(store: StateStore) -> None:
    for number in (1, 2, 3):
        store.commit(raised("m", number, 100.0 * number))
        store.commit(cleared("m", number, 100.0 * number + 50))
    store.commit(raised("m", 4, 400.0), acknowledged("m", 4, 410.0))
    store.acknowledge_cleared("m-000002", who="ann", why="", at_s=500.0)
    assert ids(store.alarms(open_only=True).alarms) == ["m-000004", "m-000003", "m-000001"]


def test_alarms_come_in_pages_newest_first(store: StateStore) -> None:
    for number in range(1, 8):
        store.commit(raised("a", number, 10.0 * number), raised("b", number, 10.0 * number + 5))
    seen: list[str] = []
    before = None
    while True:
        page = store.alarms(machine_id="a", limit=3, before=before)
        assert len(page.alarms) <= 3
        seen += ids(page.alarms)
        store.commit(raised("a", 100 + len(seen), 1000.0))  # what comes meanwhile is on no later page
        before = page.next_before
        if before is None:
            break
    assert seen == [f"a-{number:06d}" for number in range(7, 0, -1)]
    assert ids(store.alarms(machine_id="b", since_s=35.0, until_s=55.0).alarms) == ["b-000004", "b-000003"]
    assert store.alarms(machine_id="c").alarms == ()


def test_lists_leave_traces_out(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0, context=CONTEXT))
    (listed,) = store.alarms().alarms
    assert listed.context == CONTEXT.model_copy(update={"trace": ()})


def test_the_audit_trail_comes_in_pages(store: StateStore) -> None:
    for second in range(5):
        store.note("m", "run_signal", float(second), "ann", None)
    store.note("other", "run_signal", 9.0, "ann", None)
    first = store.events(machine_id="m", limit=3)
    rest = store.events(machine_id="m", limit=3, before=first.next_before)
    assert [line.at_s for line in (*first.events, *rest.events)] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert rest.next_before is None
    assert len(store.events(before=1 << 90).events) == 6
    assert len(store.events().events) == 6
    with pytest.raises(AlarmNotFound):
        store.events(alarm_id="m-000001")


@pytest.mark.parametrize("number", [1, 999_999, 1_000_000, 123_456_789])
@pytest.mark.parametrize("machine_id", ["fan-1", "a", "a-000001", "x..y", "0._-"])
def test_an_alarms_id_says_its_machine_and_number(machine_id: str, number: int) -> None:
    assert split_alarm_id(alarm_id_of(machine_id, number)) == (machine_id, number)


@pytest.mark.parametrize(
    "text",
    ["", "fan-1", "fan-00001", "fan-0000001", "../etc-000001", "fan/1-000001", "Fan-000001", "fan-000001\n", "-000001"],
)
def test_what_is_no_alarms_id_is_not_found(store: StateStore, text: str) -> None:
    store.check()
    with pytest.raises(AlarmNotFound):
        store.alarm(text)


def test_many_threads_commit_at_once(store: StateStore) -> None:
    def work(machine: int) -> None:
        for number in range(1, 11):
            store.commit(raised(f"m{machine}", number, float(number), webhooks=(("a", "b"),)))
            store.commit(cleared(f"m{machine}", number, number + 0.5))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert [kept.snapshot.last_number for kept in store.machines()] == [10] * 8
    for machine in range(8):
        page = store.alarms(machine_id=f"m{machine}")
        assert [alarm.number for alarm in page.alarms] == list(range(10, 0, -1))
        assert {alarm.status for alarm in page.alarms} == {"cleared"}
    assert store.outbox.counts().pending == 8 * 10 * 2
    assert store.damage() == []


def test_who_reads_does_not_wait_for_who_writes(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    writing = sqlite3.connect(store.path, isolation_level=None)
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("DELETE FROM alarms")
    started_s = time.monotonic()
    assert ids(store.alarms().alarms) == ["fan-1-000001"]
    assert time.monotonic() - started_s < 1.0
    writing.execute("ROLLBACK")
    writing.close()


def test_who_writes_does_not_wait_for_who_reads(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    reading = sqlite3.connect(store.path, isolation_level=None)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM alarms").fetchone()
    store.commit(cleared("fan-1", 1, 150.0))
    assert reading.execute("SELECT cleared_s FROM alarms").fetchone() == (None,)  # one state as long as it reads
    reading.close()


def test_more_readers_than_connections_take_turns(store: StateStore) -> None:
    store.commit(raised("fan-1", 1, 100.0))
    with ThreadPoolExecutor(24) as threads:
        pages = list(threads.map(lambda _: store.alarms(), range(200)))
    assert {len(page.alarms) for page in pages} == {1}


def test_commits_are_on_the_disk_when_they_return(store: StateStore) -> None:
    with store._database.writing() as connection:
        told = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA user_version").scalar() == SCHEMA_VERSION
    assert told == {"journal_mode": "wal", "synchronous": 2}


def test_nothing_is_opened_before_it_is_needed_and_close_gives_everything_back(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "deep" / "state")
    assert not (tmp_path / "deep").exists()
    store.commit(raised("fan-1", 1, 100.0))
    assert store.path == tmp_path / "deep" / "state" / "humwatch.sqlite3"
    store.close()
    assert [path.name for path in store.path.parent.iterdir()] == ["humwatch.sqlite3"]
    assert ids(store.alarms().alarms) == ["fan-1-000001"]
    store.close()


def test_two_threads_may_be_the_first(tmp_path: Path) -> None:
    for attempt in range(10):
        store = StateStore(tmp_path / str(attempt))
        threads = [threading.Thread(target=store.check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.machines() == []
        store.close()
