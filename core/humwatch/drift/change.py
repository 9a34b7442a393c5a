"""One change in a series of days: a step or a ramp, and the days on which it may have begun.

Least squares over all days of begin. The scale is that of the days' own wander about the fit, shrunk to what machines
usually have while the days are few; that a day resembles the one before widens every error (AR(1)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import stats

from humwatch.arrays import Bool, Float64, Int64

Shape = Literal["step", "ramp"]

MIN_BEFORE: Final = 1
MIN_AFTER: Final[dict[Shape, int]] = {"step": 3, "ramp": 7}
"""Least days behind the begin of a change: fewer may be weather."""
USUAL_DAYS: Final = 12
"""Days that the usual wander counts for."""
USUAL_LIKENESS: Final = 0.4
"""Usual correlation of a day with the one before."""
LIKENESS_DAYS: Final = 30
MOST_LIKENESS: Final = 0.9
INTERVAL_LOSS: Final = 7.35
"""Twice the log-likelihood that a begin may lose and stay in the 95 % interval (argmax of a two-sided random walk with
drift, not chi-square: Yao, "Approximating the distribution of the maximum likelihood estimate of the change-point",
Annals of Statistics 15, 1987)."""


@dataclass(frozen=True)
class Fits:
    """Fits of one shape for each day of begin and each column.

    Attributes:
        shape: shape.
        begins: int64 (m,), index of the first changed day.
        curvature: float64 (m,), sum of squares of the shape about its mean.
        shifts: float64 (m, columns), from before to the last day.
        losses: float64 (m, columns), squared error that is left.
    """

    shape: Shape
    begins: Int64
    curvature: Float64
    shifts: Float64
    losses: Float64

    @staticmethod
    def of(values: Float64, shape: Shape) -> Fits:
        """Fit float64 (days, columns)."""
        n = len(values)
        begins = np.arange(MIN_BEFORE, n - MIN_AFTER[shape] + 1)
        after = (n - begins).astype(np.float64)
        centred = values - values.mean(axis=0)
        tails = np.cumsum(centred[::-1], axis=0)[::-1]  # sum from each day on
        if shape == "step":
            product, total, squares = tails[begins], after, after
        else:
            product = np.cumsum(tails[::-1], axis=0)[::-1][begins] / after[:, None]
            total, squares = (after + 1) / 2, (after + 1) * (2 * after + 1) / (6 * after)
        curvature = squares - total**2 / n
        shifts = product / curvature[:, None]
        losses = (centred**2).sum(axis=0) - product * shifts
        return Fits(shape, begins, curvature, shifts, np.maximum(losses, 0.0))


@dataclass(frozen=True)
class Changes:
    """Changes of columns, each by its own best fit.

    Attributes:
        fits: fits of both shapes that the days suffice for; none with too few.
        shifts: float64 (columns,), of the best fit of each.
        strengths: float64 (columns,), shift over its error.
        spreads: float64 (columns,), spread of a day about the fit.
        widening: factor of variances of means, for days that resemble each other.
        freedom: degrees of freedom of the spreads.
    """

    fits: tuple[Fits, ...]
    shifts: Float64
    strengths: Float64
    spreads: Float64
    widening: float
    freedom: float

    @staticmethod
    def of(values: Float64, usual_spread: Float64) -> Changes:
        """Find the change of each column of float64 (days, columns).

        Args:
            values: value of each day.
            usual_spread: float64 (columns,), spread of days that machines usually have.
        """
        n, columns = values.shape
        fits = tuple(Fits.of(values, shape) for shape in MIN_AFTER if n >= MIN_BEFORE + MIN_AFTER[shape])
        if not fits:
            nothing = np.zeros(columns)
            return Changes((), nothing, nothing, usual_spread, 1.0, USUAL_DAYS)
        losses = np.concatenate([fit.losses for fit in fits])
        shifts = np.concatenate([fit.shifts for fit in fits])
        curvature = np.concatenate([fit.curvature for fit in fits])
        best, every = losses.argmin(axis=0), np.arange(columns)
        freedom = float(USUAL_DAYS + max(n - 3, 0))
        spreads = np.sqrt((USUAL_DAYS * usual_spread**2 + losses[best, every]) / freedom)
        widening = _widening(_residuals(values, fits, best) / spreads)
        shift = shifts[best, every]
        return Changes(fits, shift, shift * np.sqrt(curvature[best] / widening) / spreads, spreads, widening, freedom)

    def limit(self, rate: float) -> float:
        """Return the strength that no change exceeds but with probability ``rate``, all columns together."""
        return float(stats.t.isf(rate / (2 * max(1, len(self.shifts))), self.freedom))

    def curvature_at(self, begin: Begin) -> float:
        """Return the sum of squares of the shape of a change about its mean."""
        (fit,) = (fit for fit in self.fits if fit.shape == begin.shape)
        return float(fit.curvature[begin.row])

    def begin(self, columns: Bool) -> Begin:
        """Return when these columns changed together: the mean of their losses decides, as if they were one."""
        weights = 1.0 / (self.spreads[columns] ** 2 * self.widening)
        losses = [(fit.losses[:, columns] * weights).mean(axis=1) for fit in self.fits]
        lowest = min(float(loss.min()) for loss in losses)
        fit, loss = min(zip(self.fits, losses, strict=True), key=lambda pair: float(pair[1].min()))
        near = np.concatenate(
            [each.begins[loss <= lowest + INTERVAL_LOSS] for each, loss in zip(self.fits, losses, strict=True)]
        )
        row = int(loss.argmin())
        return Begin(fit.shape, int(fit.begins[row]), int(near.min()), int(near.max()), row)


@dataclass(frozen=True)
class Begin:
    """Begin of a change: indices of the first changed day, the likeliest, and the first and last of the interval."""

    shape: Shape
    day: int
    first: int
    last: int
    row: int


def shifts_at(values: Float64, begin: Begin) -> Float64:
    """Return the shift of each column of float64 (days, columns) for a change that began then: float64 (columns,)."""
    shifts: Float64 = Fits.of(values, begin.shape).shifts[begin.row]
    return shifts


def _residuals(values: Float64, fits: tuple[Fits, ...], best: Int64) -> Float64:
    n = len(values)
    days = np.arange(n)
    shapes, shifts = [], []
    for fit in fits:
        ahead = days - fit.begins[:, None] + 1.0
        shape = (ahead > 0).astype(np.float64)
        shapes.append(shape if fit.shape == "step" else shape * ahead / (n - fit.begins[:, None]))
        shifts.append(fit.shifts)
    fitted = np.concatenate(shapes)[best].T * np.concatenate(shifts)[best, np.arange(values.shape[1])]
    left = values - fitted
    residuals: Float64 = left - left.mean(axis=0)
    return residuals


def _widening(residuals: Float64) -> float:
    """Return how much wider a mean is spread than that of as many independent days."""
    n = len(residuals)
    power = float((residuals**2).sum())
    own = float((residuals[1:] * residuals[:-1]).sum()) / power if power > 0 else 0.0
    likeness = (n * own + LIKENESS_DAYS * USUAL_LIKENESS) / (n + LIKENESS_DAYS)
    likeness = min(max(likeness, 0.0), MOST_LIKENESS)
    return (1 + likeness) / (1 - likeness)
