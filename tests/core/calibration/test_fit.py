from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from humwatch.calibration.fit import calibrate
from humwatch.detectors.profile import NormalProfile
from humwatch.errors import CalibrationError
from humwatch.pipeline import PipelineSpec
from humwatch.run_state import RunGate
from humwatch.scoring.calibration import Calibration, CalibrationSpec, band_contributions, raw_score
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoreKind, ScoringSpec

SPECTRUM = ScoringSpec(kind="spectrum_profile")


def clips(rng: np.random.Generator, recordings: int, each: int = 1, spread: float = 1.0) -> list[NormalClip]:
    """Clips of ten windows and four bands; those of one recording share an offset."""
    found = []
    for recording in range(recordings):
        offset = rng.normal(0.0, spread, 4)
        for _ in range(each):
            sums = rng.normal(0.0, 0.3, (10, 4)) + offset + rng.normal(0.0, 0.1, 4)
            found.append(NormalClip(f"r{recording}", Evidence(sums, np.ones((10, 4)), sums), -30.0 - recording, 16))
    return found


def fit(normal: list[NormalClip], scoring: ScoringSpec = SPECTRUM, **spec: object) -> Calibration:
    return calibrate(
        normal, scoring=scoring, spec=CalibrationSpec.model_validate(spec), step_windows=5, clip_seconds=10.0
    )


def test_normal_scores_are_those_of_clips_that_the_statistics_have_not_seen(rng: np.random.Generator) -> None:
    normal = clips(rng, 8)
    profiles = np.stack([clip.evidence.sums.mean(axis=0) for clip in normal])
    expected = sorted(
        NormalProfile.fit(np.delete(profiles, i, axis=0)).distance(profiles[i]) for i in range(len(profiles))
    )
    np.testing.assert_allclose(fit(normal).clip.normal_scores, expected)


def test_clips_of_one_recording_are_held_out_together(rng: np.random.Generator) -> None:
    """Otherwise a clip would be measured by its own sisters, and every threshold would be too low."""
    normal = clips(rng, 12, each=8)
    grouped = fit(normal).clip.thresholds.median
    alone = fit([NormalClip(f"{i}", clip.evidence, -30.0, 16) for i, clip in enumerate(normal)]).clip.thresholds.median
    assert grouped > 1.1 * alone


def test_a_step_threshold_is_fitted_on_the_highest_step_of_each_clip(rng: np.random.Generator) -> None:
    calibration = fit(clips(rng, 30), ScoringSpec(kind="mse"))
    assert len(calibration.step.normal_scores) == 30
    assert np.all(calibration.step.normal_scores >= calibration.clip.normal_scores)


def test_normalised_scores_are_0_at_the_median_and_1_at_the_alarm_level(rng: np.random.Generator) -> None:
    thresholds = fit(clips(rng, 30)).clip.thresholds
    assert thresholds.normalise(thresholds.median) == 0.0
    assert thresholds.normalise(thresholds.alarm.level) == 1.0
    assert 0.0 < thresholds.normalise(thresholds.warn.level) <= 1.0


def test_held_out_normal_clips_exceed_the_levels_about_as_often_as_said(rng: np.random.Generator) -> None:
    calibration = fit(clips(rng, 199), alarm_rate=0.05, warn_rate=0.2)
    scale = calibration.clip
    new = [raw_score(clip.evidence, SPECTRUM, scale.normal) for clip in clips(rng, 2000)]
    assert np.mean(np.array(new) >= scale.thresholds.alarm.level) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(new) >= scale.thresholds.warn.level) == pytest.approx(0.2, abs=0.06)


def test_one_method_serves_for_any_number_of_recordings(rng: np.random.Generator) -> None:
    few, many = fit(clips(rng, 30)), fit(clips(rng, 120))
    assert (few.clip.thresholds.alarm.method, many.clip.thresholds.alarm.method) == ("student_t", "student_t")
    assert {other.method for other in many.clip.thresholds.others} == {"gamma", "conformal", "order_statistic"}
    assert many.warnings == []
    assert "30 independent normal recordings are too few to promise that at most 1.0%" in few.warnings[0]
    assert "99 are needed" in few.warnings[0]


@pytest.mark.parametrize("method", ["student_t", "gamma", "conformal", "order_statistic"])
def test_the_method_can_be_chosen(rng: np.random.Generator, method: str) -> None:
    assert fit(clips(rng, 30), method=method).clip.thresholds.alarm.method == method


def test_levels_and_counts_are_kept(rng: np.random.Generator) -> None:
    calibration = fit(clips(rng, 6, each=2))
    assert (calibration.clips, calibration.recordings) == (12, 6)
    assert (calibration.level_dbfs_low, calibration.level_dbfs_high) == (-35.0, -30.0)


def test_the_run_gate_lies_below_the_quietest_second_of_all(rng: np.random.Generator) -> None:
    normal = clips(rng, 6)
    seconds_dbfs = [-31.0, -33.0, -38.0, -32.0, -36.0]
    heard = [replace(clip, quietest_dbfs=level) for clip, level in zip(normal, seconds_dbfs, strict=False)]
    calibration = fit([*heard, normal[5]])
    assert calibration.quietest_dbfs == -38.0
    assert calibration.run_gate == RunGate.from_quietest(-38.0)


def test_where_nobody_measured_seconds_the_quietest_recording_stands_for_them(rng: np.random.Generator) -> None:
    calibration = fit(clips(rng, 6))
    assert calibration.quietest_dbfs is None
    assert calibration.run_gate == RunGate.from_quietest(-35.0)


def test_two_recordings_are_refused_however_many_clips_they_give(rng: np.random.Generator) -> None:
    with pytest.raises(CalibrationError, match="3 at least"):
        fit(clips(rng, 2, each=50))


def test_recordings_that_are_all_the_same_are_refused(rng: np.random.Generator) -> None:
    one = clips(rng, 1)[0].evidence
    with pytest.raises(CalibrationError, match="same score"):
        fit([NormalClip(f"r{i}", one, -30.0, 16) for i in range(10)])


def test_contributions_of_an_error_score_are_what_exceeds_normal(rng: np.random.Generator) -> None:
    scoring = ScoringSpec(kind="mse")
    calibration = fit(clips(rng, 30), scoring)
    usual = calibration.clip.normal.mean
    sums = (usual + np.array([0.0, 5.0, -5.0, 0.0]))[None]
    evidence = Evidence(sums, np.ones((1, 4)), sums)
    np.testing.assert_allclose(band_contributions(evidence, scoring, calibration.clip.normal), [0, 5, 0, 0], atol=1e-12)


def test_every_score_can_be_calibrated(
    calibrate_for: Callable[[PipelineSpec], Calibration], pipeline: PipelineSpec
) -> None:
    for kind in get_args(ScoreKind):
        spec = PipelineSpec(pipeline.features, pipeline.windows, ScoringSpec.model_validate({"kind": kind}))
        thresholds = calibrate_for(spec).clip.thresholds
        assert thresholds.median < thresholds.warn.level <= thresholds.alarm.level
