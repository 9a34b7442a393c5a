"""Monitor: samples in, calibrated scores out, for files, live streams and tests alike.

It holds the evidence of one clip beside the rest of its pipeline (:mod:`humwatch.pipeline`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.band_limit import BandLimit
from humwatch.detectors.detector_set import DetectorName, DetectorSet
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime, irregular_times
from humwatch.pipeline import EvidencePipeline, PipelineSpec, WindowBlock
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration, ScaleCalibration
from humwatch.scoring.recent import Pooled, RecentEvidence, RecentLines
from humwatch.source.health import SourceHealth


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
        return self._steps(self._pipeline.push(samples))

    def flush(self) -> list[Step]:
        """Score the rest; the last step and clip reach back over sound that was scored before.

        The stream is over; ``reset`` before the next.
        """
        return self._steps(self._pipeline.flush())

    def _steps(self, blocks: list[WindowBlock]) -> list[Step]:
        steps = []
        for block in blocks:
            self._recent.push(block.evidence)
            if block.lines is not None:
                self._lines.push(block.first_window, block.lines)
            end = block.first_window + len(block.evidence)
            step = self._score(self.calibration.step, self._step_windows, end)
            if step is not None:
                clip = self._score(self.calibration.clip, self._clip_windows, end)
                steps.append(Step(step, clip, block))
        return steps

    def _score(self, scale: ScaleCalibration, n_windows: int, end: int) -> ScaleScore | None:
        """Score the last ``n_windows`` windows, if there are as many."""
        if len(self._recent) < n_windows:
            return None
        pooled = self._recent.pooled(n_windows)
        start_sample, end_sample = self.spec.windows.sample_bounds(self.spec.features, end - n_windows, n_windows)
        span = start_sample, end_sample
        if scale.detectors is not None:
            return self._judged(scale, scale.detectors, pooled, span, end)
        scoring = self.spec.scoring
        raw, contributions = pooled.judged(scoring, scale.normal)
        return ScaleScore(
            *span,
            score=scale.thresholds.normalise(raw),
            raw_score=raw,
            contributions=contributions,
            departures_db=pooled.signed - scale.normal.mean if scoring.signed_is_score else pooled.signed,
            detector="profile" if scoring.is_profile else "error",
        )

    def _judged(
        self, scale: ScaleCalibration, detectors: DetectorSet, pooled: Pooled, span: tuple[int, int], end: int
    ) -> ScaleScore:
        """Score by all detectors; rhythm and narrow lines need a whole clip."""
        whole = scale is self.calibration.clip
        windows = self._recent.rhythm(self._clip_windows) if whole else None
        lines = self._lines.clip(end) if whole and detectors.lines is not None else None
        found = detectors.judge(pooled.values, pooled.signed, None if windows is None else windows.sum(axis=0), lines)
        noteworthy = found.raw >= scale.thresholds.warn.level
        times: tuple[IrregularTime, ...] = ()
        if noteworthy and found.detector == "rhythm" and windows is not None:
            features = self.spec.features
            window_s = self.spec.windows.hop_frames * features.hop_samples / features.rate_hz
            times = tuple(irregular_times(windows, window_s, 0.0))
        line = None
        if noteworthy and found.line is not None and lines is not None:
            line = detectors.explain_lines(lines, found.line)
        return ScaleScore(
            *span,
            score=scale.thresholds.normalise(found.raw),
            raw_score=found.raw,
            contributions=found.contributions,
            departures_db=pooled.signed - scale.normal.mean,
            detector=found.detector,
            times=times,
            line=line,
        )
