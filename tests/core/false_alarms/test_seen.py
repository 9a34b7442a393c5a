from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from humwatch.false_alarms.seen import WEEK_S, AlarmCounts, PromiseState, poisson_interval, seen_rate


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 2.996), (1, 0.0513, 4.744), (10, 5.425, 16.962)])
def test_the_interval_is_garwoods(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-3)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    for mean in (0.7, 3.0, 12.0):
        held = [low <= mean <= high for low, high in (poisson_interval(count) for count in range(80))]
        assert stats.poisson.pmf(np.arange(80), mean) @ held >= 0.9


@pytest.mark.parametrize(
    ("counts", "weeks", "promised", "promise"),
    [
        (AlarmCounts(), 2.9, 1.0, "too_early"),
        (AlarmCounts(), 3.0, 1.0, "kept"),
        (AlarmCounts(false_alarm=4), 4.0, 1.0, "kept"),
        (AlarmCounts(false_alarm=8), 4.0, 1.0, "kept"),
        (AlarmCounts(false_alarm=9), 4.0, 1.0, "broken"),
        (AlarmCounts(true_alarm=90), 4.0, 1.0, "kept"),
        (AlarmCounts(false_alarm=4, unjudged=5), 4.0, 1.0, "too_early"),
        (AlarmCounts(unsure=9), 4.0, 1.0, "too_early"),
        (AlarmCounts(false_alarm=4), 0.1, 1.0, "broken"),
        (AlarmCounts(false_alarm=90), 4.0, None, "not_promised"),
    ],
)
def test_a_promise_is_judged_by_what_operators_said(
    counts: AlarmCounts, weeks: float, promised: float | None, promise: PromiseState
) -> None:
    seen = seen_rate(counts, weeks * WEEK_S, promised)
    assert seen.promise == promise
    assert seen.a_week == pytest.approx(counts.false_alarm / weeks)
    assert seen.most_a_week is not None and seen.high_a_week is not None and seen.most_a_week >= seen.high_a_week


def test_nothing_is_said_before_anything_was_watched() -> None:
    seen = seen_rate(AlarmCounts(), 0.0, 1.0)
    assert (seen.a_week, seen.low_a_week, seen.promise) == (None, None, "too_early")


def test_a_promise_that_is_kept_is_seldom_called_broken() -> None:
    """At the promised rate itself, at any time: at most one machine in twenty."""
    for weeks in (1.0, 4.0, 26.0):
        broken = [seen_rate(AlarmCounts(false_alarm=n), weeks * WEEK_S, 1.0).promise == "broken" for n in range(200)]
        assert stats.poisson.pmf(np.arange(200), weeks) @ broken <= 0.05
