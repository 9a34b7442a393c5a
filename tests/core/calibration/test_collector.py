from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.calibration.calibration_buffer import RECORDING_S, most_bytes_a_minute
from humwatch.calibration.collector import LOOK_BACK_S, NormalCollector
from humwatch.calibration.plan import MAX_MINUTES, CollectionPlan
from humwatch.errors import CalibrationError
from humwatch.normal_recording import normal_clips
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Prediction, Predictor
from humwatch.run_state import RunGate
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch.synthetic import SyntheticMachine

RATE_HZ = 16_000


class DrawingPredictor:
    """Predicts other bins of each window, as masks do that are drawn from the window itself."""

    def predict(self, windows: Float32) -> Prediction:
        n, length, n_mels = windows.shape
        flat = windows.reshape(n, length * n_mels)
        index = np.argsort(flat, axis=1, kind="stable")[:, :200].astype(np.int64)
        mean = np.take_along_axis(flat, index[:, ::-1], axis=1)
        return Prediction(index, mean, np.ones_like(mean))


def spec_of(hop: int, clip_s: float, kind: ScoreKind = "likelihood_profile") -> PipelineSpec:
    return PipelineSpec(FeatureSpec(), WindowSpec(hop_frames=hop, clip_seconds=clip_s), ScoringSpec(kind=kind))


def pushed(collector: NormalCollector, sound: Float32, chunks: np.random.Generator | None = None) -> None:
    start = 0
    while start < len(sound):
        size = int(chunks.integers(1, 40_000)) if chunks is not None else 8_000
        collector.push(sound[start : start + size])
        start += size


def normal(machine: SyntheticMachine, number: int, seconds: float = RECORDING_S) -> Float32:
    return machine.clip(1_000 + number, seconds)


def same_evidence(live: list[NormalClip], filed: list[NormalClip]) -> None:
    assert len(live) == len(filed) > 0
    for mine, theirs in zip(live, filed, strict=True):
        assert np.array_equal(mine.evidence.sums, theirs.evidence.sums)
        assert np.array_equal(mine.evidence.counts, theirs.evidence.counts)
        assert mine.quietest_dbfs == theirs.quietest_dbfs
        assert mine.level_dbfs == pytest.approx(theirs.level_dbfs, abs=1e-9)
        assert mine.sample_bits == theirs.sample_bits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_hz", "hop", "clip_s", "drawn"),
    [(16_000, 1, 10.0, False), (44_100, 5, 10.0, False), (22_050, 1, 7.0, False), (16_000, 4, 4.0, True)],
)
def test_minutes_in_random_chunks_leave_what_their_files_leave(
    tmp_path: Path, predictor: Predictor, rate_hz: int, hop: int, clip_s: float, drawn: bool
) -> None:
    machine = SyntheticMachine(3, rate_hz=rate_hz)
    spec, network = spec_of(hop, clip_s), DrawingPredictor() if drawn else predictor
    collector = NormalCollector(spec, network, plan=CollectionPlan.in_a_row(3))
    collector.begin(rate_hz, 24)
    chunks = np.random.default_rng([rate_hz, hop])
    filed: list[NormalClip] = []
    for number in range(2):
        sound = normal(machine, number)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, sound, rate_hz, subtype="FLOAT")
        filed += normal_clips(path, path.name, spec, network)
        pushed(collector, sound, chunks)
    collector.push(machine.clip(9, 0.1))  # the last tenth of a second may not have been whole
    same_evidence(collector.clips(), filed)
    assert [clip.recording for clip in collector.clips()] == [
        f"minute {1 + number // (len(filed) // 2)}" for number in range(len(filed))
    ]
    assert collector.held_bytes <= 2 * most_bytes_a_minute(spec) + collector.clips()[0].evidence.signed.nbytes


@pytest.mark.slow
def test_how_the_sound_came_changes_nothing_at_all(predictor: Predictor, machine: SyntheticMachine) -> None:
    sound = np.concatenate([normal(machine, number, 45.0) for number in range(2)])
    sound[480_000:560_000] = 0.0
    found = []
    for seed in (1, 2, None):
        collector = NormalCollector(spec_of(4, 4.0), predictor, plan=CollectionPlan.in_a_row(3))
        collector.begin(RATE_HZ, 16)
        pushed(collector, sound, None if seed is None else np.random.default_rng(seed))
        found.append((collector.progress, *collector.collected()))
    for progress, clips, digests in found[1:]:
        assert (progress, digests) == (found[0][0], found[0][2])
        assert len(set(digests)) == len(clips) == 15
        for mine, theirs in zip(clips, found[0][1], strict=True):
            assert np.array_equal(mine.evidence.sums, theirs.evidence.sums)
            assert (mine.level_dbfs, mine.quietest_dbfs) == (theirs.level_dbfs, theirs.quietest_dbfs)


@pytest.fixture(scope="module")
def clean(predictor: Predictor, machine: SyntheticMachine) -> list[NormalClip]:
    """Of the first minute without a fault."""
    collector = NormalCollector(spec_of(4, 4.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, normal(machine, 0))
    return collector.clips()


@pytest.mark.parametrize(
    ("fault", "start_s"),
    [("silent", 20.2), ("silent", 23.5), ("stuck", 31.0), ("clipped", 23.5), ("dc_offset", 20.2), ("dc_offset", 31.0)],
)
def test_nothing_of_a_source_at_fault_is_kept(
    predictor: Predictor, machine: SyntheticMachine, clean: list[NormalClip], fault: str, start_s: float
) -> None:
    sound = np.concatenate([normal(machine, 0), normal(machine, 1, 35.0)])
    start, end = round(start_s * RATE_HZ), round((start_s + 6.0) * RATE_HZ)
    spoilt = {
        "silent": np.zeros_like(sound),
        "stuck": np.full_like(sound, 0.05),
        "clipped": np.clip(sound * 40.0, -1.0, 1.0),
        "dc_offset": sound + np.float32(0.3),
    }[fault]
    sound[start:end] = spoilt[start:end]
    collector = NormalCollector(spec_of(4, 4.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, sound)
    progress, clips = collector.progress, collector.clips()
    assert (progress.minutes, len(clips)) == (1, 15)
    assert fault in progress.rejected
    assert 6.0 <= progress.rejected_s <= 6.0 + 2 * LOOK_BACK_S + 4.0
    assert progress.collected_s + progress.rejected_s == pytest.approx(95.0, abs=5.0)
    for mine, theirs in zip(clips[: int((start_s - LOOK_BACK_S) // 4)], clean, strict=False):
        assert np.array_equal(mine.evidence.sums, theirs.evidence.sums)
    assert clips[0].quietest_dbfs is not None
    assert clips[0].quietest_dbfs > -30.0
    assert clips[0].level_dbfs == pytest.approx(clean[0].level_dbfs, abs=0.5)


def test_what_spoils_the_last_minute_reopens_it(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, normal(machine, 0, 180.0))
    assert (collector.progress.minutes, collector.progress.done) == (3, False)
    pushed(collector, np.zeros(4 * RATE_HZ, np.float32))
    assert (collector.progress.minutes, collector.progress.done) == (2, False)
    assert len(collector.clips()) == 12
    assert [fault.code for fault in collector.progress.faults] == ["silent", "stuck"]
    pushed(collector, normal(machine, 1, 40.0))
    assert (collector.progress.minutes, collector.progress.done) == (3, True)
    kept = collector.collected()
    pushed(collector, np.zeros(20 * RATE_HZ, np.float32))
    collector.gap(RATE_HZ)
    assert collector.progress.done
    assert collector.collected()[1] == kept[1]
    assert len(kept[0]) == 18


def test_faults_that_are_its_level_alone_count_as_normal(predictor: Predictor) -> None:
    """A calibration says what level is usual; it has none to compare with."""
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, SyntheticMachine(3, level_dbfs=-60.0).clip(1, 61.0))
    assert (collector.progress.minutes, collector.progress.rejected) == (1, {})


def test_a_rate_too_low_for_the_model_collects_nothing(predictor: Predictor) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(8_000, 16)
    pushed(collector, SyntheticMachine(3, rate_hz=8_000).clip(1, 61.0))
    assert (collector.progress.minutes, collector.progress.collected_s) == (0, 0.0)
    assert collector.progress.rejected == {"bandwidth_limited": pytest.approx(61.0)}


def test_sound_is_not_joined_over_a_gap(
    predictor: Predictor, machine: SyntheticMachine, clean: list[NormalClip]
) -> None:
    behind = normal(machine, 1, 70.0)
    collector = NormalCollector(spec_of(4, 4.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, normal(machine, 0)[: 30 * RATE_HZ])
    collector.gap(5 * RATE_HZ)
    assert [fault.code for fault in collector.progress.faults] == ["drop_outs"]
    pushed(collector, behind)
    assert collector.progress.minutes == 1
    assert set(collector.progress.rejected) == {"drop_outs"}
    clips = collector.clips()
    before = sum(
        np.array_equal(mine.evidence.sums, theirs.evidence.sums) for mine, theirs in zip(clips, clean, strict=True)
    )
    assert before == 6  # the seventh was whole less than 10 s before the end of the gap
    afresh = NormalCollector(spec_of(4, 4.0), predictor, plan=CollectionPlan.in_a_row(3))
    afresh.begin(RATE_HZ, 16)
    pushed(afresh, behind[round(LOOK_BACK_S * RATE_HZ) - RATE_HZ // 10 :])
    for mine, theirs in zip(clips[before:], afresh.clips(), strict=False):
        assert np.array_equal(mine.evidence.sums, theirs.evidence.sums)


@pytest.mark.slow
def test_another_stream_begins_a_clip_of_its_own(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.push(normal(machine, 0, 5.0))
    assert collector.progress.level_dbfs is None
    collector.begin(RATE_HZ, 24)
    pushed(collector, normal(machine, 0, 45.0))
    collector.begin(48_000, 16)
    pushed(collector, SyntheticMachine(3, rate_hz=48_000).clip(1, 45.0))
    assert collector.progress.minutes == 1
    assert set(collector.progress.rejected) == {"stream_changed"}
    assert {clip.sample_bits for clip in collector.clips()} == {16}
    assert len(collector.clips()) == 6


def test_a_machine_that_does_not_run_is_not_listened_to(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    pushed(collector, normal(machine, 0, 35.0))
    collector.signal(False)
    pushed(collector, 0.01 * normal(machine, 1, 20.0))
    assert collector.progress.paused
    assert collector.progress.rejected["not_running"] >= 20.0
    collector.signal(None)
    pushed(collector, normal(machine, 2, 45.0))
    assert collector.progress.minutes == 1
    quietest = collector.clips()[0].quietest_dbfs
    assert quietest is not None
    assert quietest > -30.0


def test_overflows_and_clocks_are_faults_too(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.overflow(1)
    collector.clock(0, 0.0)
    collector.begin(RATE_HZ, 16)
    for second in range(45):
        collector.clock(second * RATE_HZ, second * 1.1)
        pushed(collector, normal(machine, second, 1.0))
        if second == 3:
            collector.overflow(1)
    assert {"drop_outs", "wrong_rate"} <= set(collector.progress.rejected)


@pytest.mark.parametrize(("hop", "kilobytes"), [(1, 5835), (5, 1178)])
def test_a_minute_takes_the_memory_that_is_documented(
    predictor: Predictor, machine: SyntheticMachine, hop: int, kilobytes: int
) -> None:
    collector = NormalCollector(spec_of(hop, 10.0), predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    held = []
    for number in range(2):
        pushed(collector, normal(machine, number))
        held.append(collector.held_bytes)
    assert round((held[1] - held[0]) / 1000) == kilobytes


@pytest.mark.parametrize("minutes", [2, MAX_MINUTES + 1])
def test_too_few_and_too_many_minutes_are_refused(predictor: Predictor, minutes: int) -> None:
    with pytest.raises(CalibrationError, match="3 to 240"):
        NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(minutes))


DAY = CollectionPlan.over("day", 1_000.0)


def planned(predictor: Predictor, **given: object) -> NormalCollector:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=DAY, **given)  # type: ignore[arg-type]
    collector.begin(RATE_HZ, 16)
    return collector


def test_a_plan_is_followed_by_the_time_of_the_sound_whatever_the_chunks(
    predictor: Predictor, machine: SyntheticMachine
) -> None:
    sound = np.concatenate([normal(machine, number, 60.0) for number in range(3)])
    found = []
    for seed in (1, 2, None):
        chunks = None if seed is None else np.random.default_rng(seed)
        collector = planned(predictor, taken=[1_000.0 + 60.0 * number for number in range(5)], last_number=5)
        due_s = DAY.due_s([1_240.0] * 5)
        assert due_s is not None
        begins_s = due_s - 75.0
        start = 0
        while start < len(sound):
            size = int(chunks.integers(1, 40_000)) if chunks is not None else 8_000
            collector.push(sound[start : start + size], begins_s + start / RATE_HZ)
            start += size
        found.append((collector.progress, collector.collected()[1], [minute.at_s for minute in collector.whole()]))
        (minute,) = collector.whole()
        assert (minute.number, minute.at_s) == (6, pytest.approx(due_s, abs=0.11))
    assert found[0] == found[1] == found[2]
    progress = found[0][0]
    assert (progress.minutes, progress.rejected, progress.done) == (6, {}, False)
    assert progress.heard_s == pytest.approx(begins_s + 180.0)
    assert progress.next_s is not None
    assert progress.next_s > progress.heard_s


def test_what_the_plan_does_not_want_is_not_rejected(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = planned(predictor, taken=[1_000.0] * 5)
    collector.push(normal(machine, 0, 30.0), 1_100.0)
    collector.push(np.zeros(20 * RATE_HZ, np.float32), 1_130.0)
    assert [fault.code for fault in collector.progress.faults] == ["silent", "stuck"]
    assert (collector.progress.rejected, collector.progress.minutes) == ({}, 5)
    late = planned(predictor)
    late.push(normal(machine, 0, 70.0), 900.0)  # sound from before the order
    assert (late.progress.minutes, late.progress.collected_s, late.progress.rejected) == (0, 0.0, {})


def test_a_fault_and_a_stop_in_a_minute_cost_what_they_touch(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = planned(predictor)
    collector.push(normal(machine, 0, 30.0), 1_000.0)
    collector.push(np.zeros(4 * RATE_HZ, np.float32))
    collector.push(normal(machine, 1, 30.0))
    collector.signal(False)
    collector.push(0.01 * normal(machine, 2, 30.0))
    collector.signal(None)
    assert collector.progress.minutes == 0
    collector.push(normal(machine, 3, 61.0))
    (minute,) = collector.whole()
    assert minute.at_s == pytest.approx(1_000.0)
    assert {"silent", "not_running"} <= set(collector.progress.rejected)
    sound = minute.clips
    assert len(sound) == 6
    assert all(clip.quietest_dbfs is not None and clip.quietest_dbfs > -30.0 for clip in sound)


def test_a_machine_that_is_off_by_its_level_is_not_learned(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = planned(predictor)
    collector.push(normal(machine, 0, 75.0), 1_000.0)
    quietest = collector.clips()[0].quietest_dbfs
    assert quietest is not None
    collector.follow_level(RunGate.from_quietest(quietest))
    collector.push(10 ** (-20 / 20) * normal(machine, 1, 60.0))
    assert (collector.progress.paused, collector.progress.minutes) == (True, 1)
    assert collector.progress.rejected["not_running"] >= 57.0
    collector.push(normal(machine, 2, 75.0))
    assert (collector.progress.paused, collector.progress.minutes) == (False, 2)
    assert all(clip.quietest_dbfs == pytest.approx(quietest, abs=1.0) for clip in collector.clips())
    collector.signal(True)  # somebody knows better
    collector.push(10 ** (-20 / 20) * normal(machine, 4, 30.0))
    assert not collector.progress.paused
    collector.signal(None)
    collector.begin(RATE_HZ, 16)  # another stream has the same gate
    collector.push(10 ** (-20 / 20) * normal(machine, 3, 5.0))
    assert collector.progress.paused


def test_minutes_that_are_settled_can_be_taken_out(predictor: Predictor, machine: SyntheticMachine) -> None:
    collector = planned(predictor, keep_sound=True)
    collector.push(normal(machine, 0, 65.0), 1_000.0)
    assert (len(collector.whole()), collector.settled()) == (1, [])
    collector.push(normal(machine, 1, 10.0))
    (minute,) = collector.settled()
    assert minute.samples is not None
    assert len(minute.samples) == 60 * RATE_HZ
    collector.release(minute)
    assert (collector.settled(), collector.whole(), collector.progress.minutes) == ([], [], 1)
    collector.push(normal(machine, 2, 65.0))
    (second,) = collector.whole()
    assert (second.number, second.at_s) == (2, pytest.approx(1_060.0))
    held = collector.held_bytes
    collector.forget(minute.at_s)
    collector.push(normal(machine, 3, 0.1))
    assert (collector.progress.minutes, collector.held_bytes) == (1, held)


def test_nothing_is_collected_after_the_period(predictor: Predictor, machine: SyntheticMachine) -> None:
    assert DAY.until_s is not None
    collector = planned(predictor)
    collector.push(normal(machine, 0, 100.0), DAY.until_s - 30.0)
    assert (collector.progress.minutes, collector.progress.collected_s) == (0, 30.0)
    assert collector.progress.rejected == {}


def test_time_goes_on_once_all_is_there_and_a_minute_may_be_wanted_again(
    predictor: Predictor, machine: SyntheticMachine
) -> None:
    collector = NormalCollector(spec_of(5, 10.0), predictor, plan=CollectionPlan.in_a_row(3, 1_000.0))
    collector.begin(RATE_HZ, 16)
    collector.push(normal(machine, 0, 191.0))
    assert (collector.progress.done, len(collector.settled())) == (True, 3)
    for minute in collector.settled():
        collector.release(minute)
    collector.push(normal(machine, 1, 9.0))
    collector.gap(60 * RATE_HZ)
    assert (collector.progress.done, collector.progress.heard_s) == (True, pytest.approx(1_260.0))
    collector.forget(1_060.0)
    collector.push(normal(machine, 2, 72.0), 5_000.0)
    (minute,) = collector.settled()
    assert (minute.number, minute.at_s) == (4, pytest.approx(5_000.0))
    assert collector.progress.done
