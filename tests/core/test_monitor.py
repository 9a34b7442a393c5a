from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from humwatch.errors import AudioChannelMissing
from humwatch.monitor import Monitor
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import Fault, SyntheticMachine

MonitorFor = Callable[..., Monitor]


@pytest.fixture(params=["spectrum_profile", "consensus"])
def monitor_for(
    request: pytest.FixtureRequest,
    pipeline: PipelineSpec,
    predictor: Predictor,
    calibrate_for: Callable[[PipelineSpec], Calibration],
) -> MonitorFor:
    spec = PipelineSpec(pipeline.features, pipeline.windows, ScoringSpec.model_validate({"kind": request.param}))
    calibration = calibrate_for(spec)

    def make(source_rate_hz: int = 16_000, channel: int = 0) -> Monitor:
        return Monitor(spec, predictor, calibration, source_rate_hz=source_rate_hz, channel=channel)

    return make


def column(samples: np.ndarray) -> np.ndarray:
    return samples[:, None]


def test_a_sound_of_a_clips_length_gives_one_clip_score(monitor_for: MonitorFor, machine: SyntheticMachine) -> None:
    monitor = monitor_for()
    steps = monitor.push(column(machine.clip(50, seconds=2.0))) + monitor.flush()
    clips = [step.clip for step in steps if step.clip is not None]
    assert len(clips) == 1
    assert (clips[0].start_sample, clips[0].end_sample) == (0, 61 * 512 + 512)
    assert 2.0 * 16_000 - clips[0].end_sample < 512


def test_steps_are_sample_exact_and_reach_back_at_the_end(monitor_for: MonitorFor, machine: SyntheticMachine) -> None:
    monitor = monitor_for()
    steps = monitor.push(column(machine.clip(51, seconds=3.0))) + monitor.flush()
    length = monitor.spec.windows.shortest_samples(monitor.spec.features)
    assert {step.step.end_sample - step.step.start_sample for step in steps} == {length}
    starts = [step.step.start_sample for step in steps]
    assert starts[:-1] == [i * 16 * 512 for i in range(len(starts) - 1)]
    assert starts[-2] < starts[-1] < starts[-2] + 16 * 512


def test_a_fault_scores_higher_than_normal_and_is_found_in_time(
    monitor_for: MonitorFor, machine: SyntheticMachine
) -> None:
    normal, faulty = machine.clip(60, seconds=6.0), machine.clip(60, seconds=6.0, fault=Fault("squeal", 0.0))
    sound = np.concatenate([normal[:48_000], faulty[48_000:]])
    monitor = monitor_for()
    steps = monitor.push(column(sound)) + monitor.flush()
    before = [step.step.score for step in steps if step.step.end_sample <= 48_000]
    after = [step.step.score for step in steps if step.step.start_sample >= 48_000]
    assert max(before) < 1.0 < max(after)
    worst = max((step.clip for step in steps if step.clip), key=lambda clip: clip.score)
    assert worst.end_sample > 60_000
    loudest = np.argmax(worst.contributions)
    low, high = monitor.spec.band_edges_hz[loudest]
    assert low < 3_100 < high
    assert worst.departures_db[loudest] > 5.0


def test_a_monitor_is_bounded_and_can_be_used_again(monitor_for: MonitorFor, machine: SyntheticMachine) -> None:
    monitor = monitor_for()
    sound = column(machine.clip(52, seconds=4.0))
    first = monitor.push(sound) + monitor.flush()
    assert len(monitor._recent) <= monitor.spec.clip_windows
    monitor.reset()
    again = monitor.push(sound) + monitor.flush()
    assert [step.step.raw_score for step in again] == [step.step.raw_score for step in first]
    assert again[0].block.first_window == 0


def test_a_channel_that_is_not_there_is_named(monitor_for: MonitorFor) -> None:
    with pytest.raises(AudioChannelMissing):
        monitor_for(channel=1).push(np.zeros((100, 1), np.float32))


def test_sound_too_short_for_a_step_gives_nothing(monitor_for: MonitorFor) -> None:
    monitor = monitor_for()
    assert monitor.push(np.zeros((5000, 1), np.float32)) + monitor.flush() == []
    assert monitor.push(np.zeros((0, 1), np.float32)) == []


@pytest.mark.parametrize("source_rate_hz", [16_000, 44_100, 8_000])
def test_no_step_comes_before_the_samples_that_it_says_are_missing(
    monitor_for: MonitorFor, rng: np.random.Generator, source_rate_hz: int
) -> None:
    monitor = monitor_for(source_rate_hz)
    sound = column(SyntheticMachine(seed=3, rate_hz=source_rate_hz).clip(5, seconds=8.0))
    at, steps = 0, 0
    while at < len(sound):
        missing = monitor.samples_until_step
        assert missing >= 1
        size = int(rng.choice([missing, max(1, missing - 1), int(rng.integers(1, 9_000))]))
        found = monitor.push(sound[at : at + size])
        assert not found or size >= missing
        assert len(found) == 1 or source_rate_hz != 16_000 or size != missing or at + size > len(sound)
        at += size
        steps += len(found)
    assert steps == 15


@pytest.mark.parametrize("size", [1, 512, 1_599, 16_000])
def test_a_step_comes_with_its_last_sample(monitor_for: MonitorFor, size: int) -> None:
    monitor = monitor_for()
    sound = column(SyntheticMachine(seed=3).clip(5, seconds=2.5))
    for at in range(0, len(sound), size):
        steps = monitor.push(sound[at : at + size])
        assert all(at < step.step.end_sample <= at + size for step in steps)


def test_every_chunking_gives_the_same_scores(monitor_for: MonitorFor, rng: np.random.Generator) -> None:
    sound = column(SyntheticMachine(seed=3).clip(6, seconds=6.3))
    whole = monitor_for()
    expected = whole.push(sound) + whole.flush()
    assert len(expected) == 12
    for largest in (40, 1_025, 20_000):
        monitor, steps, at = monitor_for(), [], 0
        while at < len(sound):
            size = int(rng.integers(0, largest))
            steps += monitor.push(sound[at : at + size])
            at += size
        steps += monitor.flush()
        assert [step.step.raw_score for step in steps] == [step.step.raw_score for step in expected]
        for ours, theirs in zip(steps, expected, strict=True):
            assert (ours.clip is None) == (theirs.clip is None)
            if ours.clip is not None and theirs.clip is not None:
                assert ours.clip.raw_score == theirs.clip.raw_score
                assert (ours.clip.detector, ours.clip.line) == (theirs.clip.detector, theirs.clip.line)
            lines = [None if step.block.lines is None else step.block.lines.power.tolist() for step in (ours, theirs)]
            assert lines[0] == lines[1]
            profiles = [step.block.evidence.profiles for step in (ours, theirs)]
            if profiles[0] is not None and profiles[1] is not None:
                assert np.array_equal(profiles[0].rhythm, profiles[1].rhythm)
                assert np.array_equal(profiles[0].surprise, profiles[1].surprise)
            if ours.clip is not None and theirs.clip is not None:
                assert np.array_equal(ours.clip.contributions, theirs.clip.contributions)
                assert np.array_equal(ours.clip.departures_db, theirs.clip.departures_db)
