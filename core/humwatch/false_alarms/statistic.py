"""What a rule compares with its limits, over a whole series of scores at once: an alarm comes where it reaches 1."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import minimum_filter1d, rank_filter
from scipy.signal import lfilter

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import CAP, RELEASE, Chart, SequentialLimits
from humwatch.arrays import Float64, Int64


def chart_statistic(scores: Float64, chart: Chart, step_s: float) -> Float64:
    """Return the average of a chart over its limit, float64 (n,), for scores every ``step_s`` seconds, float64 (n,)."""
    weight = chart.weight(step_s)
    counted = np.minimum(scores, CAP * chart.limit)
    average: Float64 = lfilter([weight], [1.0, weight - 1.0], counted)
    return average / chart.limit


def sequential_statistic(scores: Float64, limits: SequentialLimits, step_s: float) -> Float64:
    """Return the largest of all charts, float64 (n,)."""
    found: Float64 = np.max([chart_statistic(scores, chart, step_s) for chart in limits.charts], axis=0)
    return found


def on_delay_statistic(scores: Float64, rule: AlarmRule, step_s: float) -> Float64:
    """Return the highest level that the last scores would have passed by k of n and the on-delay, float64 (n,)."""
    passed = scores
    if rule.n > 1:  # the k-th largest of the last n
        passed = rank_filter(scores, -rule.k, size=rule.n, origin=(rule.n - 1) // 2, mode="constant", cval=-np.inf)
    steps = round(rule.on_delay_s / step_s) + 1
    if steps == 1:
        return np.asarray(passed, np.float64)
    lasted = minimum_filter1d(passed, steps, origin=(steps - 1) // 2, mode="constant", cval=-np.inf)
    return np.asarray(lasted, np.float64)


def alarm_statistic(scores: Float64, rule: AlarmRule, limits: SequentialLimits | None, step_s: float) -> Float64:
    """Return the statistic of the rule in force, float64 (n,)."""
    if limits is not None and rule.decision == "sequential":
        return sequential_statistic(scores, limits, step_s)
    return on_delay_statistic(scores, rule, step_s)


def cluster_peaks(statistic: Float64, level: float) -> tuple[Float64, Int64]:
    """Return the peaks of the clusters over a level, float64 (clusters,), and where each begins, int64 (clusters,).

    A cluster ends where the statistic falls below ``RELEASE`` of the level, as an alarm does.
    """
    over, below = statistic >= level, statistic < RELEASE * level
    decided = np.flatnonzero(over | below)
    is_over = over[decided]
    first = is_over & ~np.concatenate([[False], is_over[:-1]])
    starts = decided[first]
    if not len(starts):
        return np.zeros(0), starts
    peaks: Float64 = np.maximum.reduceat(statistic, starts)
    return peaks, starts
