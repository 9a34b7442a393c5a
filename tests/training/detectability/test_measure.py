from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleInvalid
from humwatch.recording import score_recording
from humwatch.synthetic import SyntheticMachine
from humwatch_training.detectability.held_out import HeldOutClip
from humwatch_training.detectability.measure import (
    ScoreCache,
    Sweep,
    SystemUnderTest,
    common_clip_and_channel,
    measure_systems,
)
from humwatch_training.errors import TrainingDataError
from tests.training.detectability.conftest import BY_NAME, CLIP_S, MACHINE, SQUEAL


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_clip_scores_what_the_recording_scores(levels_system: SystemUnderTest, tmp_path: Path, rate_hz: int):
    samples = SyntheticMachine(seed=3, rate_hz=rate_hz).clip(200, CLIP_S)
    soundfile.write(tmp_path / "clip.wav", samples, rate_hz, subtype="FLOAT")
    bundle = levels_system.bundle
    expected = score_recording(
        tmp_path / "clip.wav",
        bundle.manifest.pipeline,
        lambda rate, channel: bundle.monitor(levels_system.predictor, source_rate_hz=rate, channel=channel),
    )
    assert expected.scale == "clip"
    assert levels_system.score(samples, rate_hz) == (expected.worst.score, "profile")


def test_samples_beyond_full_scale_are_heard_as_they_are(levels_system: SystemUnderTest):
    loud = MACHINE.clip(200, CLIP_S) * np.float32(100)
    assert np.abs(loud).max() > 2.0
    assert levels_system.score(loud, 16_000).score > levels_system.score(np.clip(loud, -1, 1), 16_000).score


def test_what_cannot_be_judged_is_no_detection_and_no_normal_clip(
    levels_system: SystemUnderTest, clips: list[HeldOutClip], tmp_path: Path
):
    silence = np.zeros_like(clips[0].samples)
    cache = ScoreCache(tmp_path / "scores.jsonl")
    assert cache.score(levels_system, silence, 16_000) == (-np.inf, None)
    assert ScoreCache(tmp_path / "scores.jsonl").score(levels_system, silence, 16_000) == (-np.inf, None)
    for unfit in (replace(clips[0], samples=silence), replace(clips[0], sample_bits=8)):
        with pytest.raises(TrainingDataError, match=r"100\.wav: pump-levels@1 cannot judge it"):
            Sweep(levels_system, [unfit], cache).measure([])


def test_too_short_a_sound_is_named(levels_system: SystemUnderTest):
    with pytest.raises(TrainingDataError, match="less than a clip"):
        levels_system.score(MACHINE.clip(0, 2.0), 16_000)


def test_loud_faults_are_detected_and_faint_ones_are_not(models: Path, clips: list[HeldOutClip], tmp_path: Path):
    systems = [SystemUnderTest.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error@1")]
    reported: list[tuple[str, int, int]] = []
    measured = measure_systems(
        systems,
        clips,
        [
            replace(SQUEAL, severities=(-100.0, -90.0, -80.0, 20.0, 50.0, 60.0))
        ],  # an error of neighbours detects it late
        ScoreCache(tmp_path / "scores.jsonl"),
        seed=0,
        progress=lambda name, done, total: reported.append((name, done, total)),
    )
    for one in measured:
        assert one.false_alarms("alarm") == one.false_alarms("matched") == 0
        for at in ("alarm", "matched"):
            np.testing.assert_array_equal(one.curves["squeal"].rates(one.threshold(at))[[0, -1]], [0.0, 1.0])
    assert [row for row in reported if row[1] == row[2]] == [("pump-levels@1", 21, 21), ("pump-error@1", 21, 21)]


def test_every_system_gets_the_same_sounds(models: Path, clips: list[HeldOutClip], tmp_path: Path):
    systems = [SystemUnderTest.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error")]
    fault = replace(BY_NAME["rub"], severities=(-10.0, 0.0))
    for system in systems:
        Sweep(system, clips, ScoreCache(tmp_path / system.name)).measure([fault])
    caches = [(tmp_path / system.name).read_text().splitlines() for system in systems]
    sounds = [{json.loads(line)["sound"] for line in lines} for lines in caches]
    assert sounds[0] == sounds[1]
    assert len(sounds[0]) == 3 * (1 + 2)


def test_the_sweep_stops_where_nothing_changes_any_more(
    levels_system: SystemUnderTest, clips: list[HeldOutClip], tmp_path: Path
):
    fault = replace(SQUEAL, severities=(-110.0, -100.0, -90.0, -80.0, 20.0, 30.0, 40.0, 50.0))
    cache = ScoreCache(tmp_path / "scores.jsonl")
    squeal = Sweep(levels_system, clips, cache).measure([fault]).curves["squeal"]
    np.testing.assert_array_equal(squeal.measured, [False, False, True, True, True, True, False, False])
    np.testing.assert_array_equal(squeal.rates(1.0), [0, 0, 0, 0, 1, 1, 1, 1])
    assert cache.fresh == 3 * (1 + 4)


def test_severities_that_a_clip_cannot_hold_are_left_out(
    levels_system: SystemUnderTest, clips: list[HeldOutClip], tmp_path: Path
):
    fault = replace(BY_NAME["shifted_harmonic"], severities=(-40.0, 3.5, 10.0))
    limits = [fault.limit(clip.samples, 16_000, clip=i) for i, clip in enumerate(clips)]
    found = Sweep(levels_system, clips, ScoreCache(tmp_path / "s")).measure([fault]).curves[fault.name]
    np.testing.assert_array_equal(np.isnan(found.scores), np.array(limits)[:, None] < found.severities)
    assert np.isnan(found.scores[:, -1]).all()


def test_a_stopped_report_goes_on_where_it_was(
    levels_system: SystemUnderTest, clips: list[HeldOutClip], tmp_path: Path
):
    path = tmp_path / "scores.jsonl"
    first = Sweep(levels_system, clips, ScoreCache(path)).measure([SQUEAL])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], "[]", lines[5][:40]]))  # stopped in the middle of a line
    cache = ScoreCache(path)
    again = Sweep(levels_system, clips, cache).measure([SQUEAL])
    assert cache.fresh == len(lines) - 5
    np.testing.assert_array_equal(again.curves["squeal"].scores, first.curves["squeal"].scores)
    whole = ScoreCache(path)
    Sweep(levels_system, clips, whole).measure([SQUEAL])
    assert whole.fresh == 0


def test_who_decided_is_kept_and_scores_of_before_are_still_read(
    levels_system: SystemUnderTest, clips: list[HeldOutClip], tmp_path: Path
):
    path = tmp_path / "scores.jsonl"
    fault = replace(SQUEAL, severities=(-100.0, 0.0, 20.0))
    first = Sweep(levels_system, clips, ScoreCache(path)).measure([fault]).curves["squeal"]
    assert first.detections_by(1.0) == {"profile": 6}
    again = Sweep(levels_system, clips, ScoreCache(path)).measure([fault]).curves["squeal"]
    np.testing.assert_array_equal(again.detectors, first.detectors)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line.pop("detector") for line in lines} == {"profile"}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    cache = ScoreCache(path)
    old = Sweep(levels_system, clips, cache).measure([fault]).curves["squeal"]
    assert cache.fresh == 0
    np.testing.assert_array_equal(old.scores, first.scores)
    assert old.detections_by(1.0) == {}
    path.write_text("".join(f"{json.dumps({**line, 'detector': 'ghost'})}\n" for line in lines))
    assert Sweep(levels_system, clips, ScoreCache(path)).measure([fault]).curves["squeal"].detections_by(1.0) == {}


def test_systems_that_cannot_be_compared_are_refused(models: Path):
    one, other = (SystemUnderTest.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error"))
    assert common_clip_and_channel([one, other], None) == (CLIP_S, 0)
    assert common_clip_and_channel([one, other], 2) == (CLIP_S, 2)
    manifest = other.bundle.manifest
    elsewhere = replace(other, bundle=replace(other.bundle, manifest=manifest.model_copy(update={"channel": 1})))
    with pytest.raises(BundleInvalid, match="different channels; choose one with --channel"):
        common_clip_and_channel([one, elsewhere], None)
    assert common_clip_and_channel([one, elsewhere], 1) == (CLIP_S, 1)
    windows = manifest.windows.model_copy(update={"clip_seconds": 10.0})
    longer = replace(other, bundle=replace(other.bundle, manifest=manifest.model_copy(update={"windows": windows})))
    with pytest.raises(BundleInvalid, match="clips of different lengths"):
        common_clip_and_channel([one, longer], None)
