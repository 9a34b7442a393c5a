"""The last samples of a stream, by index: what is sent, and what is sent again after a break."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final

RUN_BYTES: Final = 1 << 18
"""Samples are kept in runs of about this size, so that neither end of a long buffer is ever copied."""


@dataclass(frozen=True)
class Piece:
    """Whole frames, one after the other.

    Attributes:
        start_sample: index of the first.
        samples: number of frames.
        data: their bytes, channels interleaved.
    """

    start_sample: int
    samples: int
    data: bytes

    @property
    def end_sample(self) -> int:
        """One past the last."""
        return self.start_sample + self.samples


@dataclass
class _Run:
    start_sample: int
    end_sample: int
    data: bytearray


class SampleRing:
    """Frames with absolute indices, as many as fit; the oldest go when it is full.

    Attributes:
        dropped_samples: frames that went although the service had not confirmed them.
        end_sample: index of the frame that is appended next.
    """

    def __init__(
        self, *, frame_bytes: int, capacity_samples: int, keep_samples: int = 0, start_sample: int = 0
    ) -> None:
        """Hold at most ``capacity_samples`` frames; of confirmed ones the last ``keep_samples`` stay."""
        self.dropped_samples = 0
        self.end_sample = start_sample
        self._frame_bytes = frame_bytes
        self._capacity = max(1, capacity_samples)
        self._keep = min(keep_samples, self._capacity // 2)
        self._confirmed = start_sample
        self._runs: deque[_Run] = deque()
        self._held = 0

    @property
    def start_sample(self) -> int:
        """Index of the oldest frame held; ``end_sample`` when there is none."""
        return self._runs[0].start_sample if self._runs else self.end_sample

    @property
    def held_samples(self) -> int:
        """Number of frames that are held."""
        return self._held

    @property
    def room_samples(self) -> int:
        """Number of frames that can be appended before the oldest goes."""
        return self._capacity - self._held

    @property
    def capacity_samples(self) -> int:
        """Highest number of frames that are held."""
        return self._capacity

    def append(self, data: bytes) -> None:
        """Add whole frames at ``end_sample``.

        Raises:
            ValueError: the bytes are not whole frames.
        """
        samples, rest = divmod(len(data), self._frame_bytes)
        if rest:
            raise ValueError(f"{len(data)} bytes are not whole frames of {self._frame_bytes}")
        if not samples:
            return
        last = self._runs[-1] if self._runs else None
        if last is None or last.end_sample != self.end_sample or len(last.data) >= RUN_BYTES:
            last = _Run(self.end_sample, self.end_sample, bytearray())
            self._runs.append(last)
        last.data += data
        self.end_sample += samples
        last.end_sample = self.end_sample
        self._held += samples
        self._drop_what_is_not_wanted()
        self._drop_what_does_not_fit()

    def skip(self, samples: int) -> None:
        """Leave out frames that never come: a gap."""
        self.end_sample += samples

    def read(self, from_sample: int, max_samples: int) -> Piece | None:
        """Return the first frames held from an index on, as many as there are without a gap, up to ``max_samples``."""
        at = bisect_right(self._runs, from_sample, key=lambda run: run.end_sample)
        if at == len(self._runs):
            return None
        run = self._runs[at]
        start = max(from_sample, run.start_sample)
        end = min(run.end_sample, start + max_samples)
        first, last = (self._frame_bytes * (sample - run.start_sample) for sample in (start, end))
        return Piece(start, end - start, bytes(run.data[first:last]))

    def confirm(self, sample: int) -> None:
        """Note that the service has everything before ``sample``; what lies further back than is kept, goes."""
        self._confirmed = sample
        self._drop_what_is_not_wanted()

    def _drop_what_is_not_wanted(self) -> None:
        while self._runs and (excess := self._confirmed - self._keep - self._runs[0].start_sample) > 0:
            self._drop_oldest(excess)

    def _drop_what_does_not_fit(self) -> None:
        while (excess := self._held - self._capacity) > 0:
            oldest = self._runs[0].start_sample
            dropped = self._drop_oldest(excess)
            self.dropped_samples += max(0, oldest + dropped - max(oldest, self._confirmed))

    def _drop_oldest(self, samples: int) -> int:
        """Drop up to so many frames of the oldest run; return how many."""
        run = self._runs[0]
        dropped = min(samples, run.end_sample - run.start_sample)
        del run.data[: dropped * self._frame_bytes]
        run.start_sample += dropped
        self._held -= dropped
        if run.start_sample == run.end_sample:
            self._runs.popleft()
        return dropped
