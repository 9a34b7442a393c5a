from __future__ import annotations

import numpy as np
import pytest

from humwatch.detectors.consensus import NormalPieces, fit_consensus
from humwatch.detectors.detector_set import SHARES, DetectorSet, fit_detectors
from humwatch.detectors.lines import ClipLines, line_power
from humwatch.detectors.normal_level import alarm_deviation
from humwatch.detectors.rhythm import rhythm_sums

BANDS, CLIPS = 8, 24
RATE_HZ = 16_000


def rhythm_of(rng: np.random.Generator, knock_db: float = 0.0) -> np.ndarray:
    windows = rng.normal(-50.0, 1.0, (60, 5, BANDS)).astype(np.float32)
    windows[10] += knock_db
    return rhythm_sums(windows, np.arange(BANDS), 5).sum(axis=0)


def lines_of(rng: np.random.Generator, speed: float = 1.0) -> ClipLines:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    blocks = []
    for _ in range(4):
        tones = sum(np.sin(2 * np.pi * speed * hz * time_s + rng.uniform(0, 6)) for hz in (210, 640, 1490, 3170))
        blocks.append(line_power((0.05 * tones + 0.01 * rng.normal(size=RATE_HZ)).astype(np.float32), RATE_HZ))
    return ClipLines.of(blocks)


@pytest.fixture(scope="module")
def fitted() -> tuple[DetectorSet, np.ndarray]:
    rng = np.random.default_rng(4)
    groups = np.arange(CLIPS)
    pieces = NormalPieces(rng.normal(0.0, 0.1, (CLIPS, BANDS)), rng.normal(-50.0, 1.0, (CLIPS, BANDS)))
    consensus, deviations = fit_consensus(
        pieces,
        groups,
        [groups == clip for clip in groups],
        recordings=CLIPS,
        alarm_rate=0.01,
        slope_prior=None,
        level_prior=None,
        response=None,
    )
    return fit_detectors(
        consensus,
        deviations,
        rhythm=[rhythm_of(rng) for _ in range(CLIPS)],
        lines=[lines_of(rng) for _ in range(CLIPS)],
        groups=groups,
        recordings=CLIPS,
        alarm_rate=0.01,
    )


def usual(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0.0, 0.1, BANDS), rng.normal(-50.0, 1.0, BANDS)


def test_the_false_alarms_are_shared_out() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_normal_clips_stay_below_the_level(fitted: tuple[DetectorSet, np.ndarray], rng: np.random.Generator) -> None:
    detectors, raw = fitted
    assert np.all(raw < 1.0)
    assert detectors.judge(*usual(rng), rhythm_of(rng), lines_of(rng)).raw < 1.0


def test_each_detector_raises_what_it_hears_and_is_named(
    fitted: tuple[DetectorSet, np.ndarray], rng: np.random.Generator
) -> None:
    detectors, _ = fitted
    slope, level = usual(rng)
    louder = detectors.judge(slope + 5.0, level + np.eye(BANDS)[2] * 40.0, rhythm_of(rng), lines_of(rng))
    knock = detectors.judge(slope, level, rhythm_of(rng, 25.0), lines_of(rng))
    faster = detectors.judge(slope, level, rhythm_of(rng), lines_of(rng, 1.05))
    assert [(found.detector, found.raw > 1.0) for found in (louder, knock, faster)] == [
        ("profile", True),
        ("rhythm", True),
        ("lines", True),
    ]
    assert faster.line is not None
    assert detectors.explain_lines(lines_of(rng, 1.05), faster.line) is not None


def test_a_detector_never_lowers_what_another_says(
    fitted: tuple[DetectorSet, np.ndarray], rng: np.random.Generator
) -> None:
    detectors, _ = fitted
    for _ in range(50):
        slope, level = usual(rng)
        alone = detectors.judge(slope, level).raw
        assert detectors.judge(slope, level, rhythm_of(rng), None).raw >= alone


def test_the_level_of_each_detector_is_the_quantile_of_its_share(fitted: tuple[DetectorSet, np.ndarray]) -> None:
    levels = fitted[0].levels
    assert levels.profile_alarm == pytest.approx(alarm_deviation(0.008, 4.0))
    assert levels.rhythm_alarm == pytest.approx(alarm_deviation(0.001, 7.0))
    assert levels.lines_alarm == pytest.approx(alarm_deviation(0.001 / 3, 7.0))
