"""Model of a live stream, and its track through the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humwatch.alarm.sequential import SequentialLimits
from humwatch.arrays import Float32
from humwatch.bundle.bundle import Bundle
from humwatch.monitor import Monitor, Step, source_health
from humwatch.predictor import Predictor
from humwatch.source.health import SourceHealth
from humwatch.together import Work


@dataclass(frozen=True)
class LiveModel:
    """Bundle and predictor that score a stream.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import LiveModel, OnnxPredictor, read_bundle
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> LiveModel(bundle, OnnxPredictor(bundle.graph)).clip_seconds
        10.0
    """

    bundle: Bundle
    predictor: Predictor

    @property
    def clip_seconds(self) -> float:
        """Length of the sound that a clip score rests on, s."""
        return self.bundle.manifest.windows.clip_seconds

    @property
    def limits(self) -> SequentialLimits | None:
        """Limits of the sequential alarm rule; None for a version without them."""
        decision = self.bundle.manifest.decision
        return None if decision is None else decision.limits

    def scale_of(self, *, full_scale: bool) -> np.float32:
        """Return the factor for the samples of a stream, which is for floats alone."""
        return np.float32(self.bundle.calibration.scale_of(full_scale=full_scale))

    def windows_in(self, samples: int, source_rate_hz: int) -> int:
        """Return the number of windows that begin in so many samples of the source."""
        manifest = self.bundle.manifest
        return round(samples / source_rate_hz * manifest.features.frame_rate_hz / manifest.windows.hop_frames)

    def monitor(self, source_rate_hz: int) -> Monitor:
        """Return a monitor for the mono sound of one stream."""
        return self.bundle.monitor(self.predictor, source_rate_hz=source_rate_hz, channel=0)

    def health(self, source_rate_hz: int, *, full_scale: bool = True) -> SourceHealth:
        """Return the health of the source of one stream, whose samples have a full scale or may be in any unit."""
        pipeline, calibration = self.bundle.manifest.pipeline, self.bundle.calibration
        return source_health(pipeline, calibration, rate_hz=source_rate_hz, full_scale=full_scale)


class ModelTrack:
    """Monitor of a model, and the place in the stream where it began."""

    def __init__(self, model: LiveModel, source_rate_hz: int, origin: int) -> None:
        self.model = model
        self._monitor = model.monitor(source_rate_hz)
        self._scale = source_rate_hz / model.bundle.manifest.features.rate_hz
        self._origin = origin

    def restart(self, origin: int) -> None:
        """Start anew at the sample ``origin`` of the stream."""
        self._monitor.reset()
        self._origin = origin

    @property
    def samples_until_step(self) -> int:
        """Samples of the source that have to come before ``push`` can return a step; at least 1."""
        return self._monitor.samples_until_step

    def pushing(self, mono: Float32) -> Work[list[Step]]:
        """Return the work that takes float32 (n,) and gives the steps that are due."""
        return self._monitor.pushing(mono[:, None])

    def flushing(self) -> Work[list[Step]]:
        """Return the work that scores the rest of the sound."""
        return self._monitor.flushing()

    def source_sample(self, sample: int) -> int:
        """Return the index in the stream of a sample that the monitor counts at the model's rate."""
        return self._origin + round(sample * self._scale)

    def source_span(self, step: Step) -> tuple[int, int]:
        """Return the samples in the stream that a step is about: the first, and one past the last."""
        return self.source_sample(step.step.start_sample), self.source_sample(step.step.end_sample)
