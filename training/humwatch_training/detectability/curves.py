"""How often a fault is detected at each severity, and from which severity on half and nine tenths are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.stats

from humwatch.detectors.detector_set import DetectorName

Float64 = npt.NDArray[np.float64]

CrossingStatus = Literal["reached", "at_or_below_lowest", "not_reached", "always"]

BOOTSTRAPS: Final = 1_000
CONFIDENCE: Final = 0.9
MARGIN: Final = 0.05


@dataclass(frozen=True)
class Crossing:
    """The severity from which on a share of the clips is detected.

    Attributes:
        share: of the clips.
        severity: in the fault's unit; None unless ``status`` is ``reached`` or ``at_or_below_lowest``.
        status: ``reached``: interpolated between two severities of the grid; ``at_or_below_lowest``: as many are
            detected at the lowest already; ``not_reached``: fewer are at the highest that could be measured;
            ``always``: as many untouched clips are over the level.
        low: of the bootstrap interval; None where it lies at or below the lowest severity.
        high: of the bootstrap interval; None where it is not reached.
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
    """What became of some clips with a fault, severity by severity.

    Attributes:
        severities: float64 (severities,), ascending.
        scores: float64 (clips, severities), normalised; infinite where the sweep could tell without scoring, NaN
            where the clip cannot hold the fault.
        recordings: int64 (clips,), which recording each was cut from.
        detectors: object (clips, severities), name of the detector that decided each score; None where there is no
            score, or nobody noted it. None where that holds throughout.
    """

    severities: Float64
    scores: Float64
    recordings: npt.NDArray[np.int64]
    detectors: npt.NDArray[np.object_] | None = None

    @property
    def holding(self) -> npt.NDArray[np.int64]:
        """How many clips can hold the fault at each severity: int64 (severities,)."""
        counts: npt.NDArray[np.int64] = np.sum(~np.isnan(self.scores), axis=0)
        return counts

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Whether clips were scored at each severity, and not taken as (un)detected: bool (severities,)."""
        return np.asarray(np.any(np.isfinite(self.scores), axis=0))

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Severities that half of the clips or more can hold: bool (severities,)."""
        return 2 * self.holding >= len(self.scores)

    def rates(self, threshold: float) -> Float64:
        """Share of the clips that can hold it which score ``threshold`` or more; NaN where few can."""
        return np.where(self.usable, self._rates(threshold, np.ones((1, len(self.scores))))[0], np.nan)

    def share_detected(self, threshold: float) -> float | None:
        """Mean of :meth:`rates` over the severities that half of the clips can hold; None where there are none."""
        rates = self.rates(threshold)[self.usable]
        return float(rates.mean()) if rates.size else None

    def detections_by(self, threshold: float) -> dict[DetectorName, int]:
        """How many of the scores at ``threshold`` or above each detector decided, the most first.

        Detections that the sweep could tell without scoring are not counted.
        """
        if self.detectors is None:
            return {}
        deciding = self.detectors[np.isfinite(self.scores) & (self.scores >= threshold)]
        return dict(Counter(name for name in deciding if name is not None).most_common())

    def crossing(self, threshold: float, share: float, normal_scores: Float64, *, seed: int = 0) -> Crossing:
        """From which severity on ``share`` of the clips score ``threshold`` or more, with a bootstrap interval.

        The interval (percentile, 90 %) draws whole recordings: clips of one are not independent.

        Args:
            threshold: normalised score of a detection.
            share: of the clips.
            normal_scores: float64 (clips,), of the untouched clips.
            seed: of the bootstrap.
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
        """How often each clip is in each bootstrap sample: float64 (BOOTSTRAPS, clips)."""
        names, group = np.unique(self.recordings, return_inverse=True)
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), BOOTSTRAPS)
        return counts[:, group].astype(np.float64)

    def _rates(self, threshold: float, weights: Float64) -> Float64:
        """Detection rate in each weighted sample of clips: float64 (samples, severities); 0 where none can hold it."""
        held = ~np.isnan(self.scores)
        counted = weights @ held
        detected = weights @ (held & (self.scores >= threshold))
        return np.divide(detected, counted, out=np.zeros_like(counted), where=counted > 0)

    def _crossed(self, rates: Float64, share: float) -> Float64:
        """Severity from which on each sample stays at ``share`` or more: float64 (samples,), infinite off the grid."""
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
    """A threshold that no untouched clip reaches: over the highest by a twentieth of its distance to the median.

    Without that margin the highest clip is detected with whatever is mixed into it.
    """
    highest = float(normal_scores.max())
    return max(highest + MARGIN * (highest - float(np.median(normal_scores))), float(np.nextafter(highest, np.inf)))
