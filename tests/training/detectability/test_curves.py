from __future__ import annotations

import numpy as np
import pytest

from humwatch_training.detectability.curves import DetectionCurve, RateEstimate, just_above
from tests.training.detectability.conftest import ALL, NONE, curve

QUIET = np.zeros(4)


def test_levels_are_interpolated_between_severities():
    found = curve([[NONE, 0.5, 2], [NONE, 1.0, 2], [NONE, 0.2, 2], [NONE, 0.3, 0.1]])
    np.testing.assert_array_equal(found.rates(1.0), [0.0, 0.25, 0.75])
    half = found.crossing(1.0, 0.5, QUIET)
    assert (half.status, half.severity) == ("reached", pytest.approx(5.0))
    assert half.low is not None
    assert half.low <= 5.0
    assert found.crossing(1.0, 0.9, QUIET).status == "not_reached"
    assert found.crossing(0.25, 0.9, QUIET).status == "not_reached"
    assert found.crossing(0.05, 0.9, QUIET).severity == pytest.approx(-1.0)


def test_a_rate_that_falls_again_counts_from_where_it_stays():
    found = curve([[2, 0, 2], [2, 0, 2]])
    assert found.crossing(1.0, 0.5, QUIET).severity == pytest.approx(5.0)


def test_what_the_grid_does_not_reach_is_said():
    detected_at_once, never = curve([[ALL, ALL, ALL]] * 3), curve([[NONE, NONE, NONE]] * 3)
    assert detected_at_once.crossing(1.0, 0.9, QUIET).status == "at_or_below_lowest"
    assert detected_at_once.crossing(1.0, 0.9, QUIET).severity == -10.0
    assert (never.crossing(1.0, 0.5, QUIET).status, never.crossing(1.0, 0.5, QUIET).severity) == ("not_reached", None)
    assert never.crossing(1.0, 0.5, np.array([2.0, 2.0, 0.0])).status == "always"
    assert never.crossing(1.0, 0.9, np.array([2.0, 2.0, 0.0])).status == "not_reached"


def test_clips_that_cannot_hold_a_fault_are_not_counted():
    found = curve([[0, 2, np.nan], [0, 2, np.nan], [0, np.nan, np.nan], [0, 0, 2]])
    np.testing.assert_array_equal(found.holding, [4, 3, 1])
    np.testing.assert_array_equal(found.rates(1.0), [0, 2 / 3, np.nan])
    assert found.crossing(1.0, 0.5, QUIET).severity == pytest.approx(-10 + 10 * 0.75)
    assert curve([[np.nan] * 3] * 2).crossing(1.0, 0.5, QUIET).status == "not_reached"


def test_the_interval_counts_recordings_and_is_repeatable():
    rng = np.random.default_rng(0)
    limits = rng.normal(0.0, 4.0, (20, 1))
    severities = np.arange(-15.0, 16.0, 3.0)
    scores = np.where(severities >= limits, 2.0, 0.0)
    apart = DetectionCurve(severities, scores, np.arange(20))
    together = DetectionCurve(severities, scores, np.arange(20) // 5)
    one, again = (apart.crossing(1.0, 0.5, QUIET, seed=1) for _ in range(2))
    assert one == again
    assert one.low < one.severity < one.high
    assert 1.0 < one.high - one.low < 8.0
    every = DetectionCurve(severities, scores, np.zeros(20, np.int64)).crossing(1.0, 0.5, QUIET)
    assert every.low == every.high == every.severity
    assert together.crossing(1.0, 0.5, QUIET).severity == one.severity


def test_an_interval_may_end_off_the_grid():
    found = curve([[2, 2, 2], [0, 0, 2], [0, 0, 0], [0, 0, 0]]).crossing(1.0, 0.5, QUIET)
    assert (found.low, found.high) == (None, None)


def test_every_detector_counts_the_detections_that_it_decided():
    scores = np.array([[NONE, 0.9, 1.2, ALL], [0.2, 1.1, 1.5, ALL], [0.3, 1.4, np.nan, np.nan]])
    names = np.array(
        [[None, "lines", "profile", None], ["lines", "rhythm", "rhythm", None], ["lines", None, None, None]]
    )
    found = DetectionCurve(np.arange(4.0), scores, np.arange(3), names)
    assert list(found.detections_by(1.0).items()) == [("rhythm", 2), ("profile", 1)]
    assert found.detections_by(0.25) == {"lines": 2, "rhythm": 2, "profile": 1}
    assert found.detections_by(2.0) == {}
    assert curve([[0, 2, 2]]).detections_by(1.0) == {}


def test_the_share_detected_is_over_all_severities_that_clips_can_hold():
    scores = [[0, 2, ALL, np.nan], [NONE, 0, 2, np.nan]]
    assert curve(scores, (0.0, 1.0, 2.0, 3.0)).share_detected(1.0) == pytest.approx((0 + 0.5 + 1) / 3)
    assert curve([[np.nan] * 3] * 2).share_detected(1.0) is None


def test_the_interval_of_a_rate_is_exact():
    none, one = RateEstimate.of(0, 10), RateEstimate.of(1, 10)
    assert (none.rate, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - 0.05 ** (1 / 10)))
    assert (one.rate, one.low) == (0.1, pytest.approx(1 - 0.95 ** (1 / 10)))
    assert one.high == pytest.approx(0.39416, abs=1e-5)  # tables of Clopper and Pearson
    assert (RateEstimate.of(3, 3).low, RateEstimate.of(3, 3).high) == (pytest.approx(0.05 ** (1 / 3)), 1.0)


def test_just_above_is_reached_by_no_untouched_clip():
    scores = np.array([-0.1, 0.7, 0.3])
    assert not (scores >= just_above(scores)).any()
    assert just_above(scores) == pytest.approx(0.7 + 0.05 * 0.4)
    assert 0.5 < just_above(np.array([0.5])) < 0.5 + 1e-9
