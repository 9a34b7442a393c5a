"""A machine that changes its speed, stops and starts: it is judged while it runs, and raises nothing of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from humwatch.alarm.events import AlarmEvent
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.audio.features import FeatureSpec
from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import dbfs
from humwatch.audio.windows import WindowSpec
from humwatch.bundle.bundle import Bundle, Golden, compose_bundle, digest_of
from humwatch.bundle.manifest import PredictorCard
from humwatch.calibration.fit import calibrate
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.normal_recording import whole_clips
from humwatch.pipeline import EvidencePipeline, PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import Fault, SyntheticMachine

pytestmark = pytest.mark.slow

Sound = npt.NDArray[np.float64]

RATE_HZ = 16_000
CLIP_S = 10.0
SLOWEST, FASTEST = 0.95, 1.0
"""Normal speeds, as shares of the machine's own."""
ROOM_DBFS = -70.0
TAPE_S = 100.0
FINER = 2


@cache
def tape(number: int, fault: Fault | None = None) -> Sound:
    """The machine at one speed, twice as many samples a second: what :func:`played` reads from."""
    sound = SyntheticMachine(seed=3).clip(number, TAPE_S, fault).astype(np.float64)
    finer: Sound = scipy.signal.resample_poly(sound, FINER, 1)
    return finer


def played(sound: Sound, speed: Sound, from_s: float = 0.0) -> Sound:
    """A tape at changing speed, float64 (n,): all that the machine does is slower by as much."""
    at = (from_s * RATE_HZ + np.cumsum(speed)) * FINER
    return np.interp(at, np.arange(len(sound)), sound)


def wandering(seconds: float, seed: int) -> Sound:
    """A normal speed that changes within seconds, float64 (n,)."""
    knots = np.random.default_rng([seed, 9]).uniform(SLOWEST, FASTEST, 2 + round(seconds / 8))
    return np.interp(np.linspace(0, len(knots) - 1, round(seconds * RATE_HZ)), np.arange(len(knots)), knots)


def room(seconds: float, seed: int = 0) -> Sound:
    return np.random.default_rng([seed, 4]).normal(0.0, 10 ** (ROOM_DBFS / 20), round(seconds * RATE_HZ))


def in_room(sound: Sound, seed: int = 0) -> Sound:
    return sound + room(len(sound) / RATE_HZ, seed)


@pytest.fixture(scope="module")
def model(predictor: Predictor) -> LiveModel:
    """Calibrated on its normal running at its normal speeds."""
    spec = PipelineSpec(FeatureSpec(), WindowSpec(clip_seconds=CLIP_S), ScoringSpec(kind="spectrum_profile"))
    clips = [clip for number in range(40) for clip in normal_clips(spec, predictor, number)]
    calibration = calibrate(
        clips,
        scoring=spec.scoring,
        spec=CalibrationSpec(),
        step_windows=spec.step_windows,
        clip_seconds=CLIP_S,
    )
    golden = Golden.of(predictor, np.zeros((1, 5, 128), np.float32))
    manifest, _ = compose_bundle(
        spec,
        calibration,
        b"not run here",
        golden,
        calibration_digest=digest_of(["a"]),
        machine_id="fan-1",
        machine_type="fan",
        version="1",
        created_at="2026-01-01T00:00:00+00:00",
        created_by="test",
        licence="none",
        attribution="nobody",
        channel=0,
        predictor=PredictorCard(
            strategy="tests", parameters=0, steps=0, train_recordings=0, train_digest="0" * 64, config={}, parity={}
        ),
    )
    return LiveModel(Bundle(manifest, b"not run here", calibration, golden), predictor)


def normal_clips(spec: PipelineSpec, predictor: Predictor, number: int) -> list[NormalClip]:
    """One of the recordings of the calibration: ten seconds of a tape that is heard nowhere else."""
    sound = in_room(played(tape(900 + number // 9), wandering(CLIP_S, number), number % 9 * 10.5), number)
    listener = EvidencePipeline(spec, predictor, source_rate_hz=RATE_HZ)
    mono = sound.astype(np.float32)
    blocks = listener.push(mono[:, None]) + listener.flush()
    evidence = Evidence.concatenate([block.evidence for block in blocks])
    quietest_dbfs = min(SecondLevels(RATE_HZ).push(mono))
    return [
        NormalClip(str(number), clip, dbfs(float(np.var(sound))), 16, quietest_dbfs)
        for clip in whole_clips(evidence, spec)
    ]


@dataclass
class Watch:
    """A machine that is followed: every step, the state that was shown after it, and all events."""

    model: LiveModel
    rule: AlarmRule = field(default_factory=AlarmRule)
    given: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[LiveStep, str]] = field(default_factory=list)
    events: list[AlarmEvent] = field(default_factory=list)
    heard_s: float = 0.0

    def __post_init__(self) -> None:
        clip = self.model.bundle.manifest.clip
        self.live = LiveMonitor(
            self.model, source_rate_hz=RATE_HZ, time_of=lambda sample: sample / RATE_HZ, **self.given
        )
        self.alarm = AlarmStateMachine(self.rule, warn_level=clip.normalise(clip.warn.level))

    def hear(self, sound: Sound) -> None:
        for at in range(0, len(sound), RATE_HZ // 10):
            for step in self.live.push(sound[at : at + RATE_HZ // 10].astype(np.float32)):
                if step.observation is not None:
                    self.events += self.alarm.observe(step.observation)
                self.steps.append((step, self.alarm.state))
        self.heard_s += len(sound) / RATE_HZ

    def times_of(self, kind: str) -> list[float]:
        return [event.at_s for event in self.events if event.kind == kind]

    def between(self, start_s: float, end_s: float) -> list[tuple[LiveStep, str]]:
        return [found for found in self.steps if start_s * RATE_HZ < found[0].end_sample <= end_s * RATE_HZ]


@dataclass(frozen=True)
class Cycle:
    """Run-up, running, run-down and a stand, seconds each.

    ``shape``: the amplitude is the speed to this power; below 1 a machine that is loud till the end.
    """

    up_s: float
    down_s: float
    shape: float = 1.0
    run_s: float = 26.0
    stand_s: float = 10.0

    def sound(self, number: int, machine: Sound | None = None) -> Sound:
        running = wandering(self.run_s, number)
        up, down = (np.linspace(0.0, 1.0, max(2, round(s * RATE_HZ))) for s in (self.up_s, self.down_s))
        speed = np.concatenate([up * running[0], running, down[::-1] * running[-1]])
        gain = np.concatenate([up, np.ones(len(running)), down[::-1]]) ** self.shape
        moving = played(tape(800) if machine is None else machine, speed, number % 4 * 5.0) * gain
        return in_room(np.concatenate([moving, np.zeros(round(self.stand_s * RATE_HZ))]), number)

    @property
    def seconds(self) -> float:
        return self.up_s + self.run_s + self.down_s + self.stand_s


CYCLES = {
    "2 s": Cycle(2.0, 2.0),
    "5 s": Cycle(5.0, 5.0),
    "5 s, loud till the end": Cycle(5.0, 5.0, shape=0.5),
    "5 s, soon quiet": Cycle(5.0, 5.0, shape=2.0),
    "2 s up, 5 s down": Cycle(2.0, 5.0, shape=0.7),
    "at once": Cycle(0.1, 0.05),
}


@pytest.mark.parametrize("name", CYCLES)
def test_stops_and_starts_raise_nothing_and_a_machine_that_stands_is_off(model: LiveModel, name: str) -> None:
    cycle, watch = CYCLES[name], Watch(model)
    for number in range(3):
        began_s = watch.heard_s
        watch.hear(cycle.sound(number))
        stands_s = watch.heard_s - cycle.stand_s
        standing = watch.between(stands_s + 3.2, watch.heard_s)
        assert len(standing) >= 6
        assert {state for _, state in standing} == {"off"}
        assert all(step.scores is None and step.running is False for step, _ in standing)
        assert {"normal", "warning"} & {state for _, state in watch.between(began_s, stands_s)}
    assert watch.times_of("raised") == []


def test_a_startup_time_of_run_up_and_clip_leaves_not_even_a_warning(model: LiveModel) -> None:
    cycle = CYCLES["5 s, loud till the end"]
    watch = Watch(model, AlarmRule(startup_s=cycle.up_s + CLIP_S))
    watch.hear(room(5.0))
    for number in range(3):
        began_s = watch.heard_s
        watch.hear(cycle.sound(number))
        running = watch.between(began_s, watch.heard_s - cycle.stand_s - cycle.down_s)
        assert {state for _, state in running} == {"off", "unknown", "normal"}


@pytest.mark.parametrize("use_level", [True, False])
@pytest.mark.parametrize("down_s", [5.0, 20.0])
def test_a_signal_from_who_switches_it_goes_before_the_level(model: LiveModel, use_level: bool, down_s: float) -> None:
    watch = Watch(model, given={"use_level": use_level, "running": False})
    cycle = Cycle(5.0, down_s)
    watch.hear(room(5.0))
    for number in range(2):
        sound = cycle.sound(number)
        stops = round((cycle.up_s + cycle.run_s) * RATE_HZ)
        watch.live.signal(True)
        watch.hear(sound[:stops])
        assert watch.steps[-1][1] in ("normal", "warning")
        stopped_s = watch.heard_s
        watch.live.signal(False)
        watch.hear(sound[stops:])
        assert {state for _, state in watch.between(stopped_s + 1.0, watch.heard_s)} == {"off"}
        assert all(step.scores is None for step, _ in watch.between(stopped_s + 1.0, watch.heard_s))
        assert all("level_unusual" not in {fault.code for fault in step.faults} for step, _ in watch.steps)
    assert watch.times_of("raised") == []


def test_speeds_that_were_calibrated_raise_nothing(model: LiveModel) -> None:
    watch = Watch(model)
    for number in range(3):
        watch.hear(in_room(played(tape(801 + number), wandering(90.0, 70 + number)), number))
    assert watch.times_of("raised") == []
    assert watch.steps[-1][1] == "normal"


@cache
def low_fault(kind: Any, number: int) -> tuple[Sound, Sound]:
    """A tape without a fault, and what the fault adds to it at the machine's own power."""
    return tape(number), tape(number, Fault(kind, 0.0)) - tape(number)


def just_over(model: LiveModel, kind: Any, speed: Sound, begins_s: float) -> tuple[float, Sound]:
    """The level at which no clip that is whole behind the beginning of a fault scores lower than 1.02."""
    normal, added = low_fault(kind, 810)
    begins = round(begins_s * RATE_HZ)
    low_db, high_db = -50.0, 10.0
    while high_db - low_db > 0.02:
        level_db = (low_db + high_db) / 2
        sound = played(normal + 10 ** (level_db / 20) * added, speed)
        sound[:begins] = played(normal, speed)[:begins]
        watch = Watch(model, AlarmRule(on_delay_s=1e4))
        watch.hear(in_room(sound[: begins + 18 * RATE_HZ]))
        scores = [step.clip_score for step, _ in watch.between(begins_s + CLIP_S, begins_s + 18.0)]
        over = min(score for score in scores if score is not None) >= 1.02
        low_db, high_db = (low_db, level_db) if over else (level_db, high_db)
    sound = played(normal + 10 ** (high_db / 20) * added, speed)
    sound[:begins] = played(normal, speed)[:begins]
    return high_db, in_room(sound)


@pytest.mark.parametrize(("kind", "begins_s"), [("squeal", 14.0), ("squeal", 14.4), ("imbalance", 14.7)])
def test_a_low_fault_alarms_after_a_clip_and_the_delay(model: LiveModel, kind: str, begins_s: float) -> None:
    level_db, sound = just_over(model, kind, np.full(34 * RATE_HZ, 0.975), begins_s)
    assert level_db < 0.0
    watch = Watch(model)
    watch.hear(sound)
    assert watch.between(0.0, begins_s)[-1][1] == "normal"
    (raised_s,) = watch.times_of("raised")
    step_s = model.bundle.manifest.pipeline.step_windows / FeatureSpec().frame_rate_hz
    sys.stdout.write(f"\n| {kind} | {level_db:.1f} dB | {raised_s - begins_s:.1f} s |")
    assert 0.0 < raised_s - begins_s <= watch.rule.on_delay_s + CLIP_S + step_s


def test_a_fault_that_is_there_at_the_start_alarms_soon(model: LiveModel) -> None:
    machine = tape(820) + 0.3 * low_fault("squeal", 820)[1]
    watch, cycle = Watch(model), Cycle(3.0, 3.0)
    watch.hear(in_room(np.zeros(6 * RATE_HZ)))
    watch.hear(cycle.sound(0, machine))
    (raised_s,) = watch.times_of("raised")
    runs_s = next(step.end_sample / RATE_HZ for step, _ in watch.steps if step.running)
    assert raised_s - runs_s <= watch.rule.startup_s + watch.rule.on_delay_s + 2.0
    assert all(state != "normal" for _, state in watch.between(6.0, raised_s))


def test_an_alarm_outlasts_a_stop_and_is_not_raised_twice(model: LiveModel) -> None:
    machine = tape(820) + 0.3 * low_fault("squeal", 820)[1]
    watch, cycle = Watch(model), Cycle(3.0, 3.0, run_s=24.0)
    watch.hear(cycle.sound(0, machine))
    assert watch.steps[-1][1] == "off"
    watch.hear(cycle.sound(1, machine)[: 27 * RATE_HZ])
    assert watch.steps[-1][1] == "alarm"
    watch.hear(cycle.sound(1, machine)[27 * RATE_HZ :])
    assert watch.times_of("cleared") == []
    watch.hear(Cycle(3.0, 3.0, run_s=50.0).sound(2))
    assert len(watch.times_of("raised")) == 1
    assert len(watch.times_of("cleared")) == 1


def test_a_start_with_a_bang_raises_nothing(model: LiveModel) -> None:
    bang = np.random.default_rng(3).normal(0.0, 0.3, RATE_HZ // 2) * np.exp(-np.arange(RATE_HZ // 2) / 1_600)
    cycle, watch = Cycle(3.0, 2.0), Watch(model)
    watch.hear(room(5.0))
    for number, at_s in enumerate((0.0, 0.8, 2.9)):
        sound = cycle.sound(number)
        start = round(at_s * RATE_HZ)
        sound[start : start + len(bang)] += bang
        watch.hear(sound)
    assert watch.times_of("raised") == []
    assert watch.steps[-1][1] == "off"


@pytest.mark.parametrize(
    ("rule", "raises"),
    [(AlarmRule(), True), (AlarmRule(on_delay_s=20.0), False)],
)
def test_a_long_run_down_needs_a_delay_of_its_length(model: LiveModel, rule: AlarmRule, raises: bool) -> None:
    """Or a signal: a machine that is slow may be one that fails, as far as its sound can tell."""
    watch = Watch(model, rule)
    watch.hear(Cycle(2.0, 20.0, shape=0.5).sound(0))
    assert bool(watch.times_of("raised")) == raises
    assert watch.steps[-1][1] == "off"


@pytest.mark.parametrize(
    ("rule", "raises"),
    [(AlarmRule(), True), (AlarmRule(startup_s=30.0), False)],
)
def test_a_long_run_up_needs_a_startup_time_of_its_length_and_a_clip(
    model: LiveModel, rule: AlarmRule, raises: bool
) -> None:
    watch = Watch(model, rule)
    watch.hear(room(5.0))
    watch.hear(Cycle(20.0, 2.0, shape=0.5).sound(0))
    assert bool(watch.times_of("raised")) == raises
