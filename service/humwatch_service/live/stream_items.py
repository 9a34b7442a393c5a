"""What a stream is made of: its format, and what comes on it in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from humwatch.live.monitor import LiveModel

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StreamFormat:
    """What does not change while a stream lasts.

    Attributes:
        stream_id: names the count of samples.
        rate_hz: of the samples.
        channels: that come.
        channel: that is listened to, counted from 0.
        integers: whether samples came as 16-bit integers.
        realtime: whether it comes as it is taken.
    """

    stream_id: str
    rate_hz: int
    channels: int
    channel: int
    integers: bool
    realtime: bool


@dataclass(frozen=True)
class Gap:
    """Samples that never come."""

    samples: int


@dataclass(frozen=True)
class Overflow:
    """The sound card lost samples."""

    count: int


@dataclass(frozen=True)
class ClockReading:
    """When a sample was taken."""

    sample: int
    time_s: float


@dataclass(frozen=True)
class Swap:
    """A new model for the machine."""

    model: LiveModel


@dataclass(frozen=True)
class RunSignal:
    """Whether the machine runs, from who knows it."""

    running: bool | None


class End:
    """Nothing more comes: score what is left."""


Item = Float32 | Gap | Overflow | ClockReading | Swap | RunSignal | End
"""float32 (n, channels) for sound, in [-1, 1]."""
