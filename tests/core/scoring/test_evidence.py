from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from humwatch.audio.features import FeatureSpec
from humwatch.predictor import Prediction
from humwatch.scoring.evidence import Evidence, EvidenceExtractor, TargetPlaces, _places_of, evidence_of
from humwatch.scoring.spec import DEFAULT_SCORE, Pooling, ScoreKind, ScoringSpec

BANDS = np.arange(3)
WINDOWS = np.arange(18, dtype=np.float32).reshape(2, 3, 3)


def prediction(index: list[int], mean: float, std: float) -> Prediction:
    shape = (2, len(index))
    return Prediction(np.array(index), np.full(shape, mean, np.float32), np.full(shape, std, np.float32))


def test_mse_is_the_mean_over_targets_of_the_squared_error() -> None:
    evidence = evidence_of(WINDOWS, prediction([3, 4, 5], 3.0, 2.0), "mse", BANDS)
    assert evidence.sums.tolist() == [[0.0, 1.0, 4.0], [81.0, 100.0, 121.0]]
    np.testing.assert_allclose(evidence.window_scores(), [5 / 3, 302 / 3])


def test_nll_is_equation_7() -> None:
    evidence = evidence_of(WINDOWS, prediction([3, 4, 5], 3.0, 2.0), "nll", BANDS)
    np.testing.assert_allclose(evidence.window_scores(), np.log(2.0) + np.array([5 / 3, 302 / 3]) / 8.0)


def test_residual_keeps_its_sign_and_spectrum_is_the_level() -> None:
    assert evidence_of(WINDOWS, prediction([3, 4, 5], 4.0, 1.0), "residual_profile", BANDS).sums[0].tolist() == [
        -1,
        0,
        1,
    ]
    assert evidence_of(WINDOWS, prediction([3, 4, 5], 4.0, 1.0), "spectrum_profile", BANDS).sums[0].tolist() == [
        3,
        4,
        5,
    ]


def test_likelihood_profile_is_the_slope_of_the_log_likelihood() -> None:
    step = 0.0625  # exact in float32; the NLL is a parabola, so the difference is exact
    at = [evidence_of(WINDOWS, prediction([3, 4, 5], mean, 2.0), "nll", BANDS).sums for mean in (4 - step, 4 + step)]
    slope = evidence_of(WINDOWS, prediction([3, 4, 5], 4.0, 2.0), "likelihood_profile", BANDS)
    np.testing.assert_allclose(slope.sums, (at[0] - at[1]) / (2 * step), atol=1e-12)
    np.testing.assert_allclose(slope.signed, slope.sums * 2.0**2)


def test_targets_of_one_band_add_up_and_targets_may_differ_by_window() -> None:
    index = np.array([[0, 3, 1], [2, 5, 8]])
    evidence = evidence_of(
        WINDOWS, Prediction(index, np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)), "spectrum_profile", BANDS
    )
    assert evidence.counts.tolist() == [[2, 1, 0], [0, 0, 3]]
    assert evidence.sums.tolist() == [[3, 1, 0], [0, 0, 11 + 14 + 17]]
    pooled = evidence.pooled(Pooling())
    np.testing.assert_allclose(pooled, [1.5, 1.0, 14.0])


@pytest.mark.parametrize(
    ("kind", "signed"), [("mse", [-1, 0, 1]), ("nll", [-1, 0, 1]), ("spectrum_profile", [3, 4, 5])]
)
def test_errors_keep_the_sign_of_the_residual_for_the_reader(kind: ScoreKind, signed: list[float]) -> None:
    evidence = evidence_of(WINDOWS, prediction([3, 4, 5], 4.0, 1.0), kind, BANDS)
    assert evidence.signed[0].tolist() == signed
    assert evidence[:1].pooled_signed(Pooling()).tolist() == signed


def test_a_band_without_targets_is_nan_when_pooled() -> None:
    evidence = evidence_of(WINDOWS, prediction([3, 4], 0.0, 1.0), "mse", BANDS)
    assert np.isnan(evidence.pooled(Pooling())).tolist() == [False, False, True]


def test_bands_that_do_not_count_leave_nothing() -> None:
    evidence = evidence_of(WINDOWS, prediction([3, 4, 5], 0.0, 1.0), "mse", np.array([1]))
    assert evidence.sums.tolist() == [[16.0], [169.0]]


def test_pooling_weights() -> None:
    scores = np.array([1.0, 3.0, 2.0])
    assert Pooling().weights(scores).tolist() == [1 / 3] * 3
    assert Pooling(kind="max").weights(scores).tolist() == [0, 1, 0]
    np.testing.assert_allclose(Pooling(kind="gwrp", decay=0.5).weights(scores), np.array([1, 4, 2]) / 7)


def test_gwrp_lies_between_mean_and_max(rng: np.random.Generator) -> None:
    evidence = Evidence(rng.gamma(2.0, 1.0, (40, 3)), np.ones((40, 3)), np.zeros((40, 3)))
    mean, gwrp, highest = (
        evidence.scalar(pooling) for pooling in (Pooling(), Pooling(kind="gwrp", decay=0.8), Pooling(kind="max"))
    )
    assert mean < gwrp < highest == evidence.window_scores().max()


def test_the_bands_of_the_default_score_end_where_resamplers_roll_off() -> None:
    features = FeatureSpec()
    bands = ScoringSpec().bands(features)
    assert bands.tolist() == list(range(len(bands)))
    assert features.band_edges_hz[bands[-1], 1] <= 7600 < features.band_edges_hz[bands[-1] + 1, 1]


def test_a_profile_takes_the_mean_over_time_only() -> None:
    with pytest.raises(ValidationError, match="residual_profile is not defined on max"):
        ScoringSpec(kind="residual_profile", pooling=Pooling(kind="max"))
    assert ScoringSpec(kind="nll", pooling=Pooling(kind="max")).pooling.kind == "max"


def test_the_default_is_a_consensus_over_the_windows_that_surprise_least() -> None:
    scoring = ScoringSpec()
    assert (scoring.kind, scoring.pooling.kind) == (DEFAULT_SCORE, "trimmed")
    assert ScoringSpec.model_validate_json(scoring.model_dump_json()) == scoring
    with pytest.raises(ValidationError, match="consensus is not defined on mean"):
        ScoringSpec(kind="consensus", pooling=Pooling())
    with pytest.raises(ValidationError, match="mse is not defined on trimmed"):
        ScoringSpec(kind="mse", pooling=Pooling(kind="trimmed"))


def test_another_score_keeps_bands_and_how_errors_are_pooled() -> None:
    old = ScoringSpec(kind="mse", pooling=Pooling(kind="gwrp", decay=0.5), low_hz=100.0)
    assert old.of_kind("mse") is old
    assert old.of_kind("nll") == ScoringSpec(kind="nll", pooling=old.pooling, low_hz=100.0)
    assert old.of_kind("consensus") == ScoringSpec(low_hz=100.0)


def test_trimming_leaves_out_the_windows_with_the_highest_scores() -> None:
    scores = np.array([0.0, 9.0, 1.0, 8.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    weights = Pooling(kind="trimmed").weights(scores)
    assert weights[[1, 3]].tolist() == [0.0, 0.0]
    assert weights.sum() == pytest.approx(1.0)
    assert len(set(weights[weights > 0])) == 1
    assert Pooling(kind="trimmed").weights(np.array([3.0, 1.0])).tolist() == [0.5, 0.5]


def test_a_consensus_keeps_slope_and_level_of_each_band() -> None:
    windows = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    middle = Prediction(np.arange(4, 8), np.full((2, 4), 4.0, np.float32), np.full((2, 4), 2.0, np.float32))
    evidence = evidence_of(windows, middle, "consensus", np.arange(4))
    profiles = evidence.profiles
    assert profiles is not None
    slope = evidence_of(windows, middle, "likelihood_profile", np.arange(4))
    np.testing.assert_allclose(profiles.slope, slope.sums)
    assert evidence.sums is profiles.slope
    assert profiles.level[0].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert evidence.signed is profiles.level
    residual = np.array([[4.0, 5.0, 6.0, 7.0], [16.0, 17.0, 18.0, 19.0]]) - 4.0
    np.testing.assert_allclose(profiles.surprise, np.mean(np.log(2.0) + residual**2 / 8.0, axis=1))
    assert len(profiles.rhythm) == len(evidence) == 2


def test_windows_are_pooled_without_those_that_surprise() -> None:
    windows = np.zeros((10, 1, 4), np.float32)
    windows[4] = 100.0
    evidence = evidence_of(windows, prediction_of(np.arange(4), 10), "consensus", np.arange(4))
    assert evidence.pooled(ScoringSpec().pooling).tolist() == [0.0] * 4
    assert evidence[2:6].pooled(Pooling()).tolist() == [25.0] * 4


def prediction_of(index: np.ndarray, windows: int) -> Prediction:
    shape = (windows, len(index))
    return Prediction(index, np.zeros(shape, np.float32), np.ones(shape, np.float32))


LAYOUTS = {
    "a whole frame": np.arange(24, 36),
    "all bins": np.arange(60),
    "all bins, out of order": np.random.default_rng(1).permutation(60),
    "some bins": np.random.default_rng(2).permutation(60)[:31],
    "a bin twice": np.array([5, 17, 5, 41]),
    "no bin that counts": np.array([0, 12, 11]),
}


def predicted(rng: np.random.Generator, windows: int, index: np.ndarray) -> Prediction:
    shape = windows, index.shape[-1]
    mean, std = rng.normal(-50.0, 9.0, shape), rng.uniform(0.5, 4.0, shape)
    return Prediction(index, mean.astype(np.float32), std.astype(np.float32))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", get_args(ScoreKind))
def test_one_index_for_all_windows_and_one_for_each_leave_the_same(
    rng: np.random.Generator, layout: str, kind: ScoreKind
) -> None:
    index, bands = LAYOUTS[layout], np.arange(1, 11)
    windows = rng.normal(-50.0, 9.0, (9, 5, 12)).astype(np.float32)
    shared = predicted(rng, 9, index)
    own = Prediction(np.tile(index, (9, 1)), shared.mean, shared.std)
    ours, theirs = (EvidenceExtractor(kind, bands).evidence(windows, prediction) for prediction in (shared, own))
    assert np.array_equal(ours.counts, theirs.counts)
    assert np.array_equal(ours.sums, theirs.sums)
    assert np.array_equal(ours.signed, theirs.signed)
    assert ours.counts.shape == (9, 10)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(windows=st.integers(1, 40), first=st.integers(0, 39))
def test_a_window_leaves_the_same_whatever_is_beside_it(layout: str, windows: int, first: int) -> None:
    first %= windows
    rng = np.random.default_rng(windows)
    levels = rng.normal(-50.0, 9.0, (windows, 5, 12)).astype(np.float32)
    prediction = predicted(rng, windows, LAYOUTS[layout])
    some = Prediction(prediction.target_index, prediction.mean[first:], prediction.std[first:])
    for kind in get_args(ScoreKind):
        whole = evidence_of(levels, prediction, kind, np.arange(12))
        part = evidence_of(levels[first:], some, kind, np.arange(12))
        assert np.array_equal(whole.sums[first:], part.sums)
        assert np.array_equal(whole.signed[first:], part.signed)


def test_targets_that_move_between_blocks_are_followed(rng: np.random.Generator) -> None:
    assessor = EvidenceExtractor("mse", np.arange(12))
    windows = rng.normal(-50.0, 9.0, (3, 5, 12)).astype(np.float32)
    for layout in [*LAYOUTS.values(), *LAYOUTS.values()]:
        prediction = predicted(rng, 3, layout)
        expected = evidence_of(windows, prediction, "mse", np.arange(12))
        assert np.array_equal(assessor.evidence(windows, prediction).sums, expected.sums)


def test_where_targets_lie_is_worked_out_once(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    plain = TargetPlaces.__init__

    def counted(self: TargetPlaces, *given: object) -> None:
        made.append(1)
        plain(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(TargetPlaces, "__init__", counted)
    _places_of.cache_clear()
    assessor = EvidenceExtractor("mse", np.arange(12))
    windows = rng.normal(-50.0, 9.0, (3, 5, 12)).astype(np.float32)
    for _ in range(3):
        assessor.evidence(windows, predicted(rng, 3, LAYOUTS["some bins"].copy()))
    assert len(made) == 1
