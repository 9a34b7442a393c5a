"""Odd minutes: those that lie far over the level that the other minutes give, before they widen it.

A minute is judged by a calibration of all the others. What comes again is not odd: minutes that are alike are among the
others of each other, and their level covers them once there are several.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np

from humwatch.arrays import Float64
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.fit import MIN_RECORDINGS, calibrate_clips, left_out_scores
from humwatch.calibration.type_prior import TypePrior
from humwatch.detectors.detector_set import DetectorName
from humwatch.errors import CalibrationError
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import CalibrationSpec, ScaleCalibration, band_contributions, raw_score
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoringSpec

ODD_SCORE: Final = 1.5
"""Score by the level of the others over which a minute is odd: half as far again from the median as their alarm level.
Of 450 draws of normal clips of a slider two were, both among five; a loud squeal is, also among five."""
MOST_SUSPECTS: Final = 12
"""Minutes that are judged by a calibration of the others, those that stand out most first: each costs a fit."""
SHOWN_BANDS: Final = 3


@dataclass(frozen=True)
class OddBand:
    """A band in which a minute departs from the others.

    Attributes:
        low_hz: lower edge, Hz.
        high_hz: upper edge, Hz.
        share: share of the band in the score.
    """

    low_hz: float
    high_hz: float
    share: float


@dataclass(frozen=True)
class OddMinute:
    """A minute that lies far over the level of the others.

    Attributes:
        number: number of the minute.
        score: highest score of its clips by the level of the others: 0 their median, 1 their alarm level.
        detector: detector that gave that score.
        bands: bands with the largest shares in it, the largest first.
    """

    number: int
    score: float
    detector: DetectorName
    bands: tuple[OddBand, ...]


class _Settings(TypedDict):
    """Settings of the calibrations that minutes are compared by."""

    scoring: ScoringSpec
    spec: CalibrationSpec
    clip_seconds: float
    prior: TypePrior | None
    response: Float64 | None


def find_odd_minutes(
    minutes: Sequence[CollectedMinute],
    *,
    known: Collection[int] = (),
    pipeline: PipelineSpec,
    spec: CalibrationSpec,
    prior: TypePrior | None = None,
    response: Float64 | None = None,
) -> list[OddMinute]:
    """Find the minutes that lie far over the level that the others give, the oddest first.

    Args:
        minutes: minutes of normal sound; fewer than five tell too little of each other, and none of them is odd.
        known: numbers of minutes that somebody has judged to be normal.
        pipeline: features, windows and score of the evidence.
        spec: rates and method of the level.
        prior: variation of profiles on other machines of the type.
        response: response of the network, as :func:`humwatch.calibration.fit.calibrate` takes it.
    """
    settings = _Settings(
        scoring=pipeline.scoring,
        spec=spec,
        clip_seconds=pipeline.windows.clip_seconds,
        prior=prior,
        response=response,
    )
    found: list[OddMinute] = []
    left = list(minutes)
    for suspect in _suspects(minutes, settings):
        if suspect.number in known:
            continue
        others = [minute for minute in left if minute is not suspect]
        if len(others) < MIN_RECORDINGS + 1:
            break
        try:
            scale = calibrate_clips(_clips(others), **settings)
        except CalibrationError:
            continue
        odd = max((_judged(suspect.number, clip, scale, pipeline) for clip in suspect.clips), key=lambda one: one.score)
        if odd.score > ODD_SCORE:
            found.append(odd)
            left = others
    return sorted(found, key=lambda one: -one.score)


def _suspects(minutes: Sequence[CollectedMinute], settings: _Settings) -> list[CollectedMinute]:
    """Return the minutes that stand out most from a calibration of all of them."""
    if len(minutes) < MIN_RECORDINGS + 2:
        return []
    try:
        scores = left_out_scores(_clips(minutes), **settings)
    except CalibrationError:
        return []
    ends = np.cumsum([len(minute.clips) for minute in minutes])[:-1]
    highest = [float(part.max()) for part in np.split(scores, ends)]
    order = sorted(range(len(minutes)), key=lambda place: -highest[place])
    return [minutes[place] for place in order[:MOST_SUSPECTS]]


def _clips(minutes: Sequence[CollectedMinute]) -> list[NormalClip]:
    return [clip for minute in minutes for clip in minute.clips]


def _judged(number: int, clip: NormalClip, scale: ScaleCalibration, pipeline: PipelineSpec) -> OddMinute:
    evidence, scoring = clip.evidence, pipeline.scoring
    detector: DetectorName
    if scale.detectors is not None and evidence.profiles is not None:
        pooling = scoring.pooling
        weights = pooling.weights(evidence.ranking(pooling))
        counts = weights @ evidence.counts
        slope, level = (
            np.divide(weights @ sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
            for sums in (evidence.profiles.slope, evidence.profiles.level)
        )
        judged = scale.detectors.judge(slope, level, evidence.profiles.rhythm.sum(axis=0), clip.lines)
        raw, shares, detector = judged.raw, judged.contributions, judged.detector
    else:
        raw, shares = raw_score(evidence, scoring, scale.normal), band_contributions(evidence, scoring, scale.normal)
        detector = "profile" if scoring.is_profile else "error"
    total = float(shares.sum()) or 1.0
    edges = pipeline.band_edges_hz
    bands = tuple(
        OddBand(float(edges[band, 0]), float(edges[band, 1]), float(shares[band]) / total)
        for band in np.argsort(-shares)[:SHOWN_BANDS]
    )
    return OddMinute(number, scale.thresholds.normalise(raw), detector, bands)
