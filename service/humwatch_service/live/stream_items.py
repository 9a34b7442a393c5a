"""Format of a stream, and the items that come on it in order."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch.arrays import Float32
from humwatch.live.model import LiveModel


@dataclass(frozen=True)
class StreamFormat:
    """Properties of a stream that do not change while it lasts.

    Attributes:
        stream_id: name of the count of samples.
        rate_hz: sample rate, Hz.
        channels: number of channels that come.
        channel: channel that is monitored, counted from 0.
        integers: True if samples come as integers.
        realtime: True if sound comes as it is taken.
    """

    stream_id: str
    rate_hz: int
    channels: int
    channel: int
    integers: bool
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
class Swap:
    """New model for the machine."""

    model: LiveModel


@dataclass(frozen=True)
class RunSignal:
    """Running state of the machine from outside; None leaves it to the level."""

    running: bool | None


class End:
    """End of the stream."""


Item = Float32 | Gap | Overflow | ClockReading | Swap | RunSignal | End
"""float32 (n, channels) for sound, in [-1, 1]."""
