from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from humwatch.alarm.events import WARMING_UP
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.monitor import Monitor, Step
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration
from humwatch.synthetic import Fault, SyntheticMachine
from tests.core.live_models import live_model

RATE_HZ = 16_000
Follow = Callable[..., LiveMonitor]


@pytest.fixture
def model(pipeline: PipelineSpec, predictor: Predictor, calibration: Calibration) -> LiveModel:
    return live_model(pipeline, predictor, calibration)


@pytest.fixture
def follow(model: LiveModel) -> Follow:
    def make(**given: object) -> LiveMonitor:
        wanted = {"source_rate_hz": RATE_HZ, "time_of": lambda sample: sample / RATE_HZ, **given}
        return LiveMonitor(model, **wanted)  # type: ignore[arg-type]

    return make


def cut(samples: np.ndarray, rng: np.random.Generator, largest: int) -> list[np.ndarray]:
    pieces, at = [], 0
    while at < len(samples):
        size = int(rng.integers(1, largest))
        pieces.append(samples[at : at + size])
        at += size
    return pieces


def pushed(monitor: LiveMonitor, sound: np.ndarray, chunk: int = 1600) -> list[LiveStep]:
    return [step for at in range(0, len(sound), chunk) for step in monitor.push(sound[at : at + chunk])]


def seen(step: LiveStep) -> tuple[object, ...]:
    raw = None if step.scores is None or step.scores.clip is None else step.scores.clip.raw_score
    return step.start_sample, step.end_sample, step.observation, raw, step.level_dbfs, step.faults, step.running


def conditions(steps: list[LiveStep]) -> list[str]:
    return [step.observation.condition for step in steps if step.observation is not None]


def hiss(seconds: float, level_dbfs: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, 10 ** (level_dbfs / 20), round(seconds * RATE_HZ))
    return noise.astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_scores_are_those_of_a_file_and_do_not_depend_on_the_chunks(
    follow: Follow, model: LiveModel, rng: np.random.Generator, rate_hz: int
) -> None:
    sound = SyntheticMachine(seed=3, rate_hz=rate_hz).clip(60, seconds=7.3)
    filed: list[Step] = []
    monitor = Monitor(model.bundle.manifest.pipeline, model.predictor, model.bundle.calibration, source_rate_hz=rate_hz)
    filed = monitor.push(sound[:, None]) + monitor.flush()
    runs = []
    for largest in (2, 4_000, 200_000):
        if largest == 2 and rate_hz != 8_000:
            continue
        live = follow(source_rate_hz=rate_hz)
        steps = [step for piece in cut(sound, rng, largest) for step in live.push(piece)] + live.flush()
        runs.append([seen(step) for step in steps])
        scores = [step.scores for step in steps if step.scores is not None]
        assert [s.step.raw_score for s in scores] == [s.step.raw_score for s in filed]
        assert [s.clip and s.clip.raw_score for s in scores] == [s.clip and s.clip.raw_score for s in filed]
    assert all(run == runs[0] for run in runs)


def test_it_warms_up_for_a_clip_and_then_judges_every_step(follow: Follow, machine: SyntheticMachine) -> None:
    steps = pushed(follow(), machine.clip(61, seconds=6.0))
    observed = [step.observation for step in steps if step.observation is not None]
    first = next(i for i, found in enumerate(observed) if found.condition == "scored")
    assert [(found.condition, found.reasons) for found in observed[:first]] == [("unknown", (WARMING_UP,))] * first
    assert {found.condition for found in observed[first:]} == {"scored"}
    assert first > 0
    assert sum(found.audio_s for found in observed) == pytest.approx(steps[-1].end_sample / RATE_HZ)
    assert [found.at_s for found in observed] == [step.end_sample / RATE_HZ for step in steps]


def test_a_machine_that_stops_is_off_and_is_judged_only_after_a_whole_clip_of_running(
    follow: Follow, machine: SyntheticMachine
) -> None:
    live = follow()
    running = machine.clip(62, seconds=8.0)
    off_dbfs = live.model.bundle.calibration.run_gate.off_dbfs
    before = conditions(pushed(live, running))
    still = pushed(live, hiss(6.0, off_dbfs - 15.0))
    again = pushed(live, machine.clip(63, seconds=8.0))
    assert before[-1] == "scored"
    assert conditions(still)[-3:] == ["off"] * 3
    assert all(step.scores is None for step in still if step.observation and step.observation.condition == "off")
    seconds = [step.end_sample for step in still if step.running is False]
    assert np.diff(seconds).tolist() == [RATE_HZ] * (len(seconds) - 1)
    after = [found for found in conditions(again) if found != "off"]
    clip_s = live.model.clip_seconds
    scored = next(step for step in again if step.observation and step.observation.condition == "scored")
    assert after[0] == "unknown"
    assert scored.clip_start_sample is not None
    assert scored.clip_start_sample >= len(running) + 6.0 * RATE_HZ
    assert scored.end_sample - scored.clip_start_sample == pytest.approx(clip_s * RATE_HZ, abs=1024)


def test_an_explicit_signal_goes_before_the_level(follow: Follow, machine: SyntheticMachine) -> None:
    live = follow(running=False)
    assert set(conditions(pushed(live, machine.clip(64, seconds=5.0)))) == {"off"}
    live.signal(True)
    assert conditions(pushed(live, machine.clip(65, seconds=8.0)))[-1] == "scored"
    quiet = pushed(live, hiss(14.0, -75.0))
    assert "off" not in conditions(quiet)
    assert conditions(quiet)[-1] == "scored"
    assert quiet[-1].observation is not None
    assert "level_unusual" in quiet[-1].observation.reasons
    live.signal(None)
    assert conditions(pushed(live, hiss(5.0, -75.0)))[-1] == "off"


def test_a_gap_of_samples_is_named_and_a_whole_clip_is_heard_after_it(
    follow: Follow, machine: SyntheticMachine
) -> None:
    live = follow()
    pushed(live, machine.clip(66, seconds=6.0))
    assert live.next_sample == 6 * RATE_HZ
    live.gap(5_000)
    assert live.next_sample == 6 * RATE_HZ + 5_000
    steps = pushed(live, np.concatenate([machine.clip(67 + i, seconds=6.0) for i in range(4)]))
    first = steps[0].observation
    assert first is not None
    assert (first.condition, first.reasons) == ("unknown", ("drop_outs",))
    scored = next(step for step in steps if step.observation and step.observation.condition == "scored")
    assert scored.clip_start_sample is not None
    assert scored.clip_start_sample >= 6 * RATE_HZ + 5_000
    assert scored.faults == ()


def test_silence_is_unknown_and_what_of_it_is_in_a_clip_is_not_judged(
    follow: Follow, machine: SyntheticMachine
) -> None:
    live = follow(use_level=False)
    pushed(live, machine.clip(70, seconds=6.0))
    silent = pushed(live, np.zeros(6 * RATE_HZ, np.float32))
    assert silent[-1].observation is not None
    assert silent[-1].observation.condition == "unknown"
    assert {"silent"} & set(silent[-1].observation.reasons)
    back = pushed(live, np.concatenate([machine.clip(71 + i, seconds=6.0) for i in range(4)]))
    scored = [step for step in back if step.observation and step.observation.condition == "scored"]
    assert scored
    assert all(step.clip_start_sample is not None and step.clip_start_sample >= 12 * RATE_HZ for step in scored)
    assert max(step.clip_score or 0.0 for step in scored) < 1.0


def test_what_was_heard_before_a_restart_warms_up_and_makes_no_observation(
    follow: Follow, machine: SyntheticMachine
) -> None:
    live = follow(first_sample=100_000, scored_until=160_000)
    steps = pushed(live, machine.clip(75, seconds=8.0))
    assert steps[0].start_sample == 100_000
    assert all((step.observation is None) == (step.end_sample <= 160_000) for step in steps)
    assert conditions(steps)[0] == "scored"


def test_a_new_model_takes_over_after_a_clip_and_no_second_is_lost(
    follow: Follow, model: LiveModel, machine: SyntheticMachine
) -> None:
    live = follow()
    sound = np.concatenate([machine.clip(80 + i, seconds=6.0) for i in range(3)])
    steps = pushed(live, sound[: 7 * RATE_HZ + 700])
    other = LiveModel(replace(model.bundle), model.predictor)
    live.swap(other)
    steps += pushed(live, sound[7 * RATE_HZ + 700 :])
    by_other = [step.model is other for step in steps]
    change = by_other.index(True)
    assert by_other == [False] * change + [True] * (len(steps) - change)
    assert live.model is other
    ends = [step.end_sample for step in steps]
    assert all(0 < gap <= 16_384 for gap in np.diff(ends))
    assert conditions(steps)[change - 1 :] == ["scored"] * (len(steps) - change + 1)
    waited_s = (ends[change] - 7 * RATE_HZ - 700) / RATE_HZ
    assert model.clip_seconds <= waited_s < model.clip_seconds + 2.5


def test_a_new_model_takes_over_at_once_while_the_machine_stands(
    follow: Follow, model: LiveModel, machine: SyntheticMachine
) -> None:
    live = follow(running=False)
    pushed(live, machine.clip(85, seconds=3.0))
    other = LiveModel(replace(model.bundle), model.predictor)
    live.swap(other)
    assert live.model is other


def test_a_fault_scores_over_the_alarm_level(follow: Follow, machine: SyntheticMachine) -> None:
    steps = pushed(follow(), machine.clip(90, 8.0, Fault("squeal", 0.0)))
    scores = [step.observation.score for step in steps if step.observation and step.observation.score is not None]
    assert scores
    assert min(scores) > 1.0
