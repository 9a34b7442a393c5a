"""False alarms a week: what is expected is what comes, within its interval."""

from __future__ import annotations

import numpy as np
import pytest

from humwatch.alarm.rule import AlarmRule
from humwatch.arrays import Float64
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.estimate import WEEK_S, expected_rate, fit_decision
from humwatch.false_alarms.scores import NormalScores, ScoreSegment
from humwatch.false_alarms.statistic import alarm_statistic, cluster_peaks

DAY_S = 86_400


def sound(seed: int, seconds: int, *, conditions: float = 0.15, condition_s: int = 900) -> Float64:
    """Scores of clips that overlap, in conditions that last a quarter of an hour."""
    random = np.random.default_rng(seed)
    noise = np.convolve(random.normal(size=seconds + 9), np.ones(10) / np.sqrt(10), "valid") * 0.33
    means = np.repeat(random.normal(0.0, conditions, size=seconds // condition_s + 1), condition_s)[:seconds]
    found: Float64 = means + noise
    return found


def normal(seed: int, seconds: int, **kinds: float) -> NormalScores:
    return NormalScores([ScoreSegment(0.0, sound(seed, seconds, **kinds))])  # type: ignore[arg-type]


def seen_a_week(decision: Decision, seed: int, weeks: int = 4) -> float:
    alarms = sum(
        len(
            cluster_peaks(
                alarm_statistic(sound(1_000 * seed + week, int(WEEK_S)), AlarmRule(), decision.limits, 1.0), 1.0
            )[0]
        )
        for week in range(weeks)
    )
    return alarms / weeks


@pytest.mark.slow
def test_as_many_false_alarms_come_as_are_expected() -> None:
    decisions = [fit_decision(normal(seed, 3 * DAY_S)) for seed in range(12)]
    seen = [seen_a_week(decision, seed) for seed, decision in enumerate(decisions)]
    assert all(decision.rate.promised for decision in decisions)
    assert 0.3 < float(np.mean(seen)) < 3.0
    inside = [
        decision.rate.low_a_week - 0.5 <= rate <= decision.rate.high_a_week + 0.5  # type: ignore[operator]
        for decision, rate in zip(decisions, seen, strict=True)
    ]
    assert sum(inside) >= 10


def test_more_false_alarms_a_week_are_sooner_alarms() -> None:
    heard = normal(1, DAY_S)
    waits = [fit_decision(heard, wanted_a_week=wanted).limits.seconds_to_alarm(1.0) for wanted in (0.1, 1.0, 10.0)]
    assert waits == sorted(waits, reverse=True)  # type: ignore[type-var]
    assert len(set(waits)) == 3


def test_what_was_fitted_is_expected_again() -> None:
    heard = normal(2, DAY_S)
    decision = fit_decision(heard, wanted_a_week=2.0)
    again = expected_rate(heard, AlarmRule(), decision.limits, wanted_a_week=2.0)
    assert decision.rate.expected_a_week == pytest.approx(2.0, rel=1e-6)
    assert again.expected_a_week == pytest.approx(2.0, rel=0.5)


def test_the_same_scores_give_the_same_limits_however_they_are_cut() -> None:
    whole = sound(3, DAY_S)
    cut = NormalScores([ScoreSegment(float(start), part) for start, part in enumerate(np.split(whole, [70, 9_000]))])
    assert fit_decision(cut) == fit_decision(NormalScores([ScoreSegment(0.0, whole)]))


def test_frequent_false_alarms_of_the_on_delay_are_counted_not_extrapolated() -> None:
    heard = sound(4, DAY_S)
    rule = AlarmRule(decision="on_delay", on_delay_s=0)
    rate = expected_rate(NormalScores([ScoreSegment(0.0, heard)]), rule, None)
    counted = len(cluster_peaks(alarm_statistic(heard, rule, None, 1.0), 1.0)[0]) * 7
    assert counted > 100
    assert rate.expected_a_week == pytest.approx(counted, rel=0.05)
    assert rate.reason is not None
    assert "are wanted" in rate.reason


def test_less_than_a_day_is_not_promised() -> None:
    rate = fit_decision(normal(5, 8 * 3_600)).rate
    assert not rate.promised
    assert rate.reason == "8.0 hours of normal sound were scored; a promise needs 24: all hours of a day"
    assert rate.low_a_week is not None
    assert rate.high_a_week is not None
    assert rate.high_a_week > 3.0


def test_conditions_that_last_for_hours_are_not_promised_after_a_day() -> None:
    rate = fit_decision(normal(6, DAY_S, conditions=0.3, condition_s=7_200)).rate
    assert not rate.promised
    assert rate.reason is not None
    assert "conditions last so long" in rate.reason


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.random.default_rng(1).normal(size=3_000), "50 minutes of scored normal sound; 60 at least"),
        (np.zeros(4_000), "all scores are the same"),
        (np.concatenate([np.zeros(4_000), np.ones(1)]), "rise too seldom"),
    ],
)
def test_too_little_to_fit_is_refused_and_says_so(scores: Float64, message: str) -> None:
    heard = NormalScores([ScoreSegment(0.0, scores)])
    with pytest.raises(CalibrationError, match=message):
        fit_decision(heard)
    rate = expected_rate(heard, AlarmRule(), None)
    assert rate.expected_a_week is None
    assert rate.reason is not None
    assert not rate.promised


def test_a_score_that_is_no_number_is_no_score() -> None:
    with pytest.raises(ValueError, match="not a number"):
        fit_decision(NormalScores([ScoreSegment(0.0, np.full(4_000, np.nan))]))


def test_scores_between_two_times() -> None:
    heard = NormalScores([ScoreSegment(100.0, np.arange(10.0)), ScoreSegment(200.0, np.arange(5.0))])
    assert [(s.start_s, s.scores.tolist()) for s in heard.between(104.0, 202.0).segments] == [
        (104.0, [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
        (200.0, [0.0, 1.0]),
    ]
    assert heard.between(0.0, np.inf).heard_s == heard.heard_s
    assert heard.between(110.0, 200.0).segments == []
