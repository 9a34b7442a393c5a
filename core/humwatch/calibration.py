"""What a machine's own normal recordings say about its scores: statistics, thresholds, and what they promise.

Two time scales are calibrated alike: the clip (10 s), which decides, and the step (1 s), which shows where in
time a sound stands out and decides on sounds shorter than a clip. A step threshold is fitted on the highest step
of each clip, so that "over 1" is as rare on either scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from humwatch.errors import CalibrationError
from humwatch.profile import NormalProfile
from humwatch.run_state import RunGate
from humwatch.scoring import Evidence, ScoringSpec
from humwatch.thresholds import METHODS, Threshold, ThresholdMethod, fit_threshold, recordings_needed

Float64 = npt.NDArray[np.float64]

MAX_FOLDS = 50
MIN_RECORDINGS = 3


class CalibrationSpec(BaseModel):
    """How thresholds are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warn_rate: float = Field(0.1, gt=0, lt=0.5, description="share of normal clips that may exceed `warn`")
    alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="share of normal clips that may exceed `alarm`")
    method: ThresholdMethod | Literal["auto"] = Field(
        "auto", description="auto: conformal where there are recordings enough for the alarm rate, else gamma"
    )


class ScaleThresholds(BaseModel):
    """Levels of the raw score on one time scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median: float = Field(description="raw score of the median normal clip: normalised score 0")
    warn: Threshold
    alarm: Threshold = Field(description="normalised score 1")
    others: list[Threshold] = Field(description="what the other methods would have given, warn and alarm")

    def normalise(self, raw: float) -> float:
        """0 at the median of normal clips, 1 at the alarm level."""
        return (raw - self.median) / (self.alarm.level - self.median)


@dataclass(frozen=True)
class ScaleCalibration:
    """One time scale of one machine.

    Attributes:
        thresholds: levels of the raw score.
        normal: statistics of normal band values: a profile's distance, or what each band's error usually is.
        normal_scores: float64 (clips,), ascending: raw scores of normal clips, each measured by the others.
    """

    thresholds: ScaleThresholds
    normal: NormalProfile
    normal_scores: Float64


@dataclass(frozen=True)
class Calibration:
    """Everything that turns evidence into this machine's calibrated scores.

    Attributes:
        clip: the time scale that decides.
        step: the time scale of a second.
        clips: normal clips that both rest on.
        recordings: independent normal recordings that the clips are from.
        level_dbfs_low: level of the quietest of them.
        level_dbfs_high: level of the loudest.
        sample_bits: lowest resolution of a sample among them.
        warnings: what the thresholds cannot promise.
        prior_recordings: of other machines of the type.
        quietest_dbfs: level of their quietest whole second; None where nobody measured it.
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

    @property
    def run_gate(self) -> RunGate:
        """Levels at which the machine starts and stops: below its quietest second, else its quietest recording."""
        return RunGate.learned(self.level_dbfs_low if self.quietest_dbfs is None else self.quietest_dbfs)

    def prepare(self) -> None:
        """Compute what the first score by a profile would wait for: some 20 ms of eigenvalues."""
        for scale in (self.clip, self.step):
            _ = scale.normal.whitening


@dataclass(frozen=True)
class TypePrior:
    """How normal profiles vary on other machines of the type, on each time scale.

    Attributes:
        clip: profile of the clips.
        step: profile of the steps.
        recordings: independent normal recordings that both rest on.
    """

    clip: NormalProfile
    step: NormalProfile
    recordings: int

    @staticmethod
    def of(machines: Sequence[Calibration]) -> TypePrior:
        """Pool the calibrations of one machine or more, all by the same predictor and score.

        Raises:
            CalibrationError: there is none.
        """
        return TypePrior(
            clip=NormalProfile.pooled([machine.clip.normal for machine in machines]),
            step=NormalProfile.pooled([machine.step.normal for machine in machines]),
            recordings=sum(machine.recordings + machine.prior_recordings for machine in machines),
        )


@dataclass(frozen=True)
class NormalClip:
    """Evidence of one normal clip, and what is known of the recording that it was cut from.

    Attributes:
        recording: its name; clips of one name are never told apart as independent.
        evidence: of the clip.
        level_dbfs: of the recording.
        sample_bits: its resolution.
        quietest_dbfs: level of its quietest whole second; None where nobody measured it.
    """

    recording: str
    evidence: Evidence
    level_dbfs: float
    sample_bits: int
    quietest_dbfs: float | None = None


def raw_score(evidence: Evidence, scoring: ScoringSpec, normal: NormalProfile) -> float:
    """The raw score of some windows: a distance from normal, or a mean error."""
    if scoring.is_profile:
        return normal.distance(evidence.pooled(scoring.pooling))
    return evidence.scalar(scoring.pooling)


def band_contributions(evidence: Evidence, scoring: ScoringSpec, normal: NormalProfile) -> Float64:
    """How much each band adds to the raw score, beyond normal: float64 (bands,), >= 0."""
    pooled = evidence.pooled(scoring.pooling)
    if scoring.is_profile:
        return normal.contributions(pooled)
    return np.maximum(0.0, np.nan_to_num(pooled - normal.mean, nan=0.0))


def calibrate(
    clips: Sequence[NormalClip],
    *,
    scoring: ScoringSpec,
    spec: CalibrationSpec,
    step_windows: int,
    clip_seconds: float,
    prior: TypePrior | None = None,
) -> Calibration:
    """Fit statistics and thresholds to normal clips that trained nothing.

    A clip's score is measured with statistics of the other recordings (grouped cross-fitting), or the
    thresholds would be those of clips that the statistics have seen. A ``prior`` from other machines of the type
    says how profiles vary where this machine's clips are too few to tell; an error (``mse``, ``nll``) needs none.

    Raises:
        CalibrationError: fewer than three recordings.
    """
    recordings = sorted({clip.recording for clip in clips})
    if len(recordings) < MIN_RECORDINGS:
        raise CalibrationError(
            f"{len(recordings)} normal recording(s) of a clip's length; {MIN_RECORDINGS} at least are needed"
        )
    groups = np.array([recordings.index(clip.recording) for clip in clips])
    levels = np.array([clip.level_dbfs for clip in clips])

    prior = prior if scoring.is_profile else None

    def fit(cut: Callable[[Evidence], list[Evidence]], known: NormalProfile | None) -> ScaleCalibration:
        pieces = [cut(clip.evidence) for clip in clips]
        return _fit_scale(pieces, groups, scoring, spec, clip_seconds, known)

    clip_scale = fit(lambda evidence: [evidence], prior.clip if prior else None)
    step_scale = fit(lambda evidence: _steps(evidence, step_windows), prior.step if prior else None)
    return Calibration(
        clip=clip_scale,
        step=step_scale,
        clips=len(clips),
        recordings=len(recordings),
        level_dbfs_low=float(levels.min()),
        level_dbfs_high=float(levels.max()),
        sample_bits=min(clip.sample_bits for clip in clips),
        warnings=_shortcomings(clip_scale.thresholds, len(recordings)),
        prior_recordings=prior.recordings if prior else 0,
        quietest_dbfs=min((clip.quietest_dbfs for clip in clips if clip.quietest_dbfs is not None), default=None),
    )


def _steps(evidence: Evidence, step_windows: int) -> list[Evidence]:
    starts = range(0, len(evidence) - step_windows + 1, step_windows)
    return [evidence[start : start + step_windows] for start in starts]


def _fit_scale(
    pieces: list[list[Evidence]],
    groups: npt.NDArray[np.int64],
    scoring: ScoringSpec,
    spec: CalibrationSpec,
    clip_seconds: float,
    prior: NormalProfile | None,
) -> ScaleCalibration:
    pooled = [np.stack([piece.pooled(scoring.pooling) for piece in clip]) for clip in pieces]  # (pieces, bands) each
    scores = np.empty(len(pieces))
    for fold in _folds(groups):
        known = np.concatenate([p for p, held in zip(pooled, fold, strict=True) if not held])
        others = NormalProfile.fit(known, prior)
        for i in np.flatnonzero(fold):
            scores[i] = max(raw_score(piece, scoring, others) for piece in pieces[i])
    scores.sort()
    n_recordings = len(set(groups.tolist()))
    thresholds = _fit_thresholds(scores, spec, n_recordings, clip_seconds)
    return ScaleCalibration(thresholds, NormalProfile.fit(np.concatenate(pooled), prior), scores)


def _folds(groups: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bool_]]:
    """Masks of the clips held out together: one recording each, or several where there are many."""
    fold_of = groups % MAX_FOLDS
    return [fold_of == fold for fold in np.unique(fold_of)]


def _fit_thresholds(scores: Float64, spec: CalibrationSpec, recordings: int, clip_seconds: float) -> ScaleThresholds:
    method = spec.method
    if method == "auto":
        enough = recordings >= recordings_needed(spec.alarm_rate, "conformal")
        method = "conformal" if enough else "gamma"

    def choose(rate: float) -> tuple[Threshold, list[Threshold]]:
        fits = {
            name: fit_threshold(scores, rate=rate, method=name, recordings=recordings, clip_seconds=clip_seconds)
            for name in METHODS
        }
        return fits[method], [fit for name, fit in fits.items() if name != method]

    warn, other_warn = choose(spec.warn_rate)
    alarm, other_alarm = choose(spec.alarm_rate)
    median = float(np.median(scores))
    if alarm.level - median <= 1e-6 * max(1.0, abs(median)):
        raise CalibrationError("all normal clips have the same score: these are not recordings of a machine")
    warn = warn.model_copy(update={"level": min(warn.level, alarm.level)})
    return ScaleThresholds(median=median, warn=warn, alarm=alarm, others=other_warn + other_alarm)


def _shortcomings(thresholds: ScaleThresholds, recordings: int) -> list[str]:
    alarm = thresholds.alarm
    if alarm.promised:
        return []
    needed = recordings_needed(alarm.target_rate, alarm.method)
    return [
        f"{recordings} independent normal recordings are too few to promise that at most {alarm.target_rate:.1%} of"
        f" normal clips exceed the alarm level: {needed} are needed. With 90 % confidence the rate lies between"
        f" {alarm.rate_low:.1%} and {alarm.rate_high:.1%}, {alarm.rate_low * alarm.clips_a_day:.0f} to"
        f" {alarm.rate_high * alarm.clips_a_day:.0f} clips a day."
    ]
