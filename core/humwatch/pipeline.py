"""Pipeline from samples to evidence: resample, log-mel, windows, prediction.

It keeps the rest between pushes, less than a frame of samples and a block of frames. No frame depends on those beside
it, and windows go through the predictor in blocks that are counted from the start of the stream, so that every chunking
of the same samples gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.decoding import MonoResampler
from humwatch.audio.features import FeatureSpec, LogMel
from humwatch.audio.windows import Windower, WindowSpec
from humwatch.detectors.consensus import slope_response
from humwatch.detectors.lines import HIGH_HZ, LinePower, line_power
from humwatch.predictor import Prediction, PredictionJob, Predictor
from humwatch.scoring.evidence import Evidence, EvidenceExtractor, EvidenceJob
from humwatch.scoring.spec import Pooling, ScoringSpec
from humwatch.together import Work, alone


@dataclass(frozen=True)
class PipelineSpec:
    """Front end, windows and score of a model: the part of a bundle that comes before calibration.

    Attributes:
        features: log-mel frames.
        windows: windows, steps and clips.
        scoring: score, and the bands that count.
    """

    features: FeatureSpec
    windows: WindowSpec
    scoring: ScoringSpec

    @property
    def step_windows(self) -> int:
        """Number of windows from one score to the next."""
        return self.windows.step_windows(self.features)

    @property
    def clip_windows(self) -> int:
        """Number of windows of a clip score."""
        return self.windows.clip_windows(self.features)

    @property
    def uses_lines(self) -> bool:
        """True if the score uses narrow lines as well."""
        return self.scoring.kind == "consensus" and self.features.rate_hz > 2.0 * HIGH_HZ

    @property
    def block_samples(self) -> tuple[int, int]:
        """Samples from one block of windows to the next, and samples that a block depends on, at the model's rate."""
        advance = self.step_windows * self.windows.hop_frames * self.features.hop_samples
        start, end = self.windows.sample_bounds(self.features, 0, self.step_windows)
        return advance, end - start

    @property
    def band_edges_hz(self) -> Float64:
        """Edges of the bands that count: float64 (bands, 2)."""
        return self.features.band_edges_hz[self.scoring.bands(self.features)]


@dataclass(frozen=True)
class WindowBlock:
    """Windows that went through the predictor together.

    Attributes:
        first_window: index of the first window since the start of the stream.
        windows: float32 (n, L, F), dB.
        prediction: prediction of these windows.
        evidence: evidence of these windows.
        lines: power spectra of the samples that a full block depends on; None for a score without lines, and in the
            smaller block at the end of a sound.
    """

    first_window: int
    windows: Float32
    prediction: Prediction
    evidence: Evidence
    lines: LinePower | None = None


class _BlockSamples:
    """Samples in, line spectra of each block of windows out; keeps the samples of the block that is not full."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._advance, self._length = spec.block_samples
        self._rate_hz = spec.features.rate_hz
        self.reset()

    def reset(self) -> None:
        self._held: Float32 = np.zeros(0, np.float32)

    def push(self, mono: Float32) -> None:
        self._held = np.concatenate([self._held, mono])

    def next_block(self) -> LinePower:
        """Return the line spectra of the next block, whose samples are all there."""
        power = line_power(self._held[: self._length], self._rate_hz)
        self._held = self._held[self._advance :].copy()
        return power


def network_response(spec: PipelineSpec, predictor: Predictor, windows: Float32) -> Float64 | None:
    """Return the response of the likelihood's slope to changes of the sound: float64 (probes, bands), 1/dB^2.

    Args:
        spec: front end, windows and score of the model.
        predictor: network of the model.
        windows: float32 (n, L, F) in dB, normal sound of any machine of the type.

    Returns:
        The response; None for a score that is no consensus.
    """
    if spec.scoring.kind != "consensus":
        return None
    bands = spec.scoring.bands(spec.features)
    assessor = EvidenceExtractor("consensus", bands)

    def slopes(changed: Float32) -> Float64:
        return assessor.evidence(changed, predictor.predict(changed)).pooled(Pooling())

    return slope_response(windows, bands, slopes)


class EvidencePipeline:
    """Samples in, window blocks with evidence out."""

    def __init__(
        self,
        spec: PipelineSpec,
        predictor: Predictor,
        *,
        source_rate_hz: int,
        channel: int = 0,
        calibrating: bool = False,
    ) -> None:
        """Begin one stream or recording.

        Args:
            spec: front end, windows and score of the model.
            predictor: network of the model.
            source_rate_hz: sample rate of the source, Hz.
            channel: channel to use, counted from 0.
            calibrating: True for the evidence of a calibration, which every detector and other machines of the type
                need, whatever the score is.
        """
        self.spec = spec
        self._predictor = predictor
        consensus = spec.scoring.kind == "consensus"
        self._assessor = EvidenceExtractor(
            spec.scoring.kind,
            spec.scoring.bands(spec.features),
            profiles_hop=spec.windows.hop_frames if consensus or calibrating else None,
        )
        self._samples = _BlockSamples(spec) if spec.uses_lines else None
        self._mono = MonoResampler(source_rate_hz=source_rate_hz, rate_hz=spec.features.rate_hz, channel=channel)
        self._log_mel = LogMel(spec.features)
        self._windower = Windower(spec.windows, spec.features)
        self._start()

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        for stage in (self._mono, self._log_mel, self._windower, self._samples):
            if stage is not None:
                stage.reset()
        self._start()

    def _start(self) -> None:
        self._next_window = 0
        self._received = self._resampled = 0

    @property
    def samples_until_block(self) -> int:
        """Samples of the source that have to come before ``push`` can return a block; at least 1.

        So many are enough where nothing is resampled. A resampler is behind by up to 0.9 s at 4 kHz, 0.1 s at
        44.1 kHz, which is not counted on.
        """
        needed = self._log_mel.samples_until(self._windower.frames_until_block)
        source_hz, rate_hz = self._mono.source_rate_hz, self._mono.rate_hz
        if source_hz != rate_hz:
            needed = -(-(self._resampled + needed) * source_hz // rate_hz) - self._received
        return max(1, needed)

    def push(self, samples: Float32) -> list[WindowBlock]:
        """Take float32 (n, channels) at the source's rate; return the blocks that are full."""
        return alone(self.pushing(samples))

    def flush(self) -> list[WindowBlock]:
        """Return the rest: full blocks, then a smaller one. The stream is over; ``reset`` before the next."""
        return alone(self.flushing())

    def pushing(self, samples: Float32) -> Work[list[WindowBlock]]:
        """Return the work of :meth:`push`, to be done beside that of others."""
        return self._predicted(self._windows(samples))

    def flushing(self) -> Work[list[WindowBlock]]:
        """Return the work of :meth:`flush`, to be done beside that of others."""
        return self._predicted(self._last_windows())

    def finishing(self, samples: Float32) -> Work[list[WindowBlock]]:
        """Return the work of :meth:`push` and :meth:`flush` in one, to be done beside that of others."""
        return self._predicted(self._windows(samples) + self._last_windows())

    def _windows(self, samples: Float32) -> list[Float32]:
        """Take float32 (n, channels); return the batches of windows that are full, float32 (step_windows, L, F)."""
        mono = self._mono.push(samples)
        self._received += len(samples)
        self._resampled += len(mono)
        if self._samples is not None:
            self._samples.push(mono)
        return self._windower.push(self._log_mel.push(mono))

    def _last_windows(self) -> list[Float32]:
        """Return the batches of windows that are left, the last of which may be smaller."""
        mono = self._mono.flush()
        if self._samples is not None:
            self._samples.push(mono)
        frames = np.concatenate([self._log_mel.push(mono), self._log_mel.flush()])
        return self._windower.push(frames) + self._windower.flush()

    def _predicted(self, batches: list[Float32]) -> Work[list[WindowBlock]]:
        if not batches:
            return []
        predictions: Sequence[Prediction] = yield [PredictionJob(self._predictor, windows) for windows in batches]
        jobs = [EvidenceJob(self._assessor, *both) for both in zip(batches, predictions, strict=True)]
        found: Sequence[Evidence] = yield jobs
        blocks = []
        for windows, prediction, evidence in zip(batches, predictions, found, strict=True):
            full = len(windows) == self.spec.step_windows
            lines = self._samples.next_block() if self._samples is not None and full else None
            blocks.append(WindowBlock(self._next_window, windows, prediction, evidence, lines))
            self._next_window += len(windows)
        return blocks
