from __future__ import annotations

import numpy as np
import pytest

from humwatch.detectors.lines import ClipLines, LinePower, line_power
from humwatch.detectors.profile import NormalProfile
from humwatch.scoring.calibration import band_contributions, raw_score
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.recent import RecentEvidence, RecentLines
from humwatch.scoring.spec import Pooling, ScoringSpec

BANDS = 7
SCORINGS = [
    ScoringSpec(kind="likelihood_profile"),
    ScoringSpec(kind="spectrum_profile"),
    ScoringSpec(kind="mse"),
    ScoringSpec(kind="nll", pooling=Pooling(kind="max")),
    ScoringSpec(kind="mse", pooling=Pooling(kind="gwrp", decay=0.9)),
]


def evidence(rng: np.random.Generator, windows: int) -> Evidence:
    counts = rng.integers(1, 6, (windows, BANDS)).astype(np.float64)
    counts[:, 2] = 0.0  # no target ever falls here
    return Evidence(rng.gamma(2.0, 1.0, counts.shape) * counts, counts, rng.normal(0.0, 9.0, counts.shape) * counts)


@pytest.fixture
def normal(rng: np.random.Generator) -> NormalProfile:
    return NormalProfile.fit(rng.normal(1.0, 0.5, (40, BANDS)))


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda s: f"{s.kind}-{s.pooling.kind}")
@pytest.mark.parametrize(("block", "clip"), [(6, 62), (31, 309), (1, 10), (16, 16), (7, 8)])
def test_it_says_what_all_windows_of_the_clip_say_together(
    rng: np.random.Generator, normal: NormalProfile, scoring: ScoringSpec, block: int, clip: int
) -> None:
    heard = evidence(rng, 0)
    recent = RecentEvidence(scoring, clip)
    sizes = [block] * (3 * clip // block) + [max(1, block // 2)]  # the last block of a recording is smaller
    for size in sizes:
        new = evidence(rng, size)
        recent.push(new)
        heard = Evidence.concatenate([heard, new])
        assert len(recent) == min(len(heard), clip)
        for n_windows in {block, clip}:
            if len(recent) < n_windows:
                continue
            last = heard[len(heard) - n_windows :]
            raw, contributions = recent.pooled(n_windows).judged(scoring, normal)
            assert raw == pytest.approx(raw_score(last, scoring, normal), rel=1e-9)
            np.testing.assert_allclose(contributions, band_contributions(last, scoring, normal), rtol=1e-9, atol=1e-12)
            signed = recent.pooled(n_windows).signed
            np.testing.assert_allclose(signed, last.pooled_signed(scoring.pooling), rtol=1e-9, atol=1e-12)
            assert np.flatnonzero(np.isnan(signed)).tolist() == [2]
    assert len(heard) > 2 * clip


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda s: f"{s.kind}-{s.pooling.kind}")
def test_what_was_heard_before_the_clip_leaves_no_trace(rng: np.random.Generator, scoring: ScoringSpec) -> None:
    """Not even of rounding: a day of sound before, or none, gives the same bits."""
    huge = Evidence(np.full((6, BANDS), 1e15), np.ones((6, BANDS)), np.full((6, BANDS), -1e15))
    old, fresh = RecentEvidence(scoring, 20), RecentEvidence(scoring, 20)
    for _ in range(100):
        old.push(huge)
    for _ in range(4):
        new = evidence(rng, 6)
        old.push(new)
        fresh.push(new)
    for n_windows in (6, 20):
        ours, theirs = old.pooled(n_windows), fresh.pooled(n_windows)
        assert np.array_equal(ours.values, theirs.values, equal_nan=True)
        assert np.array_equal(ours.signed, theirs.signed, equal_nan=True)
        assert ours.mean_error == theirs.mean_error or scoring.is_profile


def test_it_holds_one_clip_and_forgets_on_reset(rng: np.random.Generator) -> None:
    recent = RecentEvidence(ScoringSpec(), 20)
    for _ in range(10):
        recent.push(evidence(rng, 6))
        arrays = [block._evidence.sums for block in recent._blocks]
        assert sum(len(array if array.base is None else array.base) for array in arrays) <= 20
    recent.reset()
    assert len(recent) == 0
    recent.push(evidence(rng, 3))
    assert len(recent) == 3


def spectra(rng: np.random.Generator) -> LinePower:
    return line_power(rng.normal(0.0, 0.1, 16_000).astype(np.float32), 16_000)


def test_line_spectra_are_forgotten_though_nobody_asks_for_a_clip(rng: np.random.Generator) -> None:
    """As of a consensus whose detectors leave lines out: days of sound would pile up."""
    power, recent = spectra(rng), RecentLines(20)
    for block in range(1_000):
        recent.push(6 * block, power)
        assert len(recent._blocks) <= 4
    recent.reset()
    assert not recent._blocks


def test_the_clip_has_the_line_spectra_of_blocks_that_lie_whole_in_it(rng: np.random.Generator) -> None:
    powers = [spectra(rng) for _ in range(10)]
    recent = RecentLines(20)
    for number, power in enumerate(powers):
        recent.push(6 * number, power)
        ours = recent.clip(6 * number + 6)
        theirs = ClipLines.of(powers[max(0, number - 2) : number + 1])
        for half, expected in ((ours.early, theirs.early), (ours.late, theirs.late)):
            np.testing.assert_array_equal(half.power, expected.power)
            assert half.frames == expected.frames
