"""Level of normal scores: one rule for its limit, whatever the number of recordings.

Scores of normal clips are brought to a scale on which they scatter symmetrically, and are taken for draws from a
Student t distribution, whose heavy tails allow for a normal clip that is odd. Centre and spread are fitted by maximum
likelihood; the spread that machines usually have counts as a few recordings more, so that three recordings that happen
to agree do not make a level that the fourth exceeds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import scipy.stats
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Float64

PRIOR_RECORDINGS: Final = 4.0
"""Recordings that the usual spread counts for."""

DEGREES: Final = 4.0
"""Degrees of freedom of distances between profiles: a tail as heavy as that of held-out normal clips."""

CONFIDENCE: Final = 0.9
"""Confidence of the interval of a rate."""

_ITERATIONS: Final = 60
_WITHIN_A_CLIP: Final = 1e-9
_DRAWS: Final = 1000
_UNLIKE: Final = (0.3, 1.0)
"""Mean and standard deviation of the logarithm of a machine's rate over that of any such distribution: conditions that
are not in the calibration, statistics of few clips. From held-out normal clips of toy cars and a slider."""
_TAILS: Final = (2.5, 4.0, 8.0, 30.0)
"""Degrees of freedom that normal scores may turn out to have, equally likely before any is seen."""


class NormalLevel(BaseModel):
    """Centre and spread of a score on normal clips.

    ``degrees`` are the degrees of freedom of the Student t distribution that they are fitted by; ``spread`` is its
    scale, which is below the standard deviation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: float = Field(description="where the middle of normal clips lies")
    spread: float = Field(gt=0, description="scale of the Student t distribution around it")
    degrees: float = Field(gt=0, description="its degrees of freedom")

    def deviation(self, value: float) -> float:
        """Return the distance of a score from the centre, in spreads."""
        return (value - self.center) / self.spread

    def deviations(self, values: Float64) -> Float64:
        """Return the distances of scores from the centre, in spreads: float64, in the shape of ``values``."""
        return (values - self.center) / self.spread

    def alarm_deviation(self, rate: float) -> float:
        """Return the distance that a share of ``rate`` of normal clips exceeds, in spreads."""
        return alarm_deviation(rate, self.degrees)

    @staticmethod
    def fit(values: Float64, *, recordings: int, usual_spread: float, degrees: float = DEGREES) -> NormalLevel:
        """Fit to scores of normal clips, each measured with statistics of the other recordings.

        Args:
            values: float64 (n,), scores on a scale on which they scatter symmetrically.
            recordings: number of independent recordings that the clips are from, at most n.
            usual_spread: spread that such a score usually has, which counts as ``PRIOR_RECORDINGS``.
            degrees: degrees of freedom of the Student t distribution.
        """
        center, spread = _fit(np.asarray(values, np.float64)[None], recordings, usual_spread, degrees)
        return NormalLevel(center=float(center[0]), spread=float(spread[0]), degrees=degrees)


class ExpectedRate(NamedTuple):
    """Share of normal clips that is expected over a level, with an interval of 90 %."""

    expected: float
    low: float
    high: float


def alarm_deviation(rate: float, degrees: float) -> float:
    """Return the quantile of a Student t distribution that a share of ``rate`` exceeds."""
    return float(scipy.stats.t.isf(rate, degrees))


def expected_rate(rate: float, recordings: int, exceeding: float) -> ExpectedRate:
    """Return the rate that is expected over a level that was fitted for ``rate``.

    Sets of as many recordings are drawn from distributions with light and heavy tails, a level is fitted to each as
    :meth:`NormalLevel.fit` does, and each set counts for as much as its true rate explains that ``exceeding`` of the
    calibration's own recordings lie over the level (importance sampling of a Bayesian posterior).

    Args:
        rate: share of normal clips that the level was fitted for, in (0, 1).
        recordings: number of independent recordings that the level was fitted to.
        exceeding: recordings among them that exceed it, each measured by the others; clips of one recording count
            as parts of it.
    """
    drawn = _rates_over_levels(rate, recordings)
    likelihood = exceeding * np.log(np.maximum(drawn, 1e-12)) + (recordings - exceeding) * np.log1p(-drawn)
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    return ExpectedRate(float(weights @ drawn), *_shortest_interval(drawn, weights))


@lru_cache(maxsize=64)
def _rates_over_levels(rate: float, recordings: int) -> Float64:
    """Return the true rates over levels that were fitted to sets of as many recordings: float64 (draws,), ascending."""
    rng = np.random.default_rng(20211017)
    multiple = alarm_deviation(rate, DEGREES)
    rates = []
    for degrees in _TAILS:
        scale = float(scipy.stats.t.ppf(0.75, DEGREES) / scipy.stats.t.ppf(0.75, degrees))
        scores = scale * rng.standard_t(degrees, (_DRAWS, recordings))
        center, spread = _fit(scores, recordings, 1.0, DEGREES)
        rates.append(scipy.stats.t.sf((center + multiple * spread) / scale, degrees))
    sets = np.concatenate(rates)
    return np.sort(np.minimum(sets * np.exp(rng.normal(*_UNLIKE, len(sets))), 0.5))


def _shortest_interval(values: Float64, weights: Float64) -> tuple[float, float]:
    """Return the shortest interval of ascending values (n,) with ``CONFIDENCE`` of their weights (n,), which sum to 1.

    A rate that is likeliest to be next to nothing gets an interval from 0 on.
    """
    reached = np.cumsum(weights)
    first = np.flatnonzero(reached - weights <= 1.0 - CONFIDENCE)
    last = np.minimum(np.searchsorted(reached, reached[first] - weights[first] + CONFIDENCE), len(values) - 1)
    low = np.where(first == 0, 0.0, values[first])
    lengths = values[last] - low
    # draws are few at the ends: an interval from 0 on is taken where it is about as short as any
    best = 0 if lengths[0] <= 1.05 * lengths.min() else int(np.argmin(lengths))
    return float(low[best]), float(values[last[best]])


def _fit(values: Float64, recordings: int, usual_spread: float, degrees: float) -> tuple[Float64, Float64]:
    """Fit several sets of scores at once, float64 (sets, n), by expectation maximisation: centre and spread, (sets,).

    In each round a score weighs the less the further out it lies (Lange, Little and Taylor, 1989).
    """
    share = recordings / values.shape[1]
    center = np.median(values, axis=1)
    spread = np.maximum(1.4826 * np.median(np.abs(values - center[:, None]), axis=1), _WITHIN_A_CLIP)
    for _ in range(_ITERATIONS):
        weights = (degrees + 1.0) / (degrees + ((values - center[:, None]) / spread[:, None]) ** 2)
        center = (weights * values).sum(axis=1) / weights.sum(axis=1)
        squares = (weights * (values - center[:, None]) ** 2).sum(axis=1)
        spread = np.sqrt((share * squares + PRIOR_RECORDINGS * usual_spread**2) / (recordings - 1 + PRIOR_RECORDINGS))
    return center, spread
