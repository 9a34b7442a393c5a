from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import OperationRefused, RepositoryError
from humwatch.false_alarms.provisional import PROVISIONAL_LIMITS
from humwatch.false_alarms.scores import ScoreSegment
from humwatch.synthetic import Fault, SyntheticMachine
from humwatch_service.calibration.commissioning import RETRY_S
from humwatch_service.calibration.limits import LEAST_MARGIN_S
from humwatch_service.calibration.report import CalibrationReport
from humwatch_service.errors import (
    CalibrationNotFound,
    MinuteNotFound,
    ModelsLoading,
    ShadowNotFound,
    StateUnusable,
)
from tests.service.calibration.works import RATE_HZ, Candidates, Setup, run

NEW = "fan-9"
MACHINE = SyntheticMachine(5)


def whole(sound: np.ndarray) -> np.ndarray:
    """As a 16-bit source has it."""
    return np.round(sound * 32_768).astype(np.float32) / 32_768


@lru_cache(maxsize=128)
def minute_of(number: int) -> np.ndarray:
    return whole(MACHINE.clip(number, 60.0))


@pytest.fixture(scope="module")
def minutes() -> list[np.ndarray]:
    return [minute_of(number) for number in range(16)]


@pytest.fixture
def setup(models: Path, tmp_path: Path) -> Setup:
    return Setup(models, tmp_path / "state")


@pytest.fixture
def watching(models: Path, tmp_path: Path) -> Setup:
    """A service that watches candidates."""
    return Setup(models, tmp_path / "state", Candidates())


@pytest.fixture
def heard() -> Iterator[np.ndarray]:
    """Normal minutes without end, of which no two are alike."""
    return map(minute_of, count())


def begin(setup: Setup, machine_id: str = NEW, **given: Any) -> None:
    order = {"plan": "in_a_row", "who": "ada", "accept": "automatic", **given}
    if machine_id == NEW:
        order["from_machine"] = "fan-1"
    run(setup.calibrations.start(machine_id, **order))


def play(setup: Setup, sound: np.ndarray, machine_id: str = NEW) -> None:
    setup.play(machine_id, sound)
    run(setup.upkeep.advance())


def settle(setup: Setup, heard: Iterator[np.ndarray], machine_id: str = NEW) -> None:
    """Play ten seconds more, in which no fault is named."""
    play(setup, next(heard)[: 10 * RATE_HZ + 1_600], machine_id)


def next_minutes(setup: Setup, heard: Iterator[np.ndarray], number: int, machine_id: str = NEW) -> None:
    """Play what a spread plan wants next, each minute when it wants it."""
    for _ in range(number):
        progress = setup.calibrations.progress(machine_id)
        due_s, heard_s = progress.plan.next_wanted_s, progress.plan.heard_s
        assert due_s is not None
        at_s = max(due_s + 1.0, heard_s or 0.0)
        setup.play(machine_id, np.concatenate([next(heard), minute_of(0)[: 11 * RATE_HZ]]), at_s)
        run(setup.upkeep.advance())


def kinds(setup: Setup) -> list[str]:
    return [kind for _, kind, _ in setup.notes]


def states(setup: Setup, machine_id: str = NEW) -> list[tuple[int, str, str]]:
    stages = setup.calibrations.progress(machine_id).stages
    return [(stage.minutes, stage.version, stage.state) for stage in stages]


def test_a_new_machine_is_watched_within_six_minutes(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, plan="day")
    for _ in range(5):
        play(setup, next(heard))
        assert setup.registry.current.models.get(NEW) is None
    settle(setup, heard)
    progress = setup.calibrations.progress(NEW)
    assert progress.plan.heard_s is not None
    assert progress.plan.heard_s - progress.plan.start_s < 360.0
    (stage,) = progress.stages
    assert (stage.minutes, stage.version, stage.state, stage.provisional) == (5, "1", "active", True)
    assert (stage.thresholds.alarm, progress.provisional_since_s) == (1.0, stage.used_s)
    assert (progress.waits_for, progress.waits_why) == ("sound", "96 of 101 minutes are missing")
    card = setup.registry.get(NEW).manifest.commissioning
    assert card is not None
    assert card.model_dump() == {"stage": 1, "minutes": 5, "planned_minutes": 101, "provisional": True}
    assert kinds(setup) == ["calibration_started", "calibration_stage"]
    assert setup.notes[1][2]["stage"] == 1
    assert sum(progress.plan.minutes_by_hour) == 5


def test_stages_follow_each_other_and_the_last_one_ends_it(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, minutes=16)
    seen = set()
    for _ in range(16):
        play(setup, next(heard))
        seen |= set(states(setup))
    settle(setup, heard)
    assert {(5, "1", "active"), (5, "1", "replaced"), (15, "2", "active")} <= seen
    with pytest.raises(CalibrationNotFound):
        setup.calibrations.progress(NEW)
    report = run(setup.calibrations.report(NEW))
    assert (report.version, report.activated, report.calibration.recordings) == ("3", True, 16)
    assert [(stage.minutes, stage.version) for stage in report.stages] == [(5, "1"), (15, "2"), (16, "3")]
    assert [stage.expected_false_alarms_a_day.promised for stage in report.stages] == [False] * 3
    card = setup.registry.get(NEW).manifest.commissioning
    assert card is not None
    assert (card.stage, card.provisional) == (3, False)
    assert kinds(setup)[-2:] == ["calibrated", "activated"]
    assert setup.collectors == {}
    assert list((setup.state / "commissioning" / NEW).iterdir()) == [
        setup.state / "commissioning" / NEW / "report.json"
    ]


def test_a_restart_loses_the_open_minute_alone(
    setup: Setup, models: Path, tmp_path: Path, minutes: list[np.ndarray]
) -> None:
    begin(setup, minutes=7, accept="operator")
    for minute in minutes[:4]:
        play(setup, minute)
    play(setup, minutes[10][: 30 * RATE_HZ])
    before = setup.calibrations.progress(NEW)
    setup.start_service()
    with pytest.raises(ModelsLoading):
        setup.calibrations.progress(NEW)
    run(setup.upkeep.restore())
    after = setup.calibrations.progress(NEW)
    assert (before.minutes, after.minutes) == (4, 4)
    same = {"started_s", "who", "why", "plan", "score", "from_version", "accept"}
    assert after.model_dump(include=same - {"plan"}) == before.model_dump(include=same - {"plan"})
    for minute in minutes[4:7]:
        setup.start_service()  # eleven seconds of an open minute are lost
        run(setup.upkeep.restore())
        play(setup, np.concatenate([minute, minutes[11][: 11 * RATE_HZ]]))
    report = run(setup.calibrations.finish(NEW, who="bob"))
    assert report.calibration.recordings == 7
    other = Setup(models, tmp_path / "other")
    run(other.calibrations.start("fan-8", from_machine="fan-1", minutes=7, who="ada"))
    for minute in minutes[:7]:
        other.play("fan-8", minute)
    run(other.calibrations.finish("fan-8", who="bob"))
    mine, theirs = (ModelRepository(models).read(name) for name in (NEW, "fan-8"))
    assert (mine.manifest.clip, mine.manifest.step) == (theirs.manifest.clip, theirs.manifest.step)
    assert mine.calibration.clip.normal_scores.tobytes() == theirs.calibration.clip.normal_scores.tobytes()


@pytest.mark.parametrize("written", [True, False])
def test_a_version_is_not_made_twice_when_the_service_is_killed_meanwhile(
    setup: Setup, heard: Iterator[np.ndarray], models: Path, written: bool
) -> None:
    begin(setup, minutes=7)
    for _ in range(5):
        play(setup, next(heard))
    settle(setup, heard)
    path = setup.state / "commissioning" / NEW / "record.json"
    record = json.loads(path.read_bytes())
    record["making"] = {**record["stages"].pop(), "state": "candidate", "reason": "it was made", "used_s": None}
    path.write_text(json.dumps(record))
    if not written:
        (models / NEW / "1").rename(models / NEW / ".gone")
        (models / NEW / "active.json").unlink()
    setup.start_service()
    run(setup.upkeep.restore())
    run(setup.upkeep.advance())
    assert states(setup) == [(5, "1", "active")]
    assert ModelRepository(models).versions(NEW) == ["1"]
    assert json.loads(path.read_bytes())["making"] is None


def test_a_minute_whose_file_is_damaged_is_dropped_by_name(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, minutes=8, accept="operator")
    for _ in range(4):
        play(setup, next(heard))
    settle(setup, heard)
    evidence = setup.state / "commissioning" / NEW / "minutes" / "0002.npz"
    evidence.write_bytes(evidence.read_bytes()[:-500])
    setup.start_service()
    run(setup.upkeep.restore())
    progress = setup.calibrations.progress(NEW)
    assert progress.minutes == 3
    ((lost),) = progress.lost_minutes
    assert lost.number == 2
    assert "damaged" in lost.reason
    assert not evidence.exists()
    for _ in range(6):
        play(setup, next(heard))
    assert setup.calibrations.progress(NEW).minutes == 8
    assert [path.stem for path in sorted(evidence.parent.glob("*.npz"))] == ["0001", *(f"000{n}" for n in range(3, 10))]


def test_a_commissioning_that_cannot_go_on_is_left_alone(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, minutes=8)
    path = setup.state / "commissioning" / NEW / "record.json"
    path.write_text("{}")
    setup.start_service()
    run(setup.upkeep.restore())
    with pytest.raises(CalibrationNotFound):
        setup.calibrations.progress(NEW)
    assert path.read_text() == "{}"
    begin(setup, minutes=8)
    assert setup.calibrations.progress(NEW).minutes == 0


def test_a_later_stage_scores_beside_the_version_in_use_before_it_is_used(
    watching: Setup, heard: Iterator[np.ndarray]
) -> None:
    candidates = watching.candidates
    assert candidates is not None
    begin(watching, "pump-2", plan="day")
    for _ in range(5):
        play(watching, next(heard), "pump-2")
    settle(watching, heard, "pump-2")
    assert states(watching, "pump-2") == [(5, "2", "waiting")]  # the version in use rests on twelve recordings
    assert "12 recordings" in watching.calibrations.progress("pump-2").stages[0].reason
    next_minutes(watching, heard, 10, "pump-2")
    assert states(watching, "pump-2")[-1] == (15, "3", "candidate")
    assert candidates.asked == [("start", "pump-2", "2"), ("stop", "pump-2", "2"), ("start", "pump-2", "3")]
    candidates.watched["pump-2"].heard_s = 599.0
    run(watching.upkeep.advance())
    assert states(watching, "pump-2")[-1] == (15, "3", "candidate")
    assert watching.registry.get("pump-2").manifest.version == "1"
    candidates.watched["pump-2"].heard_s = 600.0
    run(watching.upkeep.advance())
    assert states(watching, "pump-2")[-1] == (15, "3", "active")
    assert watching.registry.get("pump-2").manifest.version == "3"
    assert candidates.asked[-1] == ("stop", "pump-2", "3")
    assert watching.notes[-1][1:2] == ("activated",)
    assert (watching.notes[-1][2]["who"], "no alarm of its own" in watching.notes[-1][2]["why"]) == (
        "commissioning",
        True,
    )
    run(watching.versions.rollback("pump-2", who="bob", why="too many alarms"))
    run(watching.upkeep.advance())
    assert states(watching, "pump-2")[-1] == (15, "3", "replaced")
    assert watching.registry.get("pump-2").manifest.version == "1"


def test_one_that_raises_alarms_of_its_own_waits_for_an_operator(watching: Setup, heard: Iterator[np.ndarray]) -> None:
    candidates = watching.candidates
    assert candidates is not None
    begin(watching, minutes=30, normal_s=3_600.0)
    for _ in range(15):
        play(watching, next(heard))
    settle(watching, heard)
    assert states(watching) == [(5, "1", "active"), (15, "2", "candidate")]
    candidates.watched[NEW].heard_s = 900.0
    candidates.watched[NEW].alarms_only_new = 1
    run(watching.upkeep.advance())
    assert states(watching)[-1] == (15, "2", "waiting")
    run(watching.calibrations.accept(NEW, who="bob"))
    assert states(watching) == [(5, "1", "replaced"), (15, "2", "active")]
    assert "bob accepted it" in watching.calibrations.progress(NEW).stages[-1].reason
    with pytest.raises(OperationRefused, match="no version"):
        run(watching.calibrations.accept(NEW, who="bob"))


@pytest.mark.parametrize("ended", [False, True], ids=["scores", "ended-meanwhile"])
def test_one_that_is_given_up_leaves_no_candidate(
    watching: Setup, heard: Iterator[np.ndarray], monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    candidates = watching.candidates
    assert candidates is not None
    begin(watching, minutes=30, normal_s=3_600.0)
    for _ in range(15):
        play(watching, next(heard))
    settle(watching, heard)
    assert states(watching)[-1] == (15, "2", "candidate")
    if ended:

        async def stop(machine_id: str, **_: str) -> None:
            del candidates.watched[machine_id]
            raise ShadowNotFound("an operator has ended it")

        monkeypatch.setattr(candidates, "stop", stop)
    run(watching.calibrations.cancel(NEW, who="bob"))
    assert candidates.watched == {}
    with pytest.raises(CalibrationNotFound):
        watching.calibrations.progress(NEW)


def test_why_no_version_is_made_is_said_until_one_is(
    setup: Setup, heard: Iterator[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(setup, minutes=5, accept="automatic")
    assert setup.calibrations.progress(NEW).plan.normal_until_s is None

    async def refuse(*_: object, **__: object) -> None:
        raise RepositoryError("models/pump-9/1 cannot be written: Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(setup.versions, "add", refuse)
        for _ in range(5):
            play(setup, next(heard))
        settle(setup, heard)
        run(setup.upkeep.advance())  # it is not tried again at once
        progress = setup.calibrations.progress(NEW)
        assert progress.trouble == "models/pump-9/1 cannot be written: Read-only file system"
        assert (progress.stages, progress.waits_for) == ([], "period")
        assert "is made next" in progress.waits_why
    setup.now_s += RETRY_S
    run(setup.upkeep.advance())
    with pytest.raises(CalibrationNotFound):
        setup.calibrations.progress(NEW)
    assert run(setup.calibrations.report(NEW)).version == "1"


@pytest.mark.parametrize("scored_s", [7_200, 600])
def test_limits_come_from_what_the_last_level_scored(
    watching: Setup, heard: Iterator[np.ndarray], models: Path, scored_s: int
) -> None:
    candidates = watching.candidates
    assert candidates is not None
    begin(watching, minutes=6, normal_s=9_000.0)
    for _ in range(6):
        play(watching, next(heard))
    settle(watching, heard)
    assert states(watching) == [(5, "1", "active"), (6, "2", "candidate")]
    assert watching.calibrations.progress(NEW).waits_for == "candidate"
    candidates.watched[NEW].heard_s = 700.0
    run(watching.upkeep.advance())
    assert states(watching)[-1] == (6, "2", "active")
    assert watching.calibrations.progress(NEW).waits_for == "period"
    until_s = watching.calibrations.progress(NEW).plan.normal_until_s
    assert until_s == 11.0 + 9_000.0
    watching.now_s = until_s - LEAST_MARGIN_S - 31.0  # a hundredth of the period, here 90 s, is left to use it
    run(watching.upkeep.advance())
    assert len(states(watching)) == 2
    candidates.scored = [ScoreSegment(until_s - scored_s - 90.0, np.linspace(0.0, 0.5, scored_s))]
    candidates.scored.append(ScoreSegment(until_s + 5.0, np.full(100_000, 9.0)))  # of after the period
    watching.now_s += 2.0
    run(watching.upkeep.advance())
    report = run(watching.calibrations.report(NEW))
    assert (report.version, report.activated) == ("3", True)
    manifest = watching.registry.get(NEW).manifest
    assert manifest.commissioning is not None
    assert (manifest.version, manifest.commissioning.provisional) == ("3", False)
    if scored_s > 3_600:
        assert manifest.decision is not None
        assert (manifest.decision.rate.heard_s, report.stages[-1].promised) == (scored_s, True)
        assert (report.stages[-1].false_alarms_a_week, report.decision_reason) == (1.0, None)
    else:
        assert manifest.decision is not None
        assert manifest.decision.limits == PROVISIONAL_LIMITS
        assert (manifest.decision.rate.promised, report.decision_reason) == (False, "too little was scored")
    files = [models / NEW / version / "calibration.npz" for version in ("2", "3")]
    assert files[0].read_bytes() == files[1].read_bytes()
    before = ModelRepository(models).manifest(NEW, "2")
    assert (before.clip, before.files) == (manifest.clip, manifest.files)


def test_nothing_is_used_by_itself_after_the_period(watching: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(watching, minutes=6, normal_s=3_600.0)
    for _ in range(6):
        play(watching, next(heard))
    settle(watching, heard)
    assert watching.candidates is not None
    watching.candidates.watched[NEW].heard_s = 1_000.0
    watching.now_s = 11.0 + 3_600.0
    watching.start_service()
    run(watching.upkeep.restore())
    for _ in range(3):
        run(watching.upkeep.advance())
    progress = watching.calibrations.progress(NEW)
    assert states(watching)[0] == (5, "1", "active")
    assert progress.stages[-1].state == "waiting"
    assert (progress.waits_for, "is over" in progress.waits_why) == ("operator", True)
    assert watching.registry.get(NEW).manifest.version == "1"
    assert not progress.stages[-1].provisional
    report = run(watching.calibrations.accept(NEW, who="bob"))
    assert isinstance(report, CalibrationReport)
    assert (report.version, report.activated) == (progress.stages[-1].version, True)


def test_an_operator_accepts_where_that_was_asked_for(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, "pump-2", plan="day", accept="operator")
    for _ in range(5):
        play(setup, next(heard), "pump-2")
    settle(setup, heard, "pump-2")
    assert states(setup, "pump-2") == [(5, "2", "waiting")]
    assert setup.registry.get("pump-2").manifest.version == "1"
    run(setup.calibrations.accept("pump-2", who="bob", why="listened to it"))
    assert states(setup, "pump-2") == [(5, "2", "active")]
    assert setup.registry.get("pump-2").manifest.version == "2"
    assert (setup.notes[-1][1], setup.notes[-1][2]["who"]) == ("activated", "bob")


def odd(number: int) -> np.ndarray:
    return whole(MACHINE.clip(900 + number, 60.0, Fault("squeal", 12.0)))


def with_an_odd_minute(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, minutes=17, accept="operator")
    for number in range(15):
        play(setup, odd(number) if number == 7 else next(heard))
    settle(setup, heard)


def test_an_odd_minute_is_held_back_with_its_sound(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    with_an_odd_minute(setup, heard)
    progress = setup.calibrations.progress(NEW)
    (card,) = progress.odd_minutes
    assert (card.number, card.why, card.sound) == (8, "score", True)
    assert card.score is not None
    assert card.score > 1.5
    assert len(card.bands) == 3
    assert states(setup)[-1][:2] == (14, "2")
    assert 8 not in progress.stages[-1].minute_numbers
    path = setup.calibrations.minute_finder(NEW, 8)()
    sound, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE_HZ
    assert np.array_equal(sound, odd(7))


def test_before_it_is_taken_up_nobody_is_told_that_there_is_none(setup: Setup) -> None:
    begin(setup)
    setup.start_service()
    for ask in (setup.calibrations.progress, lambda machine_id: setup.calibrations.minute_finder(machine_id, 1)):
        with pytest.raises(ModelsLoading, match="is not read yet"):
            ask(NEW)
    with pytest.raises(ModelsLoading):
        run(setup.calibrations.cancel(NEW, who="bob"))
    run(setup.upkeep.restore())
    assert setup.calibrations.progress(NEW).minutes == 0
    with pytest.raises(CalibrationNotFound):
        setup.calibrations.progress("nobody")


def test_an_odd_minute_that_is_kept_counts_from_the_next_version_on(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    with_an_odd_minute(setup, heard)
    for number in (3, 99):
        with pytest.raises(MinuteNotFound):
            run(setup.calibrations.keep_minute(NEW, number, who="bob"))
    assert run(setup.calibrations.keep_minute(NEW, 8, who="bob", why="the hatch was open")).odd_minutes == []
    assert (setup.notes[-1][1], setup.notes[-1][2]["minute"]) == ("minute_kept", 8)
    setup.start_service()
    run(setup.upkeep.restore())
    report = run(setup.calibrations.finish(NEW, who="bob"))
    assert (report.calibration.recordings, report.odd_minutes) == (15, [])


def test_an_odd_minute_that_is_thrown_out_is_made_up(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    with_an_odd_minute(setup, heard)
    with pytest.raises(MinuteNotFound):
        run(setup.calibrations.drop_minute(NEW, 99, who="bob"))
    progress = run(setup.calibrations.drop_minute(NEW, 8, who="bob", why="a hammer"))
    assert (progress.odd_minutes, [lost.number for lost in progress.lost_minutes]) == ([], [8])
    with pytest.raises(MinuteNotFound):
        setup.calibrations.minute_finder(NEW, 8)()
    for _ in range(3):
        play(setup, next(heard))
    assert setup.calibrations.progress(NEW).minutes == 17
    report = run(setup.calibrations.finish(NEW, who="bob"))
    assert report.calibration.recordings == 17
    assert [lost.reason for lost in report.lost_minutes] == ["bob threw it out: a hammer"]


def test_odd_minutes_that_nobody_judged_are_left_out(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    with_an_odd_minute(setup, heard)
    report = run(setup.calibrations.finish(NEW, who="bob"))
    assert report.calibration.recordings == 14
    assert "1 odd minute(s) were left out" in report.warnings[-1]


def test_a_minute_in_which_an_alarm_was_in_force_is_held_back(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, minutes=9, accept="operator")
    for number in range(9):
        setup.alarmed = number == 6
        play(setup, next(heard))
    settle(setup, heard)
    progress = setup.calibrations.progress(NEW)
    held = [(card.number, card.why) for card in progress.odd_minutes]
    assert (7, "alarm") in held
    assert len(held) <= 2
    report = run(setup.calibrations.finish(NEW, who="bob"))
    assert report.calibration.recordings == 9 - len(held)


def test_an_alarm_of_a_version_from_before_holds_nothing_back(setup: Setup, heard: Iterator[np.ndarray]) -> None:
    begin(setup, "pump-2", minutes=5, accept="operator")
    setup.alarmed = True
    for _ in range(4):
        play(setup, next(heard), "pump-2")
    assert setup.calibrations.progress("pump-2").odd_minutes == []


def test_minutes_wait_in_memory_for_a_disk_that_is_full(
    setup: Setup, heard: Iterator[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StateUnusable("No space left on device")

    begin(setup, minutes=6, accept="operator")
    with monkeypatch.context() as patch:
        patch.setattr(setup.folder, "write_minute", full)
        for _ in range(3):
            play(setup, next(heard))
        settle(setup, heard)
        progress = setup.calibrations.progress(NEW)
        assert (progress.trouble, progress.minutes) == ("No space left on device", 3)
        assert progress.waits_why == "3 of 6 minutes are missing"
        assert progress.plan.minutes_kept == 0
    run(setup.upkeep.advance())
    progress = setup.calibrations.progress(NEW)
    assert (progress.trouble, progress.minutes, progress.plan.minutes_kept) == (None, 3, 3)


def test_what_no_version_can_be_made_of_is_said_and_not_tried_all_the_time(
    setup: Setup, heard: Iterator[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = count()

    def fails(*_: object, **__: object) -> None:
        next(tries)
        raise OSError(28, "No space left on device")

    begin(setup, minutes=6, accept="operator")
    with monkeypatch.context() as patch:
        patch.setattr("humwatch_service.models.versions.write_bundle", fails)
        for _ in range(5):
            play(setup, next(heard))
        settle(setup, heard)
        for _ in range(3):
            run(setup.upkeep.advance())
        assert next(tries) == 1
        setup.now_s += 61.0
        run(setup.upkeep.advance())
        assert next(tries) == 3
    setup.now_s += 61.0
    run(setup.upkeep.advance())
    assert states(setup) == [(5, "1", "active")]


@pytest.mark.slow
def test_a_day_in_compressed_time_with_each_level(watching: Setup, heard: Iterator[np.ndarray]) -> None:
    candidates = watching.candidates
    assert candidates is not None
    begin(watching, plan="day")
    levels: dict[int, float] = {}
    for number in range(101):
        next_minutes(watching, heard, 1)
        progress = watching.calibrations.progress(NEW)
        for stage in progress.stages:
            levels[stage.minutes] = stage.expected_false_alarms_a_day.value
        if NEW in candidates.watched:
            candidates.watched[NEW].heard_s = 700.0
            run(watching.upkeep.advance())
        if number == 60:
            watching.start_service()
            run(watching.upkeep.restore())
    progress = watching.calibrations.progress(NEW)
    assert [(stage.minutes, stage.version) for stage in progress.stages] == [(5, "1"), (15, "2"), (40, "3"), (101, "4")]
    assert [stage.state for stage in progress.stages] == ["replaced"] * 3 + ["active"]
    assert progress.waits_for == "period"
    assert progress.provisional_since_s == progress.stages[0].used_s
    assert max(progress.plan.minutes_by_hour) <= 10
    assert levels[5] > levels[101]
    until_s = progress.plan.normal_until_s
    assert until_s == 11.0 + 50 * 3_600.0
    candidates.scored = [ScoreSegment(until_s - 90_000.0, np.linspace(0.0, 0.5, 86_400))]
    watching.play(NEW, next(heard), until_s - 1_800.0)
    run(watching.upkeep.advance())
    report = run(watching.calibrations.report(NEW))
    assert (report.version, report.activated, report.decision is not None) == ("5", True, True)
    assert report.expected_false_alarms_a_day.promised
