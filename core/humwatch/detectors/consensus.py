"""Profile detector: surprise of a network and level of the spectrum, weighed by the sensitivity of each.

Two Mahalanobis distances from a machine's own normal clips: of the likelihood's slope, which needs a network that knows
the type of machine, and of the level itself, which needs none. Each is blind to something, and the more sensitive one
differs from machine to machine. Both are brought to one scale on normal clips, and their weighted mean is the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Bool, Float32, Float64, Int64
from humwatch.detectors.normal_level import NormalLevel
from humwatch.detectors.profile import NormalProfile, contributions

DISTANCE_POWER: Final = 2.0 / 3.0
"""A squared distance is nearly a sum of squares; its cube root is nearly normal (Wilson and Hilferty, 1931)."""
DISTANCE_SPREAD: Final = 0.2
"""Usual spread of a normal clip's distance to that power."""
CONSENSUS_SPREAD: Final = 1.0
"""Usual spread of the weighted mean of two deviations: they rise and fall together."""

PROBE_BANDS: Final = 4
"""Neighbouring mel bands that are changed together to try the sensitivity of a profile: of 128 bands up to 8 kHz,
90 Hz or, above 1 kHz, a tenth of the frequency."""
PROBE_DB: Final = 6.0
"""Size of that change."""
SENSITIVITY_POWER: Final = 8.0
"""Power by which a profile loses weight with the departure that it needs: one that needs a tenth more has
half the weight."""


class ConsensusLevels(BaseModel):
    """What brings two distances to one score, fitted to normal clips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: NormalLevel = Field(description=f"of the slope profile's distance to the power {DISTANCE_POWER:.3f}")
    level: NormalLevel = Field(description=f"of the spectrum profile's distance to the power {DISTANCE_POWER:.3f}")
    slope_weight: float = Field(ge=0, le=1, description="weight of the slope profile; the spectrum has the rest")
    slope_departure_db: float | None = Field(
        description=f"change in {PROBE_BANDS} neighbouring bands that the slope profile alone would raise an alarm for,"
        " dB; null where nobody tried the network"
    )
    level_departure_db: float = Field(
        gt=0, description=f"change in {PROBE_BANDS} bands that the spectrum alone would raise an alarm for, dB"
    )
    score: NormalLevel = Field(description="of the weighted mean of the two deviations")


@dataclass(frozen=True)
class Consensus:
    """Profile detector of one machine on one time scale.

    Attributes:
        slope: normal profiles of the likelihood's slope.
        level: normal profiles of the level in dB.
        levels: scales of both, and their weights.
    """

    slope: NormalProfile
    level: NormalProfile
    levels: ConsensusLevels

    def judge(self, slope: Float64, level: Float64) -> tuple[float, Float64]:
        """Return the deviation from normal, in spreads, and the share of each band, float64 (bands,), >= 0.

        Args:
            slope: float64 (bands,), mean slope of the likelihood in each band, 1/dB.
            level: float64 (bands,), mean level of each band, dB.
        """
        deviations, shares = judged([self], slope[None], level[None])
        return deviations[0], shares[0]


def judged(some: Sequence[Consensus], slopes: Float64, levels: Float64) -> tuple[list[float], Float64]:
    """Return :meth:`Consensus.judge` of several machines: deviations, and shares, float64 (machines, bands).

    Args:
        some: profile detectors of the machines.
        slopes: float64 (machines, bands), as of :meth:`Consensus.judge`.
        levels: float64 (machines, bands), as of :meth:`Consensus.judge`.
    """
    parts = contributions([one.slope for one in some], slopes), contributions([one.level for one in some], levels)
    squared = [part.sum(axis=1).tolist() for part in parts]
    deviations, above = [], []
    for one, *d2 in zip(some, *squared, strict=True):
        members = (one.levels.slope, one.levels.level)
        departures = [member.deviation(d ** (DISTANCE_POWER / 2)) for member, d in zip(members, d2, strict=True)]
        weights = (one.levels.slope_weight, 1.0 - one.levels.slope_weight)
        weighted = [weight * departure for weight, departure in zip(weights, departures, strict=True)]
        deviations.append(one.levels.score.deviation(sum(weighted)))
        positive = [weight * max(0.0, departure) for weight, departure in zip(weights, departures, strict=True)]
        above.append(positive if sum(positive) else list(weights))
    return deviations, _shares(parts, np.array(squared), np.array(above).T)


def _shares(parts: Sequence[Float64], squared: Float64, above: Float64) -> Float64:
    """Return the share of each band: of each distance by its bands, of each profile by its deviation above 0.

    Args:
        parts: float64 (machines, bands) of each profile, share of each band in its squared distance.
        squared: float64 (profiles, machines), squared distances.
        above: float64 (profiles, machines), weighted deviations above 0, or the weights where none is.
    """
    totals = np.where(squared == 0.0, 1.0, squared)
    shares = np.zeros_like(parts[0])
    for share, part, total in zip(above, parts, totals, strict=True):
        shares += share[:, None] * part / total[:, None]
    found: Float64 = shares / sum(above)[:, None]
    return found


@dataclass(frozen=True)
class NormalPieces:
    """Band values of pieces of normal clips (clips, or their steps).

    Attributes:
        slope: float64 (pieces, bands), 1/dB.
        level: float64 (pieces, bands), dB.
    """

    slope: Float64
    level: Float64


def fit_consensus(
    pieces: NormalPieces,
    clip_of: Int64,
    folds: Sequence[Bool],
    *,
    recordings: int,
    alarm_rate: float,
    slope_prior: NormalProfile | None,
    level_prior: NormalProfile | None,
    response: Float64 | None,
) -> tuple[Consensus, Float64]:
    """Fit to normal clips; return also the deviation of each clip, float64 (clips,), measured by the others.

    Of a clip that has several pieces (its steps) the highest counts.

    Args:
        pieces: band values of the pieces of all clips.
        clip_of: int64 (pieces,), index of the clip of each.
        folds: masks over pieces, (pieces,) each, of those that are held out together.
        recordings: number of independent recordings.
        alarm_rate: share of normal clips that may exceed the alarm level, for the weights.
        slope_prior: slope profiles of other machines of the type.
        level_prior: spectra of other machines of the type.
        response: float64 (probes, bands), effect of a change of 1 dB in each group of bands on the slope
            (:func:`slope_response`); None gives both profiles the same weight.
    """
    slope_distances = _cross_fitted(pieces.slope, folds, slope_prior)
    level_distances = _cross_fitted(pieces.level, folds, level_prior)
    slope, level = NormalProfile.fit(pieces.slope, slope_prior), NormalProfile.fit(pieces.level, level_prior)
    slope_normal = NormalLevel.fit(slope_distances, recordings=recordings, usual_spread=DISTANCE_SPREAD)
    level_normal = NormalLevel.fit(level_distances, recordings=recordings, usual_spread=DISTANCE_SPREAD)
    level_db = _departure_db(level, level_normal, alarm_rate, probes(pieces.level.shape[1]))
    slope_db = None if response is None else _departure_db(slope, slope_normal, alarm_rate, response)
    odds = 1.0 if slope_db is None else (level_db / slope_db) ** SENSITIVITY_POWER
    weight = odds / (1.0 + odds)
    mean = weight * slope_normal.deviations(slope_distances) + (1.0 - weight) * level_normal.deviations(level_distances)
    highest = np.full(int(clip_of.max()) + 1, -np.inf)
    np.maximum.at(highest, clip_of, mean)
    score = NormalLevel.fit(highest, recordings=recordings, usual_spread=CONSENSUS_SPREAD)
    levels = ConsensusLevels(
        slope=slope_normal,
        level=level_normal,
        slope_weight=weight,
        slope_departure_db=slope_db,
        level_departure_db=level_db,
        score=score,
    )
    return Consensus(slope, level, levels), score.deviations(highest)


def _cross_fitted(values: Float64, folds: Sequence[Bool], prior: NormalProfile | None) -> Float64:
    """Return the distances of pieces to ``DISTANCE_POWER``, (pieces,), each by statistics of the other recordings."""
    distances = np.empty(len(values))
    for fold in folds:
        distances[fold] = NormalProfile.fit(values[~fold], prior).distances(values[fold])
    return distances**DISTANCE_POWER


def probes(bands: int) -> Float64:
    """Return the changes that profiles are tried with, dB: float64 (probes, bands), each 1 in one group of bands."""
    return np.repeat(np.eye(-(-bands // PROBE_BANDS)), PROBE_BANDS, axis=1)[:, :bands]


def slope_response(windows: Float32, bands: Int64, slopes: Callable[[Float32], Float64]) -> Float64:
    """Return the effect of a change of 1 dB in each group of bands on the slope: float64 (probes, bands), 1/dB^2.

    A network that predicts a bin from its neighbours follows a change that they share, and is the less sensitive to it.

    Args:
        windows: float32 (n, L, F) in dB, normal sound.
        bands: int64 (bands,), indices of the mel bands that count.
        slopes: function of windows that returns their mean slope in each band, float64 (bands,), by the network.
    """
    untouched = slopes(windows)
    changed = np.zeros((len(bands), windows.shape[2]), np.float32)
    changed[np.arange(len(bands)), bands] = PROBE_DB
    shifts = probes(len(bands)).astype(np.float32) @ changed  # (probes, F), dB
    return np.stack([slopes(windows + shift) - untouched for shift in shifts]) / PROBE_DB


def _departure_db(profile: NormalProfile, normal: NormalLevel, alarm_rate: float, per_db: Float64) -> float:
    """Return the change in dB that alone brings a profile's distance to its alarm level; geometric mean over probes.

    It measures the sensitivity of a profile without a fault: the lower, the larger its normal scatter is beside the
    effect of a change of 1 dB.

    Args:
        profile: profile of normal clips.
        normal: level of its distances.
        alarm_rate: share of normal clips that may exceed the alarm level.
        per_db: float64 (probes, bands), change of the profile for a change of 1 dB in each group of bands.
    """
    alarm = max(1e-3, normal.center + normal.alarm_deviation(alarm_rate) * normal.spread) ** (1.0 / DISTANCE_POWER)
    squares = ((per_db / profile.std) @ profile.whitening) ** 2  # (probes, bands)
    distance_a_db = np.sqrt(squares.sum(axis=1) / per_db.shape[1])
    return float(alarm * np.exp(-np.log(np.maximum(distance_a_db, 1e-6)).mean()))
