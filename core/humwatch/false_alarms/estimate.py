"""Estimate of the false alarms a week from scores of normal sound, and the fit of limits that keep to a wanted number.

A rule's statistic reaches 1 where it raises an alarm. Its clusters over a high level are counted, and their peaks
exceed it by an exponential distribution (peaks over threshold): so rates far below one in the sound that was heard can
be told. How sure that is, three things say:

- a Bayesian bootstrap of blocks of time (Rubin 1981), which are longer than scores depend on each other;
- what was not heard: a machine has been in so many independent conditions, and the scale of the next one is uncertain
  as by a Student t distribution with as many degrees of freedom;
- limits are set where the *mean* of that posterior is the wanted number: a short hearing makes them higher.

Coverage on simulated weeks: ``docs/false-alarms.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import CAP, Chart, SequentialLimits
from humwatch.arrays import Float64
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch.false_alarms.scores import NormalScores
from humwatch.false_alarms.statistic import alarm_statistic, chart_statistic, cluster_peaks, sequential_statistic

WEEK_S: Final = 604_800.0
TIME_CONSTANTS_S: Final = (5.0, 20.0, 80.0, 300.0)
"""Averages from seconds to minutes, each four times as patient as the one before."""
MIN_HEARD_S: Final = 3_600.0
"""Scored sound from which limits can be fitted at all."""
PROMISED_FROM_S: Final = 86_400.0
"""Scored sound from which a promise can be made: all hours of a day."""
PROMISED_FROM_BLOCKS: Final = 30
"""Independent stretches that a promise asks for: with fewer, conditions that come seldom were not heard."""
CLUSTERS: Final = 30
"""Clusters that the tail is fitted to."""
MIN_CLUSTERS: Final = 5
DRAWS: Final = 500
INTERVAL: Final = (0.05, 0.95)
_SEED: Final = 20_210
"""Seed of the draws: the same scores give the same limits."""
_BISECTIONS: Final = 30


def fit_decision(scores: NormalScores, *, wanted_a_week: float = 1.0) -> Decision:
    """Fit the limits of the sequential rule to scores of normal sound that the version was not fitted to.

    Each chart gets an equal share of the false alarms at first; as they often alarm together, all limits are then moved
    by one factor until the rule as a whole is expected to raise ``wanted_a_week``.

    Args:
        scores: normalised clip scores of normal live sound.
        wanted_a_week: false alarms a week, running day and night.

    Raises:
        CalibrationError: less than an hour of scores, or scores that hardly differ.

    Example:
        >>> import numpy as np
        >>> from humwatch.false_alarms.estimate import fit_decision
        >>> from humwatch.false_alarms.scores import NormalScores, ScoreSegment
        >>> normal = np.random.default_rng(1).normal(0.0, 0.3, size=86_400)
        >>> decision = fit_decision(NormalScores([ScoreSegment(0.0, normal)]), wanted_a_week=1.0)
        >>> decision.rate.promised, round(decision.rate.expected_a_week, 1)
        (True, 1.0)
    """
    heard = _heard(scores)
    share = wanted_a_week / len(TIME_CONSTANTS_S)
    charts = tuple(_chart(heard, tau_s, share, scores.step_s) for tau_s in TIME_CONSTANTS_S)
    posterior = _Posterior.of(
        heard, sequential_statistic(heard, SequentialLimits(charts=charts), scores.step_s), scores
    )
    factor = posterior.level(wanted_a_week)
    limits = SequentialLimits(
        charts=tuple(Chart(time_constant_s=c.time_constant_s, limit=factor * c.limit) for c in charts)
    )
    return Decision(limits=limits, rate=posterior.rate(factor, wanted_a_week))


def expected_rate(
    scores: NormalScores, rule: AlarmRule, limits: SequentialLimits | None, *, wanted_a_week: float = 1.0
) -> FalseAlarmRate:
    """Estimate the false alarms a week that a rule raises on sound like this.

    Args:
        scores: normalised clip scores of normal live sound.
        rule: rule of the machine.
        limits: limits of the version; None for one that has none, which the on-delay decides.
        wanted_a_week: false alarms a week that were asked for.
    """
    try:
        heard = _heard(scores)
        posterior = _Posterior.of(heard, alarm_statistic(heard, rule, limits, scores.step_s), scores)
    except CalibrationError as error:
        return FalseAlarmRate(
            wanted_a_week=wanted_a_week,
            expected_a_week=None,
            low_a_week=None,
            high_a_week=None,
            heard_s=scores.heard_s,
            blocks=0,
            promised=False,
            reason=str(error),
        )
    return posterior.rate(1.0, wanted_a_week)


def _heard(scores: NormalScores) -> Float64:
    """Return all scores in one series, float64 (n,): evidence stands still between segments, as it does live."""
    if scores.heard_s < MIN_HEARD_S:
        raise CalibrationError(
            f"{scores.heard_s / 60:.0f} minutes of scored normal sound; {MIN_HEARD_S / 60:.0f} at least are needed"
        )
    heard = np.concatenate([np.asarray(segment.scores, np.float64) for segment in scores.segments])
    if not np.isfinite(heard).all():
        raise ValueError("a score is not a number")
    if float(np.ptp(heard)) <= 1e-6:
        raise CalibrationError("all scores are the same: nothing can be told of their tail")
    return heard


def _chart(heard: Float64, tau_s: float, wanted_a_week: float, step_s: float) -> Chart:
    """Return a chart with the limit at which it alone is expected to raise so many alarms a week."""
    highest = max(float(heard.max()), 1e-3)
    limit = highest
    for cap in (highest, None):  # the cap belongs to the limit: first without it, then with it
        trial = Chart(time_constant_s=tau_s, limit=limit if cap is None else cap)
        statistic = chart_statistic(heard, trial, step_s)
        tail = _Tail.of(statistic, len(heard) * step_s)
        limit = trial.limit * max(tail.level(wanted_a_week / WEEK_S), 1 / CAP)
    return Chart(time_constant_s=tau_s, limit=limit)


@dataclass(frozen=True)
class _Tail:
    """Exponential tail of the peaks of clusters.

    Attributes:
        over: level that clusters are over.
        peaks: float64 (clusters,), their peaks.
        starts: int64 (clusters,), where each begins.
        heard_s: length of the sound, seconds.
    """

    over: float
    peaks: Float64
    starts: Float64
    heard_s: float

    @staticmethod
    def of(statistic: Float64, heard_s: float) -> _Tail:
        """Return the tail of the highest clusters; over 1 where there are enough: then nothing is extrapolated."""
        low, high = max(float(np.median(statistic)), 1e-6), float(statistic.max())
        if len(cluster_peaks(statistic, 1.0)[0]) >= CLUSTERS:
            low = high = 1.0
        for _ in range(_BISECTIONS if high > low else 0):
            middle = (low + high) / 2
            enough = len(cluster_peaks(statistic, middle)[0]) >= CLUSTERS
            low, high = (middle, high) if enough else (low, middle)
        peaks, starts = cluster_peaks(statistic, low)
        if len(peaks) < MIN_CLUSTERS:
            raise CalibrationError(
                "the scores rise too seldom to tell how often they will: hear the machine for longer"
            )
        return _Tail(low, peaks, starts.astype(np.float64), heard_s)

    def level(self, rate_hz: float) -> float:
        """Return the level that is passed with a rate, events a second."""
        excess = float((self.peaks - self.over).mean())
        return self.over + excess * float(np.log(max(1.0, len(self.peaks) / self.heard_s / rate_hz)))


@dataclass(frozen=True)
class _Posterior:
    """Draws of the rate at which a statistic passes a level.

    Attributes:
        over: level that clusters are counted over.
        rates_a_week: float64 (draws,), rate of clusters over it.
        excess: float64 (draws,), mean by which their peaks exceed it.
        scale: float64 (draws,), scale of what was heard over that of what will be.
        heard_s: length of the sound, seconds.
        independent: number of stretches of it that count as independent.
    """

    over: float
    rates_a_week: Float64
    excess: Float64
    scale: Float64
    heard_s: float
    independent: int

    @staticmethod
    def of(heard: Float64, statistic: Float64, scores: NormalScores) -> _Posterior:
        """Draw from what the clusters of a statistic say."""
        heard_s = scores.heard_s
        tail = _Tail.of(statistic, heard_s)
        dependence_s = _dependence_s(heard, scores.step_s)
        block_s = float(np.clip(3 * dependence_s, 600.0, heard_s / 12))
        blocks = int(np.ceil(heard_s / block_s))
        block_of = (tail.starts * scores.step_s // block_s).astype(np.int64)
        counts = np.bincount(block_of, minlength=blocks).astype(np.float64)
        excesses = np.bincount(block_of, weights=tail.peaks - tail.over, minlength=blocks)
        random = np.random.default_rng(_SEED)
        weights = random.exponential(size=(DRAWS, blocks))
        weights /= weights.mean(axis=1, keepdims=True)
        found = weights @ counts
        freedom = max(2.0, heard_s / dependence_s)
        return _Posterior(
            over=tail.over,
            rates_a_week=found / heard_s * WEEK_S,
            excess=weights @ excesses / found,
            scale=np.sqrt(random.chisquare(freedom, size=DRAWS) / freedom),
            heard_s=heard_s,
            independent=int(freedom),
        )

    def draws(self, level: float) -> Float64:
        """Return the rates a week at which the level is passed, float64 (draws,)."""
        if level <= self.over:  # it was passed as often as was counted
            return self.rates_a_week
        rates: Float64 = self.rates_a_week * np.exp(-(level * self.scale - self.over) / self.excess)
        return rates

    def level(self, wanted_a_week: float) -> float:
        """Return the level that is expected to be passed so often."""
        low, high = self.over, self.over + 100.0 * float(self.excess.max())
        if float(self.draws(low).mean()) <= wanted_a_week:
            return low
        for _ in range(2 * _BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.draws(middle).mean() > wanted_a_week else (low, middle)
        return high

    def rate(self, level: float, wanted_a_week: float) -> FalseAlarmRate:
        """Return what is expected at a level."""
        draws = self.draws(level)
        low, high = np.quantile(draws, INTERVAL)
        expected = float(draws.mean())
        reason = self._shortcoming(expected, wanted_a_week)
        return FalseAlarmRate(
            wanted_a_week=wanted_a_week,
            expected_a_week=expected,
            low_a_week=float(low),
            high_a_week=float(high),
            heard_s=self.heard_s,
            blocks=self.independent,
            promised=reason is None,
            reason=reason,
        )

    def _shortcoming(self, expected: float, wanted_a_week: float) -> str | None:
        if self.heard_s < PROMISED_FROM_S:
            return (
                f"{self.heard_s / 3_600:.1f} hours of normal sound were scored; a promise needs"
                f" {PROMISED_FROM_S / 3_600:.0f}: all hours of a day"
            )
        if self.independent < PROMISED_FROM_BLOCKS:
            return (
                f"its conditions last so long that {self.heard_s / 3_600:.0f} hours of sound count as"
                f" {self.independent} independent stretches; a promise needs {PROMISED_FROM_BLOCKS}"
            )
        if expected > 1.01 * wanted_a_week:
            return f"{expected:.3g} a week are expected of this rule, {wanted_a_week:g} are wanted"
        return None


def _dependence_s(heard: Float64, step_s: float) -> float:
    """Return how long scores depend on each other: the integrated autocorrelation time of their minutes, seconds."""
    per_minute = max(1, round(60.0 / step_s))
    minutes = len(heard) // per_minute
    means = heard[: minutes * per_minute].reshape(minutes, per_minute).mean(axis=1)
    means = means - means.mean()
    power = float(means @ means)
    if power <= 0:
        return 60.0
    spectrum = np.fft.rfft(means, 2 * minutes)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[:minutes] / power
    total = 1.0
    for value in correlation[1 : max(2, minutes // 4)]:
        if value < 0.05:
            break
        total += 2.0 * float(value)
    return 60.0 * total
