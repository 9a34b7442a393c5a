from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from humwatch.detectors.thresholds import METHODS, ThresholdMethod, conformal_p_value, fit_threshold, recordings_needed
from humwatch.errors import CalibrationError


def fit(scores: np.ndarray, rate: float, method: ThresholdMethod, recordings: int | None = None):  # type: ignore[no-untyped-def]
    return fit_threshold(scores, rate=rate, method=method, recordings=recordings or len(scores), clip_seconds=10.0)


def test_gamma_level_is_scipys_fit(rng: np.random.Generator) -> None:
    scores = rng.gamma(9.0, 0.2, 300)
    shape, _, scale = scipy.stats.gamma.fit(scores, floc=0)
    assert fit(scores, 0.1, "gamma").level == pytest.approx(scipy.stats.gamma.isf(0.1, shape, scale=scale), rel=1e-6)


def test_gamma_takes_negative_scores(rng: np.random.Generator) -> None:
    scores = rng.normal(-3.0, 0.1, 500)
    assert fit(scores, 0.01, "gamma").level == pytest.approx(-3.0 + 2.33 * 0.1, abs=0.05)


def test_conformal_alarms_exactly_where_the_p_value_is_at_most_the_rate(rng: np.random.Generator) -> None:
    scores = np.sort(rng.gamma(9.0, 0.2, 199))
    level = fit(scores, 0.05, "conformal").level
    for score in [*scores, *(scores + 1e-9), 0.0, 99.0]:
        assert (score >= level) == (conformal_p_value(scores, score, len(scores)) <= 0.05)


def test_conformal_p_value_counts_the_new_score_in() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    assert [conformal_p_value(scores, score, 3) for score in (0.5, 2.0, 2.5, 4.0)] == [1.0, 0.75, 0.5, 0.25]


def test_a_p_value_is_never_smaller_than_the_recordings_allow() -> None:
    eight_channels = np.repeat(np.arange(1.0, 11.0), 8)
    assert conformal_p_value(eight_channels, 99.0, 10) == 1 / 11
    assert conformal_p_value(eight_channels, 10.0, 10) == pytest.approx(2 / 11)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conformal", "order_statistic"])
def test_the_expected_rate_and_its_interval_hold_in_repeated_calibrations(method: ThresholdMethod) -> None:
    rng = np.random.default_rng(5)
    rates, inside = [], 0
    for _ in range(300):
        threshold = fit(rng.exponential(1.0, 150), 0.05, method)
        rates.append(np.exp(-threshold.level))  # the true share of exponential scores over the level
        inside += threshold.rate_low <= rates[-1] <= threshold.rate_high
    assert np.mean(rates) == pytest.approx(threshold.expected_rate, abs=0.006)
    assert inside / 300 == pytest.approx(0.9, abs=0.06)
    if method == "order_statistic":
        assert np.mean(np.array(rates) <= 0.05) >= 0.87


@pytest.mark.slow
def test_gamma_interval_holds_for_gamma_scores() -> None:
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(60):
        threshold = fit(rng.gamma(16.0, 0.1, 80), 0.02, "gamma")
        true_rate = scipy.stats.gamma.sf(threshold.level, 16.0, scale=0.1)
        inside += threshold.rate_low <= true_rate <= threshold.rate_high
    assert inside >= 46


@pytest.mark.parametrize("method", METHODS)
def test_too_few_clips_promise_nothing_and_take_no_level_below_the_highest(method: ThresholdMethod) -> None:
    scores = np.linspace(1.0, 2.0, 12)
    threshold = fit(scores, 0.01, method)
    assert not threshold.promised
    assert threshold.level >= 1.99
    assert threshold.rate_high > (0.03 if method == "student_t" else 0.05)  # which brings knowledge of its own


def test_promises_begin_where_recordings_needed_says() -> None:
    assert recordings_needed(0.01, "conformal") == 99
    assert recordings_needed(0.01, "order_statistic") == 230
    for method in ("conformal", "order_statistic"):
        needed = recordings_needed(0.02, method)
        assert fit(np.arange(1.0, needed + 1), 0.02, method).promised
        assert not fit(np.arange(1.0, needed), 0.02, method).promised


def test_clips_of_few_recordings_widen_the_interval() -> None:
    scores = np.arange(1.0, 201.0)
    independent, dependent = (fit(scores, 0.05, "conformal", recordings) for recordings in (200, 25))
    assert dependent.level >= independent.level
    assert dependent.expected_rate <= 0.05
    assert dependent.rate_high > 1.5 * independent.rate_high
    assert dependent.rate_low < independent.rate_low


def test_false_alarms_a_day_count_clips_that_do_not_overlap() -> None:
    threshold = fit(np.arange(1.0, 100.0), 0.01, "conformal")
    assert threshold.clips_a_day == 8640.0
    assert threshold.false_alarms_a_day == pytest.approx(86.4)


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, np.nan], [1.0, np.inf]])
def test_scores_that_fit_nothing_are_refused(scores: list[float]) -> None:
    with pytest.raises(CalibrationError):
        fit(np.array(scores), 0.1, "gamma")
