"""AUC and pAUC of scores with bootstrap intervals.

The areas are those of ``sklearn.metrics.roc_auc_score``, for many weightings of the same clips at once, as a
bootstrap needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.arrays import Float64

CONFIDENCE: Final = 0.95
MAX_FALSE_ALARM_RATE: Final = 0.1
"""p of the partial AUC."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval (percentiles)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Areas:
    """AUC and pAUC of one machine, and of bootstrap draws of its clips: float64 (draws,)."""

    auc: float
    pauc: float
    auc_draws: Float64
    pauc_draws: Float64


def areas(normal: Float64, anomalous: Float64, *, draws: int, rng: np.random.Generator) -> Areas:
    """Measure the scores of normal and anomalous clips, float64 (n,) and (m,), higher for more anomalous.

    Each draw takes as many normal clips, and as many anomalous ones, with replacement (a stratified bootstrap).
    """
    weights = [
        np.vstack([np.ones((1, len(part))), rng.multinomial(len(part), np.full(len(part), 1 / len(part)), size=draws)])
        for part in (normal, anomalous)
    ]  # (1 + draws, clips) each
    false_alarms, detections = roc(normal, anomalous, *weights)
    auc = _area_up_to(1.0, false_alarms, detections)
    pauc = _mcclish(_area_up_to(MAX_FALSE_ALARM_RATE, false_alarms, detections))
    return Areas(float(auc[0]), float(pauc[0]), auc[1:], pauc[1:])


def roc(
    normal: Float64, anomalous: Float64, normal_weights: Float64, anomalous_weights: Float64
) -> tuple[Float64, Float64]:
    """Return false alarm and detection rates at every level that the scores take, from none to all.

    Weights are (draws, clips) of a sum above 0; the rates float64 (draws, levels + 1), rising from 0 to 1.
    """
    levels = np.unique(np.concatenate([normal, anomalous]))[::-1]

    def rates(scores: Float64, weights: Float64) -> Float64:
        order = np.argsort(-scores, kind="stable")
        reached = np.searchsorted(-scores[order], -levels, side="right")  # how many scores are at least the level
        mass = np.hstack([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)])
        up_to: Float64 = mass[:, np.concatenate([[0], reached])] / mass[:, -1:]
        return up_to

    return rates(normal, normal_weights), rates(anomalous, anomalous_weights)


def _area_up_to(limit: float, false_alarms: Float64, detections: Float64) -> Float64:
    """Return the area under each row's curve from no false alarms to ``limit``: float64 (draws,)."""
    left, right = false_alarms[:, :-1], false_alarms[:, 1:]
    whole = right - left
    width = np.clip(np.minimum(right, limit) - left, 0.0, None)
    share = np.divide(width, whole, out=np.zeros_like(width), where=whole > 0)
    height = detections[:, :-1] + 0.5 * share * np.diff(detections, axis=1)
    area: Float64 = (width * height).sum(axis=1)
    return area


def _mcclish(area: Float64) -> Float64:
    """Scale a partial area to 0.5 for chance and 1 for perfection (McClish, 1989)."""
    least, most = MAX_FALSE_ALARM_RATE**2 / 2, MAX_FALSE_ALARM_RATE
    return 0.5 * (1.0 + (area - least) / (most - least))


def estimate(values: Sequence[float], draws: Sequence[Float64]) -> Estimate:
    """Return the mean of machines' figures with the interval of that mean; machines are drawn independently."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(np.mean(np.stack(draws), axis=0), [tail, 1.0 - tail])
    return Estimate(float(np.mean(values)), float(low), float(high))
