"""Fit of a calibration to normal clips: statistics and thresholds.

A step threshold is fitted on the highest step of each clip, so that "over 1" is as rare on either time scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from humwatch.arrays import Bool, Float64, Int64
from humwatch.calibration.type_prior import ScalePrior, TypePrior
from humwatch.detectors.consensus import NormalPieces, fit_consensus
from humwatch.detectors.detector_set import fit_detectors
from humwatch.detectors.profile import NormalProfile
from humwatch.detectors.thresholds import DEFAULT_METHOD, METHODS, Symmetry, Threshold, fit_threshold, recordings_needed
from humwatch.errors import CalibrationError
from humwatch.scoring.calibration import Calibration, CalibrationSpec, ScaleCalibration, ScaleThresholds, raw_score
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoringSpec

MAX_FOLDS: Final = 50
MIN_RECORDINGS: Final = 3


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
    thresholds would be those of clips that the statistics have seen.

    Args:
        clips: normal clips of at least three recordings.
        scoring: score of the model.
        spec: rates and method of the thresholds.
        step_windows: number of windows in a step.
        clip_seconds: length of a clip, s.
        prior: variation of profiles on other machines of the type, for a machine with too few clips to show it; an
            error (``mse``, ``nll``) needs none.
        response: float64 (probes, bands), response of the network, which weighs the profiles of a consensus
            (:func:`humwatch.pipeline.network_response`); None gives both the same weight.

    Raises:
        CalibrationError: fewer than three recordings.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import OnnxPredictor, calibrate, read_bundle
        >>> from humwatch.calibration.collector import NormalCollector
        >>> from humwatch.calibration.plan import CollectionPlan
        >>> from humwatch.scoring.calibration import CalibrationSpec
        >>> from humwatch.synthetic import SyntheticMachine
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> spec = bundle.manifest.pipeline
        >>> collector = NormalCollector(spec, OnnxPredictor(bundle.graph), plan=CollectionPlan.in_a_row(3))
        >>> collector.begin(16_000, 16)
        >>> for minute in range(3):
        ...     collector.push(SyntheticMachine(seed=1).clip(minute, seconds=60.0))
        >>> calibration = calibrate(
        ...     collector.clips(),
        ...     scoring=spec.scoring,
        ...     spec=CalibrationSpec(alarm_rate=0.01),
        ...     step_windows=spec.step_windows,
        ...     clip_seconds=spec.windows.clip_seconds,
        ... )
        >>> calibration.recordings, calibration.clips, calibration.clip.thresholds.alarm.promised
        (3, 18, False)
    """
    levels = np.array([clip.level_dbfs for clip in clips])
    fit = _ScaleFit(clips, scoring, spec, clip_seconds, response)
    clip_scale = fit.clips(prior)
    step_scale = fit.steps(prior, step_windows)
    used = prior is not None and (scoring.kind == "consensus" or (scoring.is_profile and prior.clip.own is not None))
    return Calibration(
        clip=clip_scale,
        step=step_scale,
        clips=len(clips),
        recordings=fit.recordings,
        level_dbfs_low=float(levels.min()),
        level_dbfs_high=float(levels.max()),
        sample_bits=min(clip.sample_bits for clip in clips),
        warnings=_shortcomings(clip_scale.thresholds, fit.recordings),
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
    return _ScaleFit(clips, scoring, spec, clip_seconds, response).clips(prior)


def left_out_scores(
    clips: Sequence[NormalClip],
    *,
    scoring: ScoringSpec,
    spec: CalibrationSpec,
    clip_seconds: float,
    prior: TypePrior | None = None,
    response: Float64 | None = None,
) -> Float64:
    """Return the raw score of each clip by statistics of the other recordings, in order: float64 (clips,).

    Arguments and errors are those of :func:`calibrate`.
    """
    return _ScaleFit(clips, scoring, spec, clip_seconds, response).left_out(prior)


def _recording_of(clips: Sequence[NormalClip]) -> Int64:
    """Return the index of each clip's recording among all of them: int64 (clips,)."""
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
    """Fit of one time scale after the other to normal clips, with the settings of their calibration."""

    def __init__(
        self,
        clips: Sequence[NormalClip],
        scoring: ScoringSpec,
        spec: CalibrationSpec,
        clip_seconds: float,
        response: Float64 | None,
    ) -> None:
        self._clips = clips
        self._groups = _recording_of(clips)
        self.recordings = int(self._groups.max()) + 1
        self._scoring = scoring
        self._spec = spec
        self._clip_seconds = clip_seconds
        self._response = response

    def clips(self, prior: TypePrior | None) -> ScaleCalibration:
        """Fit the time scale of clips."""
        return self._clips_scale(prior)[0]

    def left_out(self, prior: TypePrior | None) -> Float64:
        """Return the raw scores of the clips, in order."""
        return self._clips_scale(prior)[1]

    def steps(self, prior: TypePrior | None, step_windows: int) -> ScaleCalibration:
        """Fit the time scale of steps."""
        return self._scale(lambda evidence: _steps(evidence, step_windows), prior.step if prior else None)[0]

    def _clips_scale(self, prior: TypePrior | None) -> tuple[ScaleCalibration, Float64]:
        return self._scale(lambda evidence: [evidence], prior.clip if prior else None, whole_clips=True)

    def _scale(
        self, cut: Callable[[Evidence], list[Evidence]], prior: ScalePrior | None, *, whole_clips: bool = False
    ) -> tuple[ScaleCalibration, Float64]:
        """Return the calibration of a scale, and the raw score of each clip, in order."""
        pieces = [cut(clip.evidence) for clip in self._clips]
        if self._scoring.kind == "consensus":
            return self._consensus(pieces, prior, whole_clips=whole_clips)
        known = prior.own if prior is not None and self._scoring.is_profile else None
        return self._single(pieces, known, _profiles_for_priors(pieces))

    def _consensus(
        self, pieces: list[list[Evidence]], prior: ScalePrior | None, *, whole_clips: bool
    ) -> tuple[ScaleCalibration, Float64]:
        alarm_rate = self._spec.alarm_rate
        prior = prior or ScalePrior()
        clip_of = np.repeat(np.arange(len(pieces)), [len(clip) for clip in pieces])
        consensus, deviations = fit_consensus(
            _normal_pieces(pieces),
            clip_of,
            [fold[clip_of] for fold in _folds(self._groups)],
            recordings=self.recordings,
            alarm_rate=alarm_rate,
            slope_prior=prior.slope,
            level_prior=prior.level,
            response=self._response,
        )
        judgeable = [clip.lines for clip in self._clips if clip.lines is not None and clip.lines.is_judgeable]
        rhythms = [clip.evidence.profiles.rhythm.sum(axis=0) for clip in self._clips if clip.evidence.profiles]
        detectors, raw = fit_detectors(
            consensus,
            deviations,
            rhythm=rhythms if whole_clips and len(rhythms) == len(pieces) else None,
            lines=judgeable if whole_clips and len(judgeable) == len(pieces) else None,
            groups=self._groups,
            recordings=self.recordings,
            alarm_rate=alarm_rate,
        )
        ascending = np.sort(raw)
        thresholds = self._thresholds(ascending, "alarm_units").model_copy(update={"detectors": detectors.levels})
        slope, level = consensus.slope, consensus.level
        return ScaleCalibration(thresholds, level, ascending, slope, level, detectors.lines), raw

    def _single(
        self,
        pieces: list[list[Evidence]],
        prior: NormalProfile | None,
        shared: tuple[NormalProfile | None, NormalProfile | None],
    ) -> tuple[ScaleCalibration, Float64]:
        scoring = self._scoring
        pooled = [np.stack([piece.pooled(scoring.pooling) for piece in clip]) for clip in pieces]  # (pieces, bands)
        scores = np.empty(len(pieces))
        for fold in _folds(self._groups):
            known = np.concatenate([p for p, held in zip(pooled, fold, strict=True) if not held])
            others = NormalProfile.fit(known, prior)
            for i in np.flatnonzero(fold):
                scores[i] = max(raw_score(piece, scoring, others) for piece in pieces[i])
        ascending = np.sort(scores)
        symmetry: Symmetry = "distance" if scoring.is_profile else "logarithm" if scoring.kind == "mse" else "identity"
        normal = NormalProfile.fit(np.concatenate(pooled), prior)
        return ScaleCalibration(self._thresholds(ascending, symmetry), normal, ascending, *shared), scores

    def _thresholds(self, scores: Float64, symmetry: Symmetry) -> ScaleThresholds:
        spec = self._spec
        method = DEFAULT_METHOD if spec.method == "auto" else spec.method

        def choose(rate: float) -> tuple[Threshold, list[Threshold]]:
            fits = {
                name: fit_threshold(
                    scores,
                    rate=rate,
                    method=name,
                    recordings=self.recordings,
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
    """Return the band values of all pieces, pooled as the consensus pools."""
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


def _profiles_for_priors(pieces: Sequence[Sequence[Evidence]]) -> tuple[NormalProfile | None, NormalProfile | None]:
    """Return slope and level profiles for the prior of other machines of the type, whatever this one's score."""
    if any(piece.profiles is None for clip in pieces for piece in clip):
        return None, None
    values = _normal_pieces(pieces)
    return NormalProfile.fit(values.slope), NormalProfile.fit(values.level)


def _folds(groups: Int64) -> list[Bool]:
    """Return masks of the clips held out together: one recording each, or several where there are many."""
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
