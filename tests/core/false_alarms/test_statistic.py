"""The statistic of a whole series says what the alarm state machine does second by second."""

from __future__ import annotations

import numpy as np
import pytest

from humwatch.alarm.events import Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.arrays import Float64
from humwatch.false_alarms.statistic import alarm_statistic, cluster_peaks

LIMITS = SequentialLimits(
    charts=(
        Chart(time_constant_s=5, limit=0.71),
        Chart(time_constant_s=20, limit=0.43),
        Chart(time_constant_s=80, limit=0.27),
    )
)


def scores(seed: int, seconds: int = 4_000) -> Float64:
    """Scores that wander, and seldom are high."""
    random = np.random.default_rng(seed)
    conditions = np.repeat(random.normal(0.0, 0.2, size=seconds // 200), 200)
    found: Float64 = conditions + random.standard_t(4, size=seconds) * 0.3
    return found


def raised(heard: Float64, rule: AlarmRule, limits: SequentialLimits | None) -> list[int]:
    machine = AlarmStateMachine(rule, warn_level=0.6, limits=limits)
    return [
        second
        for second, score in enumerate(heard.tolist())
        if "raised" in [e.kind for e in machine.observe(Observation(second, 1.0, "scored", score))]
    ]


def test_the_sequential_rule_raises_first_where_its_statistic_reaches_one() -> None:
    rule = AlarmRule(off_delay_s=0)
    found = 0
    for seed in range(40):
        heard = 1.5 * scores(seed, 600)
        over = np.flatnonzero(alarm_statistic(heard, rule, LIMITS, 1.0) >= 1.0)
        first = raised(heard, rule, LIMITS)[:1]
        assert over[:1].tolist() == first
        found += len(first)
    assert 5 < found < 40


def test_a_cluster_ends_where_the_statistic_is_well_below_its_level() -> None:
    peaks, starts = cluster_peaks(np.array([0.0, 1.2, 0.8, 1.5, 0.7, 1.1, 0.9, 0.2, 0.9]), 1.0)
    assert starts.tolist() == [1, 5]
    assert peaks.tolist() == [1.5, 1.1]
    assert cluster_peaks(np.zeros(5), 1.0)[0].size == 0


@pytest.mark.parametrize(("on_delay_s", "k", "n"), [(0, 1, 1), (3, 1, 1), (0, 2, 4), (2, 2, 3), (1, 3, 3), (2, 1, 5)])
def test_the_on_delay_rule_raises_first_where_its_statistic_reaches_one(on_delay_s: float, k: int, n: int) -> None:
    rule = AlarmRule(decision="on_delay", on_delay_s=on_delay_s, k=k, n=n, off_delay_s=0)
    found = 0
    for seed in range(40):
        heard = scores(seed, 600) * 3
        statistic = alarm_statistic(heard, rule, LIMITS, 1.0)
        over = np.flatnonzero(statistic >= 1.0)
        first = raised(heard, rule, None)[:1]
        assert over[:1].tolist() == first
        found += len(first)
    assert found > 5
