"""The one composition: samples in, scores out; files, live streams, calibration and tests all pass through it.

``Listener`` turns samples into evidence (resample, log-mel, windows, prediction); ``Monitor`` adds what a machine's
calibration makes of it. Both keep what is left over between pushes and are bounded: less than a frame of samples and
a block of frames, and the evidence of one clip. What becomes of a frame does not depend on those beside it, and
windows go through the predictor in blocks that are counted from the start of the stream, so that every chunking of
the same samples gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from humwatch.audio import MonoResampler
from humwatch.calibration import Calibration, ScaleCalibration
from humwatch.features import FeatureSpec, LogMel
from humwatch.predictor import Prediction, Predictor
from humwatch.recent import RecentEvidence
from humwatch.scoring import Assessor, Evidence, ScoringSpec
from humwatch.windows import Windower, WindowSpec

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ListeningSpec:
    """What is heard, and how: the part of a bundle that comes before calibration."""

    features: FeatureSpec
    windows: WindowSpec
    scoring: ScoringSpec

    @property
    def step_windows(self) -> int:
        """Windows from one score to the next."""
        return self.windows.step_windows(self.features)

    @property
    def clip_windows(self) -> int:
        """Windows that a clip score listens to."""
        return self.windows.clip_windows(self.features)

    @property
    def band_edges_hz(self) -> Float64:
        """Edges of the bands that count: float64 (bands, 2)."""
        return self.features.band_edges_hz[self.scoring.bands(self.features)]


@dataclass(frozen=True)
class WindowBlock:
    """Windows that went through the predictor together.

    Attributes:
        first_window: index of the first one since the start of the stream.
        windows: float32 (n, L, F), dB.
        prediction: of these windows.
        evidence: of these windows.
    """

    first_window: int
    windows: Float32
    prediction: Prediction
    evidence: Evidence


class Listener:
    """Samples in, window blocks with evidence out."""

    def __init__(self, spec: ListeningSpec, predictor: Predictor, *, source_rate_hz: int, channel: int = 0) -> None:
        self.spec = spec
        self._predictor = predictor
        self._assessor = Assessor(spec.scoring.kind, spec.scoring.bands(spec.features))
        self._mono = MonoResampler(source_rate_hz=source_rate_hz, rate_hz=spec.features.rate_hz, channel=channel)
        self._log_mel = LogMel(spec.features)
        self._windower = Windower(spec.windows, spec.features)
        self._start()

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        for stage in (self._mono, self._log_mel, self._windower):
            stage.reset()
        self._start()

    def _start(self) -> None:
        self._next_window = 0
        self._came = self._resampled = 0

    @property
    def samples_until_block(self) -> int:
        """Samples of the source that have to come before ``push`` can return a block; at least 1.

        So many are enough where nothing is resampled. A resampler is behind by up to 0.9 s at 4 kHz, 0.1 s at
        44.1 kHz, which is not counted on.
        """
        needed = self._log_mel.samples_until(self._windower.frames_until_block)
        source_hz, rate_hz = self._mono.source_rate_hz, self._mono.rate_hz
        if source_hz != rate_hz:
            needed = -(-(self._resampled + needed) * source_hz // rate_hz) - self._came
        return max(1, needed)

    def push(self, samples: Float32) -> list[WindowBlock]:
        """Take float32 (n, channels) at the source's rate; return the blocks that are full."""
        mono = self._mono.push(samples)
        self._came += len(samples)
        self._resampled += len(mono)
        return self._predicted(self._windower.push(self._log_mel.push(mono)))

    def flush(self) -> list[WindowBlock]:
        """Return what is left: full blocks, then a smaller one. The stream is over; ``reset`` before the next."""
        frames = np.concatenate([self._log_mel.push(self._mono.flush()), self._log_mel.flush()])
        return self._predicted(self._windower.push(frames) + self._windower.flush())

    def _predicted(self, batches: list[Float32]) -> list[WindowBlock]:
        blocks = []
        for windows in batches:
            prediction = self._predictor.predict(windows)
            evidence = self._assessor.evidence(windows, prediction)
            blocks.append(WindowBlock(self._next_window, windows, prediction, evidence))
            self._next_window += len(windows)
        return blocks


@dataclass(frozen=True)
class ScaleScore:
    """A score on one time scale, and the samples (at the model's rate) that it depends on.

    Attributes:
        start_sample: the first one.
        end_sample: one past the last.
        score: 0 = median of normal clips, 1 = alarm.
        raw_score: before normalisation.
        contributions: float64 (bands,), share of each band.
        departures_db: float64 (bands,), mean departure in dB: from normal clips for a profile in dB, from what the
            model expects for any other score; above 0 is louder.
    """

    start_sample: int
    end_sample: int
    score: float
    raw_score: float
    contributions: Float64
    departures_db: Float64


@dataclass(frozen=True)
class StepScores:
    """What a monitor says once a second: of the last second, and of the last clip once there is one."""

    step: ScaleScore
    clip: ScaleScore | None


@dataclass(frozen=True)
class Step(StepScores):
    """The scores with what was heard since the step before, for who wants to draw it."""

    block: WindowBlock


class Monitor:
    """Samples in, calibrated scores out."""

    def __init__(
        self,
        spec: ListeningSpec,
        predictor: Predictor,
        calibration: Calibration,
        *,
        source_rate_hz: int,
        channel: int = 0,
    ) -> None:
        self.spec = spec
        self.calibration = calibration
        self._listener = Listener(spec, predictor, source_rate_hz=source_rate_hz, channel=channel)
        self._step_windows, self._clip_windows = spec.step_windows, spec.clip_windows
        self._recent = RecentEvidence(spec.scoring, self._clip_windows)

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        self._listener.reset()
        self._recent.reset()

    @property
    def samples_until_step(self) -> int:
        """Samples of the source that have to come before ``push`` can return a step; at least 1.

        It may be a little later where sound is resampled, never sooner.
        """
        return self._listener.samples_until_block

    def push(self, samples: Float32) -> list[Step]:
        """Take float32 (n, channels) at the source's rate; return the steps that are due."""
        return self._steps(self._listener.push(samples))

    def flush(self) -> list[Step]:
        """Score what is left; the last step and clip reach back over sound that was already heard.

        The stream is over; ``reset`` before the next.
        """
        return self._steps(self._listener.flush())

    def _steps(self, blocks: list[WindowBlock]) -> list[Step]:
        steps = []
        for block in blocks:
            self._recent.push(block.evidence)
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
        scoring = self.spec.scoring
        pooled = self._recent.pooled(n_windows)
        raw, contributions = pooled.judged(scoring, scale.normal)
        start_sample, end_sample = self.spec.windows.sample_bounds(self.spec.features, end - n_windows, n_windows)
        return ScaleScore(
            start_sample=start_sample,
            end_sample=end_sample,
            score=scale.thresholds.normalise(raw),
            raw_score=raw,
            contributions=contributions,
            departures_db=pooled.signed - scale.normal.mean if scoring.signed_is_score else pooled.signed,
        )
