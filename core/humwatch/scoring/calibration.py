"""Calibration: statistics and thresholds from a machine's own normal recordings.

Two time scales are calibrated alike: the clip (10 s), which decides, and the step (1 s), which shows the place in time
of a sound that stands out and decides on sounds shorter than a clip. The fit: :mod:`humwatch.calibration.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from humwatch.arrays import Float64
from humwatch.detectors.consensus import Consensus
from humwatch.detectors.detector_set import DetectorLevels, DetectorSet
from humwatch.detectors.lines import ClipLines
from humwatch.detectors.normal_lines import NormalLines
from humwatch.detectors.profile import NormalProfile
from humwatch.detectors.thresholds import DEFAULT_METHOD, Threshold, ThresholdMethod
from humwatch.run_state import RunGate
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.spec import ScoringSpec

MIN_RATE: Final = 1e-6
"""Lowest share of normal clips that may be asked for: one clip in four months of live sound."""


class CalibrationSpec(BaseModel):
    """Settings of the fit of thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warn_rate: float = Field(0.1, gt=0, lt=0.5, description="share of normal clips that may exceed `warn`")
    alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="share of normal clips that may exceed `alarm`")
    method: ThresholdMethod | Literal["auto"] = Field("auto", description=f"auto: {DEFAULT_METHOD}")


class ScaleThresholds(BaseModel):
    """Levels of the raw score on one time scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median: float = Field(description="raw score of the median normal clip: normalised score 0")
    warn: Threshold
    alarm: Threshold = Field(description="normalised score 1")
    others: list[Threshold] = Field(description="what the other methods would have given, warn and alarm")
    detectors: DetectorLevels | None = Field(
        None, description="levels of the detectors that share the false alarms; absent where there is one score alone"
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write an older bundle's levels as they were: its digest is on record with every score that it gave."""
        levels: dict[str, object] = write(self)
        if self.detectors is None:
            del levels["detectors"]
        return levels

    def normalise(self, raw: float) -> float:
        """Return the normalised score: 0 at the median of normal clips, 1 at the alarm level."""
        return (raw - self.median) / (self.alarm.level - self.median)


@dataclass(frozen=True)
class ScaleCalibration:
    """Calibration of one time scale of one machine.

    Attributes:
        thresholds: levels of the raw score.
        normal: statistics of normal band values: of a profile, or of the usual error of each band; of the spectrum
            for a consensus.
        normal_scores: float64 (clips,), ascending: raw scores of normal clips, each measured by the others.
        slope: normal profiles of the likelihood's slope, for the consensus and for other machines; None in a bundle
            that never had them.
        level: normal profiles of the level in dB; None as above.
        lines: narrow lines of normal clips; None where that detector is not in use.
    """

    thresholds: ScaleThresholds
    normal: NormalProfile
    normal_scores: Float64
    slope: NormalProfile | None = None
    level: NormalProfile | None = None
    lines: NormalLines | None = None

    @cached_property
    def detectors(self) -> DetectorSet | None:
        """Detectors that share the false alarms; None where there is one score alone."""
        levels = self.thresholds.detectors
        if levels is None or self.slope is None or self.level is None:
            return None
        return DetectorSet(Consensus(self.slope, self.level, levels.profile), levels, self.lines)


@dataclass(frozen=True)
class Calibration:
    """Statistics and thresholds that turn evidence into this machine's calibrated scores.

    Attributes:
        clip: time scale that decides.
        step: time scale of a second.
        clips: number of normal clips that both rest on.
        recordings: number of independent normal recordings that the clips are from.
        level_dbfs_low: level of the quietest recording.
        level_dbfs_high: level of the loudest recording.
        sample_bits: lowest resolution of a sample among them, bits.
        warnings: promises that the thresholds cannot keep.
        prior_recordings: number of recordings of other machines of the type.
        quietest_dbfs: level of their quietest whole second; None in a calibration without it.
        float_scale: factor for samples without a full scale, a power of two: it brings floats in a unit of their own
            (Pa, g, V) to levels that the network knows. Levels are those of the scaled samples.
    """

    clip: ScaleCalibration
    step: ScaleCalibration
    clips: int
    recordings: int
    level_dbfs_low: float
    level_dbfs_high: float
    sample_bits: int
    warnings: list[str]
    prior_recordings: int = 0
    quietest_dbfs: float | None = None
    float_scale: float = 1.0

    def scale_of(self, *, full_scale: bool) -> float:
        """Return the factor for samples: 1 where they have a full scale."""
        return 1.0 if full_scale else self.float_scale

    @property
    def spectrum_db(self) -> Float64 | None:
        """Mean level of normal clips in each band that counts, float64 (bands,), dB; None where nobody kept it."""
        return None if self.clip.level is None else self.clip.level.mean

    @property
    def run_gate(self) -> RunGate:
        """Levels at which the machine starts and stops: below its quietest second, else its quietest recording."""
        return RunGate.from_quietest(self.level_dbfs_low if self.quietest_dbfs is None else self.quietest_dbfs)

    def prepare(self) -> None:
        """Compute the eigenvalues that the first score by a profile would wait for, some 20 ms."""
        for scale in (self.clip, self.step):
            for profile in (scale.normal, *((scale.slope, scale.level) if scale.detectors else ())):
                if profile is not None:
                    _ = profile.whitening


def judge(scale: ScaleCalibration, evidence: Evidence, scoring: ScoringSpec, lines: ClipLines | None = None) -> float:
    """Return the raw score of some windows by all detectors of a scale."""
    detectors = scale.detectors
    if detectors is None:
        return raw_score(evidence, scoring, scale.normal)
    rhythm = None if evidence.profiles is None else evidence.profiles.rhythm.sum(axis=0)
    pooled = evidence.pooled(scoring.pooling), evidence.pooled_signed(scoring.pooling)
    return detectors.judge(*pooled, rhythm, lines).raw


def raw_score(evidence: Evidence, scoring: ScoringSpec, normal: NormalProfile) -> float:
    """Return the raw score of some windows: a distance from normal, or a mean error."""
    if scoring.is_profile:
        return normal.distance(evidence.pooled(scoring.pooling))
    return evidence.scalar(scoring.pooling)


def band_contributions(evidence: Evidence, scoring: ScoringSpec, normal: NormalProfile) -> Float64:
    """Return the part of each band in the raw score, beyond normal: float64 (bands,), >= 0."""
    pooled = evidence.pooled(scoring.pooling)
    if scoring.is_profile:
        return normal.contributions(pooled)
    return np.maximum(0.0, np.nan_to_num(pooled - normal.mean, nan=0.0))
