"""Parties that hear the sound of a machine, whichever stream brings it: a collector, and a companion."""

from __future__ import annotations

from typing import Protocol

from humwatch.arrays import Float32
from humwatch_service.streams.stream_items import Companion


class SoundCollector(Protocol):
    """Collector of all the sound of a machine, as a calibration is. Called from the stream's worker."""

    def begin(self, source_rate_hz: int, sample_bits: int, *, full_scale: bool = True) -> None:
        """Begin another stream."""

    def elsewhere(self, alive: str | None) -> None:
        """Take the message that names another channel that is alive, for as long as this one is silent."""

    def push(self, mono: Float32, at_s: float | None = None) -> None:
        """Take float32 (n,) in [-1, 1], and the time of its first sample; None: right behind the sound before."""

    def gap(self, samples: int) -> None:
        """Skip samples that never came."""

    def overflow(self, count: int) -> None:
        """Note that the sound card lost samples."""

    def clock(self, sample: int, time_s: float) -> None:
        """Take the time of a sample's capture."""

    def signal(self, running: bool | None) -> None:
        """Collect nothing while the machine is said not to run; None leaves it to the level."""


class MachineCompanion(Companion, Protocol):
    """Companion of all streams of a machine, as a candidate is; none of its methods raises."""

    @property
    def wanted_s(self) -> float:
        """Sound of the stream, back from what it hears, that it may ask for, seconds."""

    def on_silence(self, now_s: float) -> None:
        """Know that no sound comes; from any thread."""
