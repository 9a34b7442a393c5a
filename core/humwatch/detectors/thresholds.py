"""Thresholds: limits of normal from the scores of held-out normal clips, with their expected false alarms.

Four ways, all of them reported, one of them used:

``student_t``
    A quantile of a Student t distribution fitted to the scores on a scale on which they scatter symmetrically, with
    the usual spread as prior (:mod:`humwatch.detectors.normal_level`). The default for any number of recordings.
``gamma``
    The upper quantile of a gamma distribution fitted to the scores (the DCASE convention). It extrapolates, so
    it works with few clips, and is only as good as the fit.
``conformal``
    Alarm when the conformal p-value is at most the rate: (1 + number of normal scores at least as high) / (n + 1),
    with n the number of recordings. Free of distribution; the promised rate is the mean over calibrations of this
    size.
``order_statistic``
    The lowest order statistic for which the rate is kept with 90 % confidence (a nonparametric tolerance
    limit, Wilks 1941). The strictest promise; it needs the most clips.

Clips cut from one recording, or its channels, are not independent: p-values, promises and intervals count recordings,
as if each of these had given the same share of scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import scipy.special
import scipy.stats
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Float64
from humwatch.detectors.consensus import DISTANCE_POWER, DISTANCE_SPREAD
from humwatch.detectors.normal_level import CONFIDENCE, DEGREES, NormalLevel, alarm_deviation, expected_rate
from humwatch.errors import CalibrationError

ThresholdMethod = Literal["student_t", "gamma", "conformal", "order_statistic"]
METHODS: tuple[ThresholdMethod, ...] = ("student_t", "gamma", "conformal", "order_statistic")
DEFAULT_METHOD: Final[ThresholdMethod] = "student_t"

Symmetry = Literal["distance", "logarithm", "identity", "alarm_units"]
"""Scale on which normal scores scatter symmetrically: a distance to the power 2/3, an error's logarithm, a likelihood
as it is; ``alarm_units`` are deviations over their own alarm level, which is 1 by construction."""

ERROR_SPREAD: Final = 0.1
"""Usual spread of the logarithm of a squared error, and of a negative log-likelihood, on normal clips."""

_BOOTSTRAPS = 400


class Threshold(BaseModel):
    """A level of the raw score, and how often normal sound is expected over it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: ThresholdMethod
    level: float = Field(description="raw score")
    target_rate: float = Field(description="share of normal clips over the level that was asked for")
    expected_rate: float = Field(description="share of normal clips over the level that is expected")
    rate_low: float = Field(description="lower end of the 90 % interval of the rate")
    rate_high: float = Field(description="upper end of the 90 % interval of the rate")
    clips_a_day: float = Field(description="clips that do not overlap in a day of running")
    promised: bool = Field(description="whether there were clips enough for the method to keep the target")

    @property
    def false_alarms_a_day(self) -> float:
        """Expected number of normal clips over the level in a day of running."""
        return self.expected_rate * self.clips_a_day


def conformal_p_value(normal_scores: Float64, score: float, recordings: int) -> float:
    """Return the share of normal scores at least as high, with the new one: (1 + n * share) / (n + 1), n recordings."""
    return (1.0 + recordings * float(np.mean(normal_scores >= score))) / (recordings + 1.0)


def fit_threshold(
    normal_scores: Float64,
    *,
    rate: float,
    method: ThresholdMethod,
    recordings: int,
    clip_seconds: float,
    symmetry: Symmetry = "distance",
    alarm_rate: float | None = None,
) -> Threshold:
    """Fit the level that ``rate`` of normal clips exceed.

    Args:
        normal_scores: float64 (n,), raw scores of normal clips that trained nothing.
        rate: share of normal clips that may exceed the level, in (0, 1).
        method: one of the four.
        recordings: number of independent recordings that the clips come from, at most n.
        clip_seconds: length of a clip, s.
        symmetry: scale on which the scores scatter symmetrically, for ``student_t``.
        alarm_rate: rate whose level is 1, of scores in ``alarm_units``; None where it is ``rate``.

    Raises:
        CalibrationError: fewer than two scores, or scores that are not finite.
    """
    scores = np.sort(np.asarray(normal_scores, np.float64))
    if len(scores) < 2 or not np.isfinite(scores).all():
        raise CalibrationError("two finite normal scores at least are needed for a threshold")
    if method == "student_t":
        level, expected, low, high, promised = _student_t(scores, rate, recordings, symmetry, alarm_rate or rate)
    else:
        fit = {"gamma": _gamma, "conformal": _conformal, "order_statistic": _order_statistic}[method]
        level, expected, low, high, promised = fit(scores, rate, recordings)
    return Threshold(
        method=method,
        level=level,
        target_rate=rate,
        expected_rate=expected,
        rate_low=low,
        rate_high=high,
        clips_a_day=86_400.0 / clip_seconds,
        promised=promised,
    )


def recordings_needed(rate: float, method: ThresholdMethod) -> int:
    """Return the number of independent normal recordings from which ``method`` can keep ``rate``.

    Fewer than ``1 / rate - 1`` never show the scores of that rate: a fitted distribution extrapolates.
    """
    if method == "order_statistic":
        return math.ceil(math.log(1.0 - CONFIDENCE) / math.log1p(-rate))
    return math.ceil(1.0 / rate - 1.0 - 1e-9)


_Fit = tuple[float, float, float, float, bool]


def _student_t(scores: Float64, rate: float, recordings: int, symmetry: Symmetry, alarm_rate: float) -> _Fit:
    level = _student_t_level(scores, rate, recordings, symmetry, alarm_rate)
    exceeding = recordings * float(np.mean(scores >= level))
    return level, *expected_rate(rate, recordings, exceeding), recordings >= recordings_needed(rate, "student_t")


def _student_t_level(scores: Float64, rate: float, recordings: int, symmetry: Symmetry, alarm_rate: float) -> float:
    if symmetry == "alarm_units":
        return alarm_deviation(rate, DEGREES) / alarm_deviation(alarm_rate, DEGREES)
    scale = _SCALES[symmetry]
    normal = NormalLevel.fit(scale.forward(scores), recordings=recordings, usual_spread=scale.usual_spread)
    return float(scale.back(np.array(normal.center + normal.alarm_deviation(rate) * normal.spread)))


class _Scale(NamedTuple):
    """Scale on which scores scatter symmetrically: both directions, and the usual spread on it."""

    forward: Callable[[Float64], Float64]
    back: Callable[[Float64], Float64]
    usual_spread: float


_LOWEST: Final = 1e-12
_SCALES: Final[dict[Symmetry, _Scale]] = {
    "distance": _Scale(
        lambda scores: np.maximum(scores, _LOWEST) ** DISTANCE_POWER,
        lambda values: np.maximum(values, _LOWEST) ** (1.0 / DISTANCE_POWER),
        DISTANCE_SPREAD,
    ),
    "logarithm": _Scale(lambda scores: np.log(np.maximum(scores, _LOWEST)), np.exp, ERROR_SPREAD),
    "identity": _Scale(lambda scores: scores, lambda values: values, ERROR_SPREAD),
}


def _gamma(scores: Float64, rate: float, recordings: int) -> _Fit:
    # A log-likelihood can be negative: then the distribution starts well below the lowest score.
    origin = 0.0 if scores[0] > 0 else float(scores[0] - 4.0 * scores.std() - 1e-6)
    shape, scale = _fit_gamma(scores - origin)
    level = origin + float(scipy.stats.gamma.isf(rate, shape, scale=scale))
    # Levels from other sets of as many recordings: a parametric bootstrap.
    rng = np.random.default_rng(0)
    again = np.array(
        [_fit_gamma(rng.gamma(shape, scale, max(2, recordings))) for _ in range(_BOOTSTRAPS)]
    )  # (bootstraps, 2)
    levels = scipy.stats.gamma.isf(rate, again[:, 0], scale=again[:, 1])
    rates = np.asarray(scipy.stats.gamma.sf(levels, shape, scale=scale))
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1.0 - tail])
    return level, float(rates.mean()), float(low), float(high), recordings >= recordings_needed(rate, "gamma")


def _fit_gamma(scores: Float64) -> tuple[float, float]:
    """Return shape and scale by maximum likelihood with location 0 (Minka's iteration, 2002)."""
    mean = float(scores.mean())
    gap = max(1e-9, math.log(mean) - float(np.log(np.maximum(scores, 1e-300)).mean()))
    shape = (3.0 - gap + math.sqrt((gap - 3.0) ** 2 + 24.0 * gap)) / (12.0 * gap)
    for _ in range(5):
        slope = math.log(shape) - float(scipy.special.digamma(shape)) - gap
        curvature = 1.0 / shape - float(scipy.special.polygamma(1, shape))
        shape = 1.0 / (1.0 / shape + slope / (shape**2 * curvature))
    return shape, mean / shape


def _conformal(scores: Float64, rate: float, recordings: int) -> _Fit:
    n = len(scores)
    over = math.floor(n * (rate * (recordings + 1) - 1.0) / recordings + 1e-9)
    rank = n - max(0, over)
    return *_at_rank(scores, rank, recordings), recordings >= recordings_needed(rate, "conformal")


def _order_statistic(scores: Float64, rate: float, recordings: int) -> _Fit:
    n = len(scores)
    for rank in range(1, n + 1):
        if scipy.stats.beta.ppf(CONFIDENCE, *_share_over(rank, n, recordings)) <= rate:
            return *_at_rank(scores, rank, recordings), True
    return *_at_rank(scores, n, recordings), False


def _at_rank(scores: Float64, rank: int, recordings: int) -> tuple[float, float, float, float]:
    """Return the level just over the ``rank``-th lowest score, and its rate with the interval."""
    a, b = _share_over(rank, len(scores), recordings)
    tail = (1.0 - CONFIDENCE) / 2
    low, high = (float(scipy.stats.beta.ppf(q, a, b)) for q in (tail, 1.0 - tail))
    return float(np.nextafter(scores[rank - 1], np.inf)), a / (a + b), low, high


def _share_over(rank: int, n: int, recordings: int) -> tuple[float, float]:
    """Return the parameters of the Beta distribution of the share of new scores over the ``rank``-th lowest of n.

    With fewer recordings than clips, the ranks are scaled to as many independent scores as there are recordings.
    """
    scaled = rank * (recordings / n)
    return recordings + 1 - scaled, scaled
