"""Detection rate of a fault at each severity, and the severities from which on half and nine tenths are detected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.stats

from humwatch.arrays import Bool, Float64, Int64
from humwatch.detectors.detector_set import DetectorName

CrossingStatus = Literal["reached", "at_or_below_lowest", "not_reached", "always"]

BOOTSTRAPS: Final = 1_000
CONFIDENCE: Final = 0.9
MARGIN: Final = 0.05


@dataclass(frozen=True)
class Crossing:
    """The severity from which on a share of the clips is detected.

    Attributes:
        share: share of the clips.
        severity: severity in the fault's unit; None unless ``status`` is ``reached`` or ``at_or_below_lowest``.
        status: kind of the result. ``reached``: interpolated between two severities of the grid;
            ``at_or_below_lowest``: as many are detected at the lowest already; ``not_reached``: fewer are at the
            highest that could be measured; ``always``: as many untouched clips are over the level.
        low: lower bound of the bootstrap interval; None where it lies at or below the lowest severity.
        high: upper bound of the bootstrap interval; None where it is not reached.
    """

    share: float
    severity: float | None
    status: CrossingStatus
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RateEstimate:
    """Share of clips over a level, with an exact interval of 90 % (Clopper and Pearson, 1934).

    The interval takes clips for independent: those of one recording make it too narrow.
    """

    rate: float
    low: float
    high: float

    @staticmethod
    def of(count: int, clips: int) -> RateEstimate:
        """Estimate from ``count`` of ``clips``, at least 1."""
        interval = scipy.stats.binomtest(count, clips).proportion_ci(CONFIDENCE, method="exact")
        return RateEstimate(count / clips, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class DetectionCurve:
    """Scores of some clips with a fault, severity by severity.

    Attributes:
        severities: severities of the grid, float64 (severities,), ascending.
        scores: normalised scores, float64 (clips, severities); infinite where the sweep could tell without scoring,
            NaN where the clip cannot hold the fault.
        recordings: number of the recording that each clip was cut from, int64 (clips,).
        detectors: name of the detector that decided each score, object (clips, severities); None where there is no
            score or no detector is known, and in place of the array where that holds throughout.
    """

    severities: Float64
    scores: Float64
    recordings: Int64
    detectors: npt.NDArray[np.object_] | None = None

    @property
    def holding(self) -> Int64:
        """Number of clips that can hold the fault at each severity: int64 (severities,)."""
        counts: Int64 = np.sum(~np.isnan(self.scores), axis=0)
        return counts

    @property
    def measured(self) -> Bool:
        """Severities at which clips were scored, and not taken as (un)detected: bool (severities,)."""
        return np.asarray(np.any(np.isfinite(self.scores), axis=0))

    @property
    def usable(self) -> Bool:
        """Severities that half of the clips or more can hold: bool (severities,)."""
        return 2 * self.holding >= len(self.scores)

    def rates(self, threshold: float) -> Float64:
        """Return the share scoring ``threshold`` or more of the clips that can hold the fault; NaN where few can."""
        return np.where(self.usable, self._rates(threshold, np.ones((1, len(self.scores))))[0], np.nan)

    def share_detected(self, threshold: float) -> float | None:
        """Return the mean of :meth:`rates` over the severities that half of the clips can hold; None without any."""
        rates = self.rates(threshold)[self.usable]
        return float(rates.mean()) if rates.size else None

    def detections_by(self, threshold: float) -> dict[DetectorName, int]:
        """Return the number of scores at ``threshold`` or above that each detector decided, the most first.

        Detections that the sweep could tell without scoring are not counted.
        """
        if self.detectors is None:
            return {}
        deciding = self.detectors[np.isfinite(self.scores) & (self.scores >= threshold)]
        return dict(Counter(name for name in deciding if name is not None).most_common())

    def crossing(self, threshold: float, share: float, normal_scores: Float64, *, seed: int = 0) -> Crossing:
        """Return the severity from which on ``share`` of the clips score ``threshold`` or more, with its interval.

        The bootstrap interval (percentile, 90 %) draws whole recordings: clips of one are not independent.

        Args:
            threshold: normalised score of a detection.
            share: share of the clips.
            normal_scores: scores of the untouched clips, float64 (clips,).
            seed: seed of the bootstrap.
        """
        if not self.usable.any():
            return Crossing(share, None, "not_reached", None, None)
        severity = self._crossed(self._rates(threshold, np.ones((1, len(self.scores)))), share)[0]
        if np.mean(normal_scores >= threshold) >= share:
            return Crossing(share, None, "always", None, None)
        drawn = self._crossed(self._rates(threshold, self._draws(seed)), share)
        tail = (1.0 - CONFIDENCE) / 2
        low, high = (float(np.quantile(drawn, q, method="inverted_cdf")) for q in (tail, 1.0 - tail))
        return Crossing(share, *self._described(float(severity)), _finite(low), _finite(high))

    def _described(self, severity: float) -> tuple[float | None, CrossingStatus]:
        if severity == np.inf:
            return None, "not_reached"
        if severity == -np.inf:
            return float(self.severities[self.usable][0]), "at_or_below_lowest"
        return severity, "reached"

    def _draws(self, seed: int) -> Float64:
        """Return the number of times that each clip is in each bootstrap sample: float64 (BOOTSTRAPS, clips)."""
        names, group = np.unique(self.recordings, return_inverse=True)
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), BOOTSTRAPS)
        return counts[:, group].astype(np.float64)

    def _rates(self, threshold: float, weights: Float64) -> Float64:
        """Return detection rates of weighted samples: float64 (samples, severities); 0 where no clip can hold it."""
        held = ~np.isnan(self.scores)
        counted = weights @ held
        detected = weights @ (held & (self.scores >= threshold))
        return np.divide(detected, counted, out=np.zeros_like(counted), where=counted > 0)

    def _crossed(self, rates: Float64, share: float) -> Float64:
        """Return the severities from which on samples stay at ``share``: float64 (samples,), infinite off the grid."""
        severities, rates = self.severities[self.usable], rates[:, self.usable]
        short = rates < share - 1e-9
        found = np.full(len(rates), -np.inf)
        for i, row in enumerate(short):
            if row.any():
                last = int(np.flatnonzero(row)[-1])
                found[i] = np.inf if last + 1 == len(row) else _between(severities, rates[i], last, share)
        return found


def _between(severities: Float64, rates: Float64, last: int, share: float) -> float:
    part = (share - rates[last]) / (rates[last + 1] - rates[last])
    return float(severities[last] + part * (severities[last + 1] - severities[last]))


def _finite(severity: float) -> float | None:
    return severity if np.isfinite(severity) else None


def just_above(normal_scores: Float64) -> float:
    """Return a threshold over the highest untouched clip by a twentieth of its distance to the median.

    Without that margin the highest clip is detected with anything mixed into it.
    """
    highest = float(normal_scores.max())
    return max(highest + MARGIN * (highest - float(np.median(normal_scores))), float(np.nextafter(highest, np.inf)))
