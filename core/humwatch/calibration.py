"""What a machine's own normal recordings say about its scores: statistics, thresholds, and what they promise.

Two time scales are calibrated alike: the clip (10 s), which decides, and the step (1 s), which shows where in
time a sound stands out and decides on sounds shorter than a clip. A step threshold is fitted on the highest step
of each clip, so that "over 1" is as rare on either scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from humwatch.consensus import Consensus, NormalPieces, fit_consensus
from humwatch.detectors import DetectorLevels, DetectorSet, fit_detectors
from humwatch.errors import CalibrationError
from humwatch.lines import ClipLines, NormalLines
from humwatch.profile import NormalProfile
from humwatch.run_state import RunGate
from humwatch.scoring import Evidence, ScoreKind, ScoringSpec
from humwatch.thresholds import (
    DEFAULT_METHOD,
    METHODS,
    Symmetry,
    Threshold,
    ThresholdMethod,
    fit_threshold,
    recordings_needed,
)

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

MAX_FOLDS = 50
MIN_RECORDINGS = 3


class CalibrationSpec(BaseModel):
    """How thresholds are fitted."""

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
        """0 at the median of normal clips, 1 at the alarm level."""
        return (raw - self.median) / (self.alarm.level - self.median)


@dataclass(frozen=True)
class ScaleCalibration:
    """One time scale of one machine.

    Attributes:
        thresholds: levels of the raw score.
        normal: statistics of normal band values: a profile's distance, or what each band's error usually is; the
            spectrum's for a consensus.
        normal_scores: float64 (clips,), ascending: raw scores of normal clips, each measured by the others.
        slope: normal profiles of the likelihood's slope, for the consensus and for other machines; None in a bundle
            that never had them.
        level: the same of the level in dB.
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
            for profile in (scale.normal, *((scale.slope, scale.level) if scale.detectors else ())):
                if profile is not None:
                    _ = profile.whitening


@dataclass(frozen=True)
class ScalePrior:
    """How normal profiles vary on other machines of the type, on one time scale.

    Attributes:
        slope: profile of the likelihood's slope; None where no machine of the same network has one.
        level: profile of the level; None where no machine has one.
        own: profile of a single score, of machines that are calibrated for the same; None where there is none.
    """

    slope: NormalProfile | None
    level: NormalProfile | None
    own: NormalProfile | None


@dataclass(frozen=True)
class Relative:
    """Another machine of the type.

    Attributes:
        calibration: of that machine.
        scoring: score that it is calibrated for.
        same_network: whether the same predictor heard it: levels need none, slopes and residuals do.
    """

    calibration: Calibration
    scoring: ScoringSpec
    same_network: bool = True


@dataclass(frozen=True)
class TypePrior:
    """How normal profiles vary on other machines of the type, on each time scale.

    Attributes:
        clip: profiles of the clips.
        step: profiles of the steps.
        recordings: independent normal recordings that both rest on.
    """

    clip: ScalePrior
    step: ScalePrior
    recordings: int

    @staticmethod
    def of(relatives: Sequence[Relative], scoring: ScoringSpec) -> TypePrior | None:
        """Pool other machines of the type for one that is calibrated for ``scoring``; None where none has a profile."""
        clip = _scale_prior([(machine, machine.calibration.clip) for machine in relatives], scoring)
        step = _scale_prior([(machine, machine.calibration.step) for machine in relatives], scoring)
        if clip == ScalePrior(None, None, None):
            return None
        recordings = sum(m.calibration.recordings + m.calibration.prior_recordings for m in relatives)
        return TypePrior(clip, step, recordings)


def _scale_prior(machines: Sequence[tuple[Relative, ScaleCalibration]], scoring: ScoringSpec) -> ScalePrior:
    def pooled(profiles: list[NormalProfile | None]) -> NormalProfile | None:
        known = [profile for profile in profiles if profile is not None]
        return NormalProfile.pooled(known) if known else None

    def single(kind: ScoreKind, machine: Relative, scale: ScaleCalibration) -> NormalProfile | None:
        """The profile of a bundle that has one score alone, if it is of that kind."""
        return scale.normal if machine.scoring.kind == kind else None

    network = [(machine, scale) for machine, scale in machines if machine.same_network]
    comparable = machines if scoring.kind == "spectrum_profile" else network
    return ScalePrior(
        slope=pooled([scale.slope or single("likelihood_profile", m, scale) for m, scale in network]),
        level=pooled([scale.level or single("spectrum_profile", m, scale) for m, scale in machines]),
        own=pooled([scale.normal for m, scale in comparable if m.scoring == scoring and scoring.is_profile]),
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
        lines: its line spectra; None where nobody heard its samples.
    """

    recording: str
    evidence: Evidence
    level_dbfs: float
    sample_bits: int
    quietest_dbfs: float | None = None
    lines: ClipLines | None = None


def judge(scale: ScaleCalibration, evidence: Evidence, scoring: ScoringSpec, lines: ClipLines | None = None) -> float:
    """The raw score of some windows by all detectors of a scale."""
    detectors = scale.detectors
    if detectors is None:
        return raw_score(evidence, scoring, scale.normal)
    rhythm = None if evidence.profiles is None else evidence.profiles.rhythm.sum(axis=0)
    pooled = evidence.pooled(scoring.pooling), evidence.pooled_signed(scoring.pooling)
    return detectors.judge(*pooled, rhythm, lines).raw


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
    response: Float64 | None = None,
) -> Calibration:
    """Fit statistics and thresholds to normal clips that trained nothing.

    A clip's score is measured with statistics of the other recordings (grouped cross-fitting), or the
    thresholds would be those of clips that the statistics have seen. A ``prior`` from other machines of the type
    says how profiles vary where this machine's clips are too few to tell; an error (``mse``, ``nll``) needs none.
    ``response`` of the network, float64 (probes, bands), weighs the profiles of a consensus
    (:func:`humwatch.monitor.network_response`).

    Raises:
        CalibrationError: fewer than three recordings.
    """
    groups = _recording_of(clips)
    recordings = int(groups.max()) + 1
    levels = np.array([clip.level_dbfs for clip in clips])
    clip_scale = calibrate_clips(
        clips, scoring=scoring, spec=spec, clip_seconds=clip_seconds, prior=prior, response=response
    )
    fitted = _ScaleFit(clips, groups, scoring, spec, clip_seconds, response)
    step_scale = fitted.scale(lambda evidence: _steps(evidence, step_windows), prior.step if prior else None)
    lent = prior.clip if prior is not None else ScalePrior(None, None, None)
    used = scoring.kind == "consensus" or (scoring.is_profile and lent.own is not None)
    return Calibration(
        clip=clip_scale,
        step=step_scale,
        clips=len(clips),
        recordings=recordings,
        level_dbfs_low=float(levels.min()),
        level_dbfs_high=float(levels.max()),
        sample_bits=min(clip.sample_bits for clip in clips),
        warnings=_shortcomings(clip_scale.thresholds, recordings),
        prior_recordings=prior.recordings if prior is not None and used else 0,
        quietest_dbfs=min((clip.quietest_dbfs for clip in clips if clip.quietest_dbfs is not None), default=None),
    )


def calibrate_clips(
    clips: Sequence[NormalClip],
    *,
    scoring: ScoringSpec,
    spec: CalibrationSpec,
    clip_seconds: float,
    prior: TypePrior | None = None,
    response: Float64 | None = None,
) -> ScaleCalibration:
    """Fit the time scale that decides, as :func:`calibrate` does. Raises :class:`CalibrationError`."""
    fitted = _ScaleFit(clips, _recording_of(clips), scoring, spec, clip_seconds, response)
    return fitted.scale(lambda evidence: [evidence], prior.clip if prior else None, whole_clips=True)


def _recording_of(clips: Sequence[NormalClip]) -> Int64:
    """Index of each clip's recording among all of them: int64 (clips,)."""
    recordings = sorted({clip.recording for clip in clips})
    if len(recordings) < MIN_RECORDINGS:
        raise CalibrationError(
            f"{len(recordings)} normal recording(s) of a clip's length; {MIN_RECORDINGS} at least are needed"
        )
    return np.array([recordings.index(clip.recording) for clip in clips])


def _steps(evidence: Evidence, step_windows: int) -> list[Evidence]:
    starts = range(0, len(evidence) - step_windows + 1, step_windows)
    return [evidence[start : start + step_windows] for start in starts]


class _ScaleFit:
    """Normal clips, and how their calibration is asked for; fits one time scale after the other."""

    def __init__(
        self,
        clips: Sequence[NormalClip],
        groups: Int64,
        scoring: ScoringSpec,
        spec: CalibrationSpec,
        clip_seconds: float,
        response: Float64 | None,
    ) -> None:
        self._clips = clips
        self._groups = groups
        self._scoring = scoring
        self._spec = spec
        self._clip_seconds = clip_seconds
        self._response = response
        self._recordings = len(set(groups.tolist()))

    def scale(
        self, cut: Callable[[Evidence], list[Evidence]], prior: ScalePrior | None, *, whole_clips: bool = False
    ) -> ScaleCalibration:
        """Fit the time scale that clips are ``cut`` to."""
        pieces = [cut(clip.evidence) for clip in self._clips]
        if self._scoring.kind == "consensus":
            return self._consensus(pieces, prior, whole_clips=whole_clips)
        known = prior.own if prior is not None and self._scoring.is_profile else None
        return self._single(pieces, known, _profiles_to_lend(pieces))

    def _consensus(
        self, pieces: list[list[Evidence]], prior: ScalePrior | None, *, whole_clips: bool
    ) -> ScaleCalibration:
        alarm_rate = self._spec.alarm_rate
        clip_of = np.repeat(np.arange(len(pieces)), [len(clip) for clip in pieces])
        consensus, deviations = fit_consensus(
            _normal_pieces(pieces),
            clip_of,
            [fold[clip_of] for fold in _folds(self._groups)],
            recordings=self._recordings,
            alarm_rate=alarm_rate,
            slope_prior=None if prior is None else prior.slope,
            level_prior=None if prior is None else prior.level,
            response=self._response,
        )
        heard = [clip.lines for clip in self._clips if clip.lines is not None and clip.lines.is_judgeable]
        rhythms = [clip.evidence.profiles.rhythm.sum(axis=0) for clip in self._clips if clip.evidence.profiles]
        detectors, raw = fit_detectors(
            consensus,
            deviations,
            rhythm=rhythms if whole_clips and len(rhythms) == len(pieces) else None,
            lines=heard if whole_clips and len(heard) == len(pieces) else None,
            groups=self._groups,
            recordings=self._recordings,
            alarm_rate=alarm_rate,
        )
        raw.sort()
        thresholds = self._thresholds(raw, "alarm_units").model_copy(update={"detectors": detectors.levels})
        return ScaleCalibration(thresholds, consensus.level, raw, consensus.slope, consensus.level, detectors.lines)

    def _single(
        self,
        pieces: list[list[Evidence]],
        prior: NormalProfile | None,
        lent: tuple[NormalProfile | None, NormalProfile | None],
    ) -> ScaleCalibration:
        scoring = self._scoring
        pooled = [np.stack([piece.pooled(scoring.pooling) for piece in clip]) for clip in pieces]  # (pieces, bands)
        scores = np.empty(len(pieces))
        for fold in _folds(self._groups):
            known = np.concatenate([p for p, held in zip(pooled, fold, strict=True) if not held])
            others = NormalProfile.fit(known, prior)
            for i in np.flatnonzero(fold):
                scores[i] = max(raw_score(piece, scoring, others) for piece in pieces[i])
        scores.sort()
        symmetry: Symmetry = "distance" if scoring.is_profile else "logarithm" if scoring.kind == "mse" else "identity"
        normal = NormalProfile.fit(np.concatenate(pooled), prior)
        return ScaleCalibration(self._thresholds(scores, symmetry), normal, scores, *lent)

    def _thresholds(self, scores: Float64, symmetry: Symmetry) -> ScaleThresholds:
        spec = self._spec
        method = DEFAULT_METHOD if spec.method == "auto" else spec.method

        def choose(rate: float) -> tuple[Threshold, list[Threshold]]:
            fits = {
                name: fit_threshold(
                    scores,
                    rate=rate,
                    method=name,
                    recordings=self._recordings,
                    clip_seconds=self._clip_seconds,
                    symmetry=symmetry,
                    alarm_rate=spec.alarm_rate,
                )
                for name in METHODS
            }
            return fits[method], [fit for name, fit in fits.items() if name != method]

        median = float(np.median(scores))
        if float(scores[-1] - scores[0]) <= 1e-6 * max(1.0, abs(median)):
            raise CalibrationError("all normal clips have the same score: these are not recordings of a machine")
        warn, other_warn = choose(spec.warn_rate)
        alarm, other_alarm = choose(spec.alarm_rate)
        if alarm.level - median <= 1e-6 * max(1.0, abs(median)):
            raise CalibrationError("most normal clips lie over the alarm level that was asked for: it says nothing")
        warn = warn.model_copy(update={"level": min(warn.level, alarm.level)})
        return ScaleThresholds(median=median, warn=warn, alarm=alarm, others=other_warn + other_alarm)


def _normal_pieces(pieces: Sequence[Sequence[Evidence]]) -> NormalPieces:
    """Band values of all pieces, pooled as the consensus pools."""
    pooling = ScoringSpec().pooling
    found: dict[str, list[Float64]] = {"slope": [], "level": []}
    for piece in (piece for clip in pieces for piece in clip):
        if piece.profiles is None:
            raise CalibrationError("the clips were heard without what a consensus of profiles needs")
        weights = pooling.weights(piece.ranking(pooling))
        counts = weights @ piece.counts
        for name, values in found.items():
            sums = weights @ getattr(piece.profiles, name)
            values.append(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))
    return NormalPieces(**{name: np.stack(values) for name, values in found.items()})


def _profiles_to_lend(pieces: Sequence[Sequence[Evidence]]) -> tuple[NormalProfile | None, NormalProfile | None]:
    """Slope and level profiles for other machines of the type to borrow, whatever this one's score."""
    if any(piece.profiles is None for clip in pieces for piece in clip):
        return None, None
    values = _normal_pieces(pieces)
    return NormalProfile.fit(values.slope), NormalProfile.fit(values.level)


def _folds(groups: Int64) -> list[npt.NDArray[np.bool_]]:
    """Masks of the clips held out together: one recording each, or several where there are many."""
    fold_of = groups % MAX_FOLDS
    return [fold_of == fold for fold in np.unique(fold_of)]


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
