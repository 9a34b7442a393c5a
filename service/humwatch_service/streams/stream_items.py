"""Format of a stream, and the items that come on it in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from humwatch.arrays import Float32, Int16
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch_service.streams.audio_ring import Sound


@dataclass(frozen=True)
class StreamFormat:
    """Properties of a stream that do not change while it lasts.

    Attributes:
        stream_id: name of the count of samples.
        rate_hz: sample rate, Hz.
        channels: number of channels that come.
        channel: channel that is monitored, counted from 0.
        sample_bits: resolution of a sample, bits.
        full_scale: True if samples have a full scale, as integers have; floats may be in any unit.
        realtime: True if sound comes as it is taken.
    """

    stream_id: str
    rate_hz: int
    channels: int
    channel: int
    sample_bits: int
    full_scale: bool
    realtime: bool


@dataclass(frozen=True)
class Gap:
    """Number of samples that never come."""

    samples: int


@dataclass(frozen=True)
class Overflow:
    """Number of times that the sound card lost samples."""

    count: int


@dataclass(frozen=True)
class ClockReading:
    """Time of a sample's capture, by a clock that runs evenly, seconds."""

    sample: int
    time_s: float


@dataclass(frozen=True)
class Elsewhere:
    """Message that names another channel that is alive while the one that is monitored is silent; None: none."""

    alive: str | None


@dataclass(frozen=True)
class Swap:
    """New model for the machine."""

    model: LiveModel


@dataclass(frozen=True)
class RunSignal:
    """Running state of the machine from outside; None leaves it to the level."""

    running: bool | None


@dataclass(frozen=True)
class Seam:
    """Place where sound that was recorded at another time is joined to the sound before; no sound is missing there."""


class End:
    """End of the stream."""


HeardItem = Float32 | Gap | Overflow | ClockReading | Elsewhere | RunSignal | Seam | End
"""What a monitor is given; sound as float32 (n,) of the channel that is monitored."""


class Companion(Protocol):
    """Another that hears all that a stream brings, once the version in use has judged it.

    Called by the worker that has the stream's batch; must not raise.
    """

    def begin(
        self, form: StreamFormat, first_sample: int, *, make_monitor: MonitorMaker, sound: Callable[[int, int], Sound]
    ) -> None:
        """Hear a stream from a sample on.

        Args:
            form: format of the stream.
            first_sample: index of the first sample that comes.
            make_monitor: maker of the monitor of a model from a sample on.
            sound: lookup of the last minutes of the stream's sound, from a sample to before another.
        """

    def hear(self, item: HeardItem) -> None:
        """Take the next item."""


@dataclass(frozen=True)
class Beside:
    """Companion of the stream from now on; None: none any more."""

    companion: Companion | None


MonitorMaker = Callable[[LiveModel, int], LiveMonitor]

ScoredItem = HeardItem | Swap | Beside
"""What a worker scores; sound is float32, in [-1, 1] where it has a full scale: (n, channels), or (n,) of one."""
Item = ScoredItem | Int16
"""What waits for a worker; sound of 16 bits, (n, channels), as the integers that came."""
