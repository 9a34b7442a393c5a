"""Monitor: samples in, calibrated scores out, for files, live streams and tests alike.

It holds the evidence of one clip beside the rest of its pipeline (:mod:`humwatch.pipeline`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.band_limit import BandLimit
from humwatch.detectors.detector_set import DetectorName, Judgement, judged
from humwatch.detectors.lines import ClipLines
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime, irregular_times
from humwatch.pipeline import EvidencePipeline, PipelineSpec, WindowBlock
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration, ScaleCalibration
from humwatch.scoring.recent import EvidenceBlock, Pooled, RecentEvidence, RecentLines, pooled
from humwatch.source.health import SourceHealth
from humwatch.together import Work, alone


def source_health(
    spec: PipelineSpec, calibration: Calibration | None, *, rate_hz: int, full_scale: bool = True, spectrum: bool = True
) -> SourceHealth:
    """Return the health of one source, fresh.

    Args:
        spec: front end and bands of the model.
        calibration: calibration that the sound is compared with; None where there is none.
        rate_hz: sample rate, Hz.
        full_scale: whether samples have a full scale.
        spectrum: whether windows will be heard, for the band limit.
    """
    levels_dbfs = (-np.inf, np.inf)
    if calibration is not None:
        levels_dbfs = calibration.level_dbfs_low, calibration.level_dbfs_high
    normal_db = calibration.spectrum_db if calibration is not None else None
    return SourceHealth(
        rate_hz=rate_hz,
        needed_hz=float(spec.band_edges_hz[-1, 1]),
        level_dbfs_low=levels_dbfs[0],
        level_dbfs_high=levels_dbfs[1],
        full_scale=full_scale,
        band_limit=BandLimit(spec.features, spec.scoring.bands(spec.features), normal_db=normal_db)
        if spectrum
        else None,
    )


@dataclass(frozen=True)
class ScaleScore:
    """A score on one time scale, and the samples (at the model's rate) that it depends on.

    Attributes:
        start_sample: first sample.
        end_sample: index one past the last sample.
        score: normalised score: 0 = median of normal clips, 1 = alarm.
        raw_score: score before normalisation.
        contributions: float64 (bands,), share of each band.
        departures_db: float64 (bands,), mean departure in dB: from normal clips for a profile in dB, from the
            model's expectation for any other score; above 0 is louder.
        detector: detector that decided.
        times: stretches of irregular sound, seconds from ``start_sample``; for scores from the warning level on
            that ``rhythm`` decided.
        line: line that changed; for scores from the warning level on that ``lines`` decided.
    """

    start_sample: int
    end_sample: int
    score: float
    raw_score: float
    contributions: Float64
    departures_db: Float64
    detector: DetectorName = "profile"
    times: tuple[IrregularTime, ...] = ()
    line: LineFinding | None = None


@dataclass(frozen=True)
class StepScores:
    """Scores once a second: of the last second, and of the last clip once there is one."""

    step: ScaleScore
    clip: ScaleScore | None


@dataclass(frozen=True)
class Step(StepScores):
    """Scores with the windows since the step before, for those who draw them."""

    block: WindowBlock


class ScaleJob:
    """Score of one machine on one time scale, beside those of others."""

    leaves_python: ClassVar[bool] = False

    def __init__(
        self,
        spec: PipelineSpec,
        scale: ScaleCalibration,
        blocks: Sequence[EvidenceBlock],
        span: tuple[int, int],
        *,
        rhythm: Float64 | None,
        lines: ClipLines | None,
    ) -> None:
        """Ask for the score of some windows.

        Args:
            spec: front end, windows and score of the model.
            scale: calibration of the time scale.
            blocks: evidence of the windows, in blocks, the oldest first.
            span: first sample that the score depends on, and one past the last.
            rhythm: sums of powers of the level of each window, float64 (windows, groups, powers); None leaves the
                detector out.
            lines: line spectra of the clip; None leaves the detector out.
        """
        self.company: Hashable = (
            spec.scoring.kind,
            spec.scoring.pooling.kind,
            spec.scoring.pooling.decay,
            scale.normal.mean.shape,
            scale.detectors is None,
            None if rhythm is None else rhythm.shape,
            None if lines is None else lines.early.rate_hz,
        )
        self._spec = spec
        self._scale = scale
        self._blocks = blocks
        self._span = span
        self._rhythm = rhythm
        self._lines = lines

    @classmethod
    def results(cls, jobs: Sequence[ScaleJob]) -> list[ScaleScore]:
        """Return the score of each."""
        some = pooled(jobs[0]._spec.scoring, [job._blocks for job in jobs])
        sets = [job._scale.detectors for job in jobs if job._scale.detectors is not None]
        if not sets:
            return [job._plain(one) for job, one in zip(jobs, some, strict=True)]
        rhythms = [job._rhythm.sum(axis=0) for job in jobs if job._rhythm is not None]
        lines = [job._lines for job in jobs if job._lines is not None]
        slopes, levels = np.stack([one.values for one in some]), np.stack([one.signed for one in some])
        judgements = judged(sets, slopes, levels, rhythms or None, lines or None)
        return [job._judged(one, found) for job, one, found in zip(jobs, some, judgements, strict=True)]

    def _plain(self, pooled: Pooled) -> ScaleScore:
        """Score by a profile or an error alone."""
        scale, scoring = self._scale, self._spec.scoring
        raw, contributions = pooled.judged(scoring, scale.normal)
        return ScaleScore(
            *self._span,
            score=scale.thresholds.normalise(raw),
            raw_score=raw,
            contributions=contributions,
            departures_db=pooled.signed - scale.normal.mean if scoring.signed_is_score else pooled.signed,
            detector="profile" if scoring.is_profile else "error",
        )

    def _judged(self, pooled: Pooled, found: Judgement) -> ScaleScore:
        """Score by all detectors, and say what they found from the warning level on."""
        scale = self._scale
        times: tuple[IrregularTime, ...] = ()
        line = None
        if found.raw >= scale.thresholds.warn.level:
            if found.detector == "rhythm" and self._rhythm is not None:
                features = self._spec.features
                window_s = self._spec.windows.hop_frames * features.hop_samples / features.rate_hz
                times = tuple(irregular_times(self._rhythm, window_s, 0.0))
            if found.line is not None and self._lines is not None and scale.detectors is not None:
                line = scale.detectors.explain_lines(self._lines, found.line)
        return ScaleScore(
            *self._span,
            score=scale.thresholds.normalise(found.raw),
            raw_score=found.raw,
            contributions=found.contributions,
            departures_db=pooled.signed - scale.normal.mean,
            detector=found.detector,
            times=times,
            line=line,
        )


class Monitor:
    """Samples in, calibrated scores out."""

    def __init__(
        self,
        spec: PipelineSpec,
        predictor: Predictor,
        calibration: Calibration,
        *,
        source_rate_hz: int,
        channel: int = 0,
    ) -> None:
        self.spec = spec
        self.calibration = calibration
        self._pipeline = EvidencePipeline(spec, predictor, source_rate_hz=source_rate_hz, channel=channel)
        self._step_windows, self._clip_windows = spec.step_windows, spec.clip_windows
        self._recent = RecentEvidence(spec.scoring, self._clip_windows)
        self._lines = RecentLines(self._clip_windows)

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        self._pipeline.reset()
        self._recent.reset()
        self._lines.reset()

    @property
    def samples_until_step(self) -> int:
        """Samples of the source that have to come before ``push`` can return a step; at least 1.

        It may be a little later where sound is resampled, never sooner.
        """
        return self._pipeline.samples_until_block

    def push(self, samples: Float32) -> list[Step]:
        """Take float32 (n, channels) at the source's rate; return the steps that are due."""
        return alone(self.pushing(samples))

    def flush(self) -> list[Step]:
        """Score the rest; the last step and clip reach back over sound that was scored before.

        The stream is over; ``reset`` before the next.
        """
        return alone(self.flushing())

    def finish(self, samples: Float32) -> list[Step]:
        """Take the last samples and score the rest, as one piece of work."""
        return alone(self._steps(self._pipeline.finishing(samples)))

    def pushing(self, samples: Float32) -> Work[list[Step]]:
        """Return the work of :meth:`push`, to be done beside that of others."""
        return self._steps(self._pipeline.pushing(samples))

    def flushing(self) -> Work[list[Step]]:
        """Return the work of :meth:`flush`, to be done beside that of others."""
        return self._steps(self._pipeline.flushing())

    def _steps(self, blocks: Work[list[WindowBlock]]) -> Work[list[Step]]:
        due: list[tuple[WindowBlock, list[ScaleJob]]] = []
        for block in (yield from blocks):
            self._recent.push(block.evidence)
            if block.lines is not None:
                self._lines.push(block.first_window, block.lines)
            end = block.first_window + len(block.evidence)
            scales = (self.calibration.step, self._step_windows), (self.calibration.clip, self._clip_windows)
            jobs = [self._job(*scale, end) for scale in scales if len(self._recent) >= scale[1]]
            if jobs:
                due.append((block, jobs))
        if not due:
            return []
        scores = iter((yield [job for _, jobs in due for job in jobs]))
        return [Step(next(scores), next(scores) if len(jobs) == 2 else None, block) for block, jobs in due]

    def _job(self, scale: ScaleCalibration, n_windows: int, end: int) -> ScaleJob:
        """Ask for the score of the last ``n_windows`` windows; rhythm and narrow lines need a whole clip."""
        start_sample, end_sample = self.spec.windows.sample_bounds(self.spec.features, end - n_windows, n_windows)
        whole = scale is self.calibration.clip and scale.detectors is not None
        return ScaleJob(
            self.spec,
            scale,
            self._recent.last(n_windows),
            (start_sample, end_sample),
            rhythm=self._recent.rhythm(self._clip_windows) if whole else None,
            lines=self._lines.clip(end) if whole and scale.lines is not None else None,
        )
