"""Drift and false alarms of live machines: durable, named once, and beside what was promised."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch.false_alarms.scores import NormalScores, ScoreSegment
from humwatch.false_alarms.seen import AlarmCounts
from humwatch_service.errors import MachineUnavailable, StateUnusable
from humwatch_service.metrics.registry import Metrics
from humwatch_service.oversight.drifts import NAMED, OVER, Drifts, summary_of
from humwatch_service.oversight.false_alarms import SeenFalseAlarms
from humwatch_service.oversight.recorder import NormalRecorder
from humwatch_service.storage.normal_hours import HourSum
from humwatch_service.storage.records import AlarmContext, AlarmLevels, MachineChange, Verdict
from humwatch_service.storage.schema import NORMAL_HOURS, WATCHES
from humwatch_service.storage.store import StateStore
from tests.core.drift.simulated import BANDS, EDGES_HZ, FIRST_HOUR, moved, since_day, stable

WEEK_S = 604_800.0
RULE = AlarmRule()


def model_of(version: str, normal: str, decision: Decision | None = None) -> Any:
    manifest = SimpleNamespace(
        version=version,
        files={"calibration.npz": normal},
        pipeline=SimpleNamespace(band_edges_hz=EDGES_HZ),
        decision=decision,
    )
    return SimpleNamespace(bundle=SimpleNamespace(manifest=manifest, digest=f"sha-{version}"))


def machine_of(model: Any) -> Any:
    alarm = SimpleNamespace(rule=RULE, limits=None, number_in_force=None)
    return SimpleNamespace(machine_id="fan-1", model=model, alarm=alarm, state="normal", drift=None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.live.follow(["fan-1"])
    return made


def heard(store: StateStore, days: int, *, normal: str = "cal-a", gain_db: float = 2.0) -> None:
    """Hours of a machine that is louder from its tenth day on."""
    table = stable(0, days, spread=0.2)
    table = moved(table, since_day(table, 10.0) * gain_db * np.ones(BANDS))
    rows = zip(table.hours.tolist(), table.departures_db, table.scores.tolist(), strict=True)
    hours = [HourSum("fan-1", normal, hour, 3_600.0, 0.0, 3_600 * score, 3_600 * row) for hour, row, score in rows]
    store.add_normal(hours, [])


class Clock:
    def __init__(self, day: float) -> None:
        self.day = day

    def __call__(self) -> float:
        return 3_600.0 * (FIRST_HOUR + 24 * self.day) + 1.0


def drifts_of(store: StateStore, metrics: Metrics, clock: Clock) -> Drifts:
    return Drifts(store, metrics.live, flush=lambda: None, clock=clock)


def lines(store: StateStore) -> list[str]:
    return [event.kind for event in store.events(machine_id="fan-1").events]


def value(metrics: Metrics, name: str) -> str:
    (line,) = [each for each in metrics.render().splitlines() if each.startswith(f"humwatch_{name}{{")]
    return line.split()[-1]


def test_a_drift_is_named_once_and_over_once_a_new_calibration_is_in_use(store: StateStore, metrics: Metrics) -> None:
    heard(store, 20)
    machine, clock = machine_of(model_of("3", "cal-a")), Clock(20)
    report = drifts_of(store, metrics, clock).report(machine)
    assert (report.state, report.kind, report.model_version) == ("drifted", "all_bands", "3")
    assert report.since_s == pytest.approx(3_600 * (FIRST_HOUR + 240), abs=86_400)
    assert report.proposal is not None
    assert (report.proposal.method, report.proposal.path) == ("POST", "/v1/machines/fan-1/calibration")
    assert report.proposal.replaces_version == "3" and report.summary in report.proposal.body["why"]
    assert machine.drift == (report.since_s, report.summary)
    assert value(metrics, "machine_drifted") == "1.0"
    restarted = drifts_of(store, metrics, Clock(20.5))
    assert restarted.report(machine).named_s == report.judged_s
    assert lines(store) == [NAMED]
    machine.model = model_of("4", "cal-a")  # the same normal, other limits
    assert restarted.report(machine).state == "drifted"
    machine.model = model_of("5", "cal-b")
    after = restarted.report(machine)
    assert (after.state, after.hours, after.named_s, after.proposal) == ("too_little", 0, None, None)
    assert machine.drift is None
    assert lines(store) == [OVER, NAMED]
    assert value(metrics, "machine_drifted") == "NaN"
    assert drifts_of(store, metrics, clock).report(machine).state == "too_little"
    assert lines(store) == [OVER, NAMED]


def test_machines_are_judged_a_few_at_a_time_and_again_after_hours(store: StateStore, metrics: Metrics) -> None:
    clock = Clock(20)
    drifts = drifts_of(store, metrics, clock)
    machines = [machine_of(model_of("1", "cal-a")) for _ in range(3)]
    for number, machine in enumerate(machines):
        machine.machine_id = f"fan-{number}"
    seen: list[str] = []
    judge = drifts.judge
    drifts.judge = lambda machine: (seen.append(machine.machine_id), judge(machine))[1]  # type: ignore[method-assign]
    for _ in range(3):
        drifts.judge_due(machines)
    assert seen == ["fan-0", "fan-1", "fan-2"]
    clock.day += 0.5
    drifts.judge_due(machines)
    assert len(seen) == 5


def test_a_machine_without_a_model_has_no_report(store: StateStore, metrics: Metrics) -> None:
    machine = machine_of(None)
    with pytest.raises(MachineUnavailable):
        drifts_of(store, metrics, Clock(1)).report(machine)
    with pytest.raises(MachineUnavailable):
        SeenFalseAlarms(store, metrics.live, flush=lambda: None, scores=no_scores).report(machine)
    drifts_of(store, metrics, Clock(1)).judge_due([machine])


def no_scores(machine_id: str, version: str) -> NormalScores:
    return NormalScores([])


def test_what_is_expected_now_comes_from_all_that_the_version_scored(store: StateStore, metrics: Metrics) -> None:
    """A version without limits promises nothing; what its on-delay rule will raise is told all the same."""
    heard = NormalScores([ScoreSegment(0.0, np.random.default_rng(1).normal(0.0, 0.6, size=86_400))])
    asked: list[tuple[str, str]] = []

    def scores(machine_id: str, version: str) -> NormalScores:
        asked.append((machine_id, version))
        return heard

    seen = SeenFalseAlarms(store, metrics.live, flush=lambda: None, scores=scores)
    report = seen.report(machine_of(model_of("3", "cal-a")))
    assert asked == [("fan-1", "3")]
    assert report.promised is None
    assert report.expected is not None
    assert report.expected.expected_a_week is not None
    assert report.expected.heard_s == 86_400
    nothing = SeenFalseAlarms(store, metrics.live, flush=lambda: None, scores=no_scores)
    assert nothing.report(machine_of(model_of("3", "cal-a"))).expected is None


# -- what is recorded


def step(at_s: float, *, score: float = 0.1, faults: tuple[Any, ...] = (), condition: str = "scored") -> Any:
    clip = SimpleNamespace(score=score, departures_db=np.full(BANDS, score))
    seen = Observation(at_s, 1.0, condition, score if condition == "scored" else None)  # type: ignore[arg-type]
    return SimpleNamespace(
        observation=seen, faults=faults, scores=SimpleNamespace(clip=clip), model=model_of("3", "cal-a")
    )


def test_only_scored_normal_sound_is_added_up_and_an_hour_of_an_alarm_is_left_out(store: StateStore) -> None:
    recorder, machine = NormalRecorder(store.add_normal), machine_of(model_of("3", "cal-a"))
    stream: Any = None
    recorder.on_steps(machine, stream, [step(7_200.5 + second, score=0.2) for second in range(100)])
    recorder.flush()
    recorder.on_steps(machine, stream, [step(7_400.5 + second, score=0.6) for second in range(300)])
    recorder.on_steps(machine, stream, [step(7_800.0, faults=("clipped",)), step(7_801.0, condition="unknown")])
    machine.state = "off"
    recorder.on_steps(machine, stream, [step(7_802.0)])
    recorder.flush()
    (hour,) = store.normal_hours("fan-1", "cal-a")
    assert (hour.hour, hour.seconds) == (2, 400.0)
    assert hour.score == pytest.approx(0.5)
    np.testing.assert_allclose(hour.departures_db, 0.5, atol=1e-6)
    watch = store.watch("fan-1", "sha-3", RULE.model_dump_json())
    assert watch is not None and (watch.since_s, watch.last_s, watch.watched_s) == (7_199.5, 7_699.5, 400.0)
    machine.state, machine.alarm.number_in_force = "alarm", 1
    recorder.on_steps(machine, stream, [step(7_900.0)])
    recorder.flush()
    assert store.normal_hours("fan-1", "cal-a") == []


def test_what_the_disk_does_not_take_is_written_later(store: StateStore) -> None:
    full = True

    def write(hours: Any, watches: Any) -> None:
        if full:
            raise StateUnusable("the disk is full")
        store.add_normal(hours, watches)

    recorder, machine = NormalRecorder(write), machine_of(model_of("3", "cal-a"))
    for second in range(50):
        recorder.on_steps(machine, None, [step(7_200.5 + second)])  # type: ignore[arg-type]
        recorder.flush()
    full = False
    recorder.flush()
    assert [hour.seconds for hour in store.normal_hours("fan-1", "cal-a")] == [50.0]


def test_a_database_from_before_gets_the_tables(tmp_path: Path) -> None:
    before = StateStore(tmp_path)
    before.check()
    with before._database.writing() as connection:
        for table in (NORMAL_HOURS, WATCHES):
            table.drop(connection)
    before.close()
    after = StateStore(tmp_path)
    heard(after, 1)
    assert len(after.normal_hours("fan-1", "cal-a")) == 24
    after.prune(3_600.0 * (FIRST_HOUR + 24 * 401))
    assert after.normal_hours("fan-1", "cal-a") == []
    after.close()


# -- false alarms


def raised(store: StateStore, number: int, at_s: float, verdict: Verdict | None, *, version: str = "3") -> None:
    snapshot = AlarmSnapshot(last_number=number, active=ActiveAlarm(number=number, raised_s=at_s))
    event = AlarmEvent("raised", at_s, "normal", "alarm", alarm=number, score=1.5)
    levels = AlarmLevels(warn=0.5, alarm=1.0)
    context = AlarmContext(
        score=1.5,
        raw_score=3.0,
        model_version=version,
        model_sha256=f"sha-{version}",
        levels=levels,
        raw_levels=levels,
        rule=RULE,
    )
    store.commit(MachineChange(machine_id="fan-1", snapshot=snapshot, events=(event,), context=context))
    if verdict is not None:
        store.feedback(f"fan-1-{number:06d}", verdict, cause="", action="", who="ann", at_s=at_s + 1)


def test_seen_stands_beside_promised(store: StateStore, metrics: Metrics) -> None:
    rate = FalseAlarmRate(
        wanted_a_week=1.0,
        expected_a_week=0.8,
        low_a_week=0.2,
        high_a_week=1.6,
        heard_s=WEEK_S,
        blocks=100,
        promised=True,
        reason=None,
    )
    decision = Decision(limits=SequentialLimits(charts=(Chart(time_constant_s=20, limit=0.9),)), rate=rate)
    machine = machine_of(model_of("3", "cal-a", decision))
    recorder = NormalRecorder(store.add_normal)
    seen = SeenFalseAlarms(store, metrics.live, flush=recorder.flush, scores=no_scores)
    assert (seen.report(machine).since_s, seen.report(machine).seen.promise) == (None, "too_early")
    recorder.on_steps(machine, None, [step(1_000.0)])  # type: ignore[arg-type]
    recorder._watched["fan-1", "sha-3", RULE.model_dump_json()].watched_s = 4 * WEEK_S
    verdicts: list[Verdict | None] = ["false_alarm"] * 9 + ["true_alarm", "unsure", None]
    for number, verdict in enumerate(verdicts, start=1):
        raised(store, number, 1_000.0 + number, verdict)
    raised(store, 99, 500.0, "false_alarm")  # before the version was in use
    raised(store, 100, 2_000.0, "false_alarm", version="2")
    report = seen.report(machine)
    assert report.alarms.model_dump() == {"false_alarm": 9, "true_alarm": 1, "unsure": 1, "unjudged": 1}
    assert (report.since_s, report.promised, report.seen.promise) == (999.0, rate, "broken")
    assert report.seen.a_week == pytest.approx(9 / 4)
    assert value(metrics, "false_alarms_promised_per_week") == "1.0"  # at once: page and metrics say the same
    metrics.live.show_false_alarms("fan-1", AlarmCounts(), watched_s=0.0, promised_a_week=None, low_a_week=None)
    seen.measure([machine])
    assert value(metrics, "false_alarms_promised_per_week") == "1.0"
    assert float(value(metrics, "false_alarms_seen_low_per_week")) == pytest.approx(report.seen.low_a_week)
    machine.alarm.rule = AlarmRule(decision="on_delay")
    other = seen.report(machine)
    assert (other.promised, other.watched_s, other.seen.promise) == (None, 0.0, "not_promised")


# -- through the service


def hear(socket: Any, **wanted: Any) -> None:
    while True:
        message = json.loads(socket.recv(timeout=20))
        if all(message.get(name) == at for name, at in wanted.items()):
            return


def test_the_routes_answer_of_sound_that_was_streamed(make_server: Any, workshop: Any) -> None:
    server = make_server()
    with connect(f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream", proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000,"realtime":false}')
        hear(socket, type="ready")
        sound = (workshop.normal(1, 10.0) * 32_767).astype("<i2").tobytes()
        for _ in range(9):
            socket.send(sound)
        socket.send('{"type":"eof"}')
        hear(socket, type="bye")
    drift = server.http.get("/v1/machines/pump-2/drift").json()
    assert (drift["state"], drift["days"], drift["proposal"]) == ("too_little", 0, None)
    assert server.http.get("/v1/machines/pump-2/status").json()["drift"] is None
    seen = server.http.get("/v1/machines/pump-2/false-alarms").json()
    assert 60 < seen["watched_s"] <= 90 and seen["since_s"] == pytest.approx(time.time(), abs=600)
    assert (seen["promised"], seen["seen"]["promise"]) == (None, "not_promised")
    server.app.state.service.state.kept_sounds.add(
        "pump-2", workshop.normal(1, 10.0), 16_000, at_s=1e9, score=0.1, model_version="1"
    )
    answer = server.http.get("/v1/machines/pump-2/dataset")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert names[0] == "pump-2/normal/kept_1000000000000.flac" and names[-1] == "labels.csv"
    assert server.http.get("/v1/machines/nobody/dataset").status_code == 404
    for route in ("drift", "false-alarms", "dataset"):
        assert server.http.get(f"/v1/machines/Not-An-Id!/{route}").status_code == 422


def test_a_sentence_says_what_moved(store: StateStore, metrics: Metrics) -> None:
    heard(store, 20)
    report = drifts_of(store, metrics, Clock(20)).report(machine_of(model_of("3", "cal-a")))
    assert "all bands moved alike" in report.summary and "+2" in report.summary and "2024-10" in report.summary
    assert summary_of(report) == report.summary
