from __future__ import annotations

import numpy as np
import pytest

from humwatch.detectors.consensus import PROBE_BANDS, Consensus, NormalPieces, fit_consensus, probes, slope_response

BANDS = 12


def fitted(rng: np.random.Generator, response: np.ndarray | None, clips: int = 30) -> tuple[Consensus, np.ndarray]:
    pieces = NormalPieces(rng.normal(0.0, 0.1, (clips, BANDS)), rng.normal(-50.0, 1.0, (clips, BANDS)))
    groups = np.arange(clips)
    return fit_consensus(
        pieces,
        groups,
        [groups == clip for clip in groups],
        recordings=clips,
        alarm_rate=0.01,
        slope_prior=None,
        level_prior=None,
        response=response,
    )


def test_a_network_that_follows_what_changes_has_no_weight(rng: np.random.Generator) -> None:
    deaf, _ = fitted(rng, 1e-6 * probes(BANDS))
    keen, _ = fitted(rng, 10.0 * probes(BANDS))
    assert deaf.levels.slope_weight < 1e-6
    assert keen.levels.slope_weight > 0.99
    assert fitted(rng, None)[0].levels.slope_weight == 0.5


def test_normal_clips_lie_in_the_middle_and_others_far_out(rng: np.random.Generator) -> None:
    consensus, deviations = fitted(rng, 1e-6 * probes(BANDS))
    assert abs(np.median(deviations)) < 0.5
    normal, _ = consensus.judge(np.zeros(BANDS), np.full(BANDS, -50.0))
    level = np.full(BANDS, -50.0)
    level[3] += 12.0
    changed, shares = consensus.judge(np.zeros(BANDS), level)
    assert normal < 0 < changed
    assert shares.sum() == pytest.approx(1.0)
    assert int(np.argmax(shares)) == 3


def test_of_a_clip_the_highest_piece_counts(rng: np.random.Generator) -> None:
    pieces = NormalPieces(rng.normal(0.0, 0.1, (40, BANDS)), rng.normal(-50.0, 1.0, (40, BANDS)))
    clip_of = np.repeat(np.arange(10), 4)
    _, deviations = fit_consensus(
        pieces,
        clip_of,
        [clip_of == clip for clip in range(10)],
        recordings=10,
        alarm_rate=0.01,
        slope_prior=None,
        level_prior=None,
        response=None,
    )
    assert deviations.shape == (10,)


def test_each_probe_changes_neighbouring_bands_and_together_they_change_all() -> None:
    assert probes(10).sum(axis=0).tolist() == [1.0] * 10
    assert probes(10).sum(axis=1).tolist() == [PROBE_BANDS, PROBE_BANDS, 2.0]


def test_the_response_is_the_change_of_the_slope_for_a_decibel() -> None:
    windows = np.zeros((3, 2, 16), np.float32)
    bands = np.arange(2, 14)
    response = slope_response(windows, bands, lambda changed: 0.5 * changed.mean(axis=(0, 1))[bands].astype(float))
    np.testing.assert_allclose(response, 0.5 * probes(12))
