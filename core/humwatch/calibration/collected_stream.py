"""One stream of those that a collector hears: its time, its source, and the sound that is no whole quantum yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.calibration.clean_segment import CleanSegment
from humwatch.monitor import source_health
from humwatch.pipeline import EvidencePipeline, PipelineSpec
from humwatch.predictor import Predictor
from humwatch.source.monitor import Quantum, SourceMonitor

CLOCK_S: Final = 1.0
"""Least difference of the clock from the time that the samples say: below it samples go before, which never jitter."""


class CollectedStream:
    """State of one stream: the sound of an open quantum, the source and the pipeline.

    Attributes:
        rate_hz: sample rate, Hz.
        sample_bits: resolution of a sample, bits.
        full_scale: whether samples have a full scale.
        source: monitor of the source; it follows whole quanta.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        predictor: Predictor,
        rate_hz: int,
        sample_bits: int,
        *,
        begins_s: float,
        full_scale: bool = True,
    ) -> None:
        self._anchor = begins_s, 0
        self.rate_hz = rate_hz
        self.sample_bits = sample_bits
        self.full_scale = full_scale
        self._rest: Float32 = np.zeros(0, np.float32)
        self._pipeline = EvidencePipeline(spec, predictor, source_rate_hz=rate_hz, calibrating=True)
        health = source_health(spec, None, rate_hz=rate_hz, full_scale=full_scale, spectrum=False)
        self.source = SourceMonitor(health, rate_hz=rate_hz)

    @property
    def now_s(self) -> float:
        """Time of the sample that is followed next, seconds since 1970."""
        since_s, sample = self._anchor
        return since_s + (self.source.position - sample) / self.rate_hz

    def set_clock(self, at_s: float) -> None:
        """Take the time of the sample that comes next, seconds since 1970."""
        at_s -= len(self._rest) / self.rate_hz
        if abs(at_s - self.now_s) > CLOCK_S:
            self._anchor = at_s, self.source.position

    def quanta(self, mono: Float32) -> Iterator[tuple[Quantum, Float32]]:
        """Follow sound, float32 (n,): each quantum that is whole, while its source is as it was at its end."""
        held = np.concatenate([self._rest, mono])
        whole = len(held) - len(held) % self.source.quantum_samples
        self._rest = held[whole:].copy()
        if whole:
            for quantum in self.source.follow(held[:whole]):
                yield quantum, held[quantum.start : quantum.stop]

    def gap(self, samples: int) -> None:
        """Skip ``samples`` samples that never came, and what was no whole quantum before them."""
        self._rest = np.zeros(0, np.float32)
        self.source.gap(samples)

    def segment(self, minute: int, seconds: float, *, keep_sound: bool) -> CleanSegment:
        """Begin a segment of so much of a minute."""
        samples = round(seconds * self.rate_hz)
        return CleanSegment(self._pipeline, minute=minute, samples=samples, rate_hz=self.rate_hz, keep_sound=keep_sound)
