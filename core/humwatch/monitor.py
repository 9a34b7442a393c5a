"""The one composition: samples in, scores out; files, live streams, calibration and tests all pass through it.

``Listener`` turns samples into evidence (resample, log-mel, windows, prediction); ``Monitor`` adds what a machine's
calibration makes of it. Both keep what is left over between pushes and are bounded: at most one block of samples,
one of frames, and the evidence of one clip. Blocks have one shape and are counted from the start of the stream, so
that every chunking of the same samples gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from humwatch.audio import MonoResampler
from humwatch.calibration import Calibration, ScaleCalibration, band_contributions, raw_score
from humwatch.features import FeatureSpec, LogMel
from humwatch.predictor import Prediction, Predictor
from humwatch.quality import SoundCheck
from humwatch.scoring import Evidence, ScoringSpec, evidence_of
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
        self.check = SoundCheck(source_rate_hz)
        self._predictor = predictor
        self._channel = channel
        self._bands = spec.scoring.bands(spec.features)
        self._mono = MonoResampler(source_rate_hz=source_rate_hz, rate_hz=spec.features.rate_hz, channel=channel)
        self._log_mel = LogMel(spec.features)
        self._windower = Windower(spec.windows, spec.features)
        self._next_window = 0

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        for stage in (self.check, self._mono, self._log_mel, self._windower):
            stage.reset()
        self._next_window = 0

    def push(self, samples: Float32) -> list[WindowBlock]:
        """Take float32 (n, channels) at the source's rate; return the blocks that are full."""
        mono = self._mono.push(samples)
        self.check.push(np.ascontiguousarray(samples[:, self._channel]))
        return self._predicted(self._windower.push(self._log_mel.push(mono)))

    def flush(self) -> list[WindowBlock]:
        """Return what is left: full blocks, then a smaller one. The stream is over; ``reset`` before the next."""
        frames = np.concatenate([self._log_mel.push(self._mono.flush()), self._log_mel.flush()])
        return self._predicted(self._windower.push(frames) + self._windower.flush())

    def _predicted(self, batches: list[Float32]) -> list[WindowBlock]:
        blocks = []
        for windows in batches:
            prediction = self._predictor.predict(windows)
            evidence = evidence_of(windows, prediction, self.spec.scoring.kind, self._bands)
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
        self._forget()

    @property
    def check(self) -> SoundCheck:
        """What was measured on the samples themselves."""
        return self._listener.check

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        self._listener.reset()
        self._forget()

    def push(self, samples: Float32) -> list[Step]:
        """Take float32 (n, channels) at the source's rate; return the steps that are due."""
        return self._steps(self._listener.push(samples))

    def flush(self) -> list[Step]:
        """Score what is left; the last step and clip reach back over sound that was already heard.

        The stream is over; ``reset`` before the next.
        """
        return self._steps(self._listener.flush())

    def _forget(self) -> None:
        bands = len(self.spec.band_edges_hz)
        self._recent = Evidence.nothing(bands)

    def _steps(self, blocks: list[WindowBlock]) -> list[Step]:
        steps = []
        for block in blocks:
            recent = Evidence.concatenate([self._recent, block.evidence])
            self._recent = recent[max(0, len(recent) - self.spec.clip_windows) :]
            end = block.first_window + len(block.evidence)
            step = self._score(self.calibration.step, self.spec.step_windows, end)
            if step is not None:
                clip = self._score(self.calibration.clip, self.spec.clip_windows, end)
                steps.append(Step(step, clip, block))
        return steps

    def _score(self, scale: ScaleCalibration, n_windows: int, end: int) -> ScaleScore | None:
        """Score the last ``n_windows`` windows, if there are as many."""
        if len(self._recent) < n_windows:
            return None
        evidence = self._recent[len(self._recent) - n_windows :]
        scoring = self.spec.scoring
        raw = raw_score(evidence, scoring, scale.normal)
        start_sample, end_sample = self.spec.windows.sample_bounds(self.spec.features, end - n_windows, n_windows)
        departures = evidence.pooled_signed(scoring.pooling) - (scale.normal.mean if scoring.signed_is_score else 0.0)
        return ScaleScore(
            start_sample=start_sample,
            end_sample=end_sample,
            score=scale.thresholds.normalise(raw),
            raw_score=raw,
            contributions=band_contributions(evidence, scoring, scale.normal),
            departures_db=departures,
        )
