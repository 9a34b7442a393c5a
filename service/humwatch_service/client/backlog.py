"""Backlog of a source: samples that the service may still want, gaps between them, and notes about them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from typing import Final

from humwatch_service.client.ring import Piece, SampleRing
from humwatch_service.protocol.messages import SAMPLE_BYTES, Clock, Dropped, Hello

KEEP_S: Final = 30.0
"""Sound kept although the service has it: one that restarts listens to the last clip again."""

CLOCK_EVERY_S: Final = 1.0
_MAX_NOTES: Final = 4096

Note = Clock | Dropped


class Backlog:
    """Between a source, which never waits, and a connection, which may be gone for a while.

    Everything happens on one event loop; only the construction may be anywhere.
    """

    def __init__(self, hello: Hello, *, buffer_s: float = 300.0) -> None:
        """Hold ``buffer_s`` seconds of what ``hello`` announces; without a ``stream_id`` it gets one here."""
        self._hello = hello if hello.stream_id else hello.model_copy(update={"stream_id": uuid.uuid4().hex})
        self._ring = SampleRing(
            frame_bytes=SAMPLE_BYTES[hello.format] * hello.channels,
            capacity_samples=round(buffer_s * hello.rate_hz),
            keep_samples=round(KEEP_S * hello.rate_hz),
            start_sample=hello.start_sample,
        )
        self._notes: deque[tuple[int, Note]] = deque(maxlen=_MAX_NOTES)
        self._next_clock = hello.start_sample
        self._origin_s = hello.start_time_s
        self._finished = False
        self._changed = asyncio.Event()
        self._roomier = asyncio.Event()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return SAMPLE_BYTES[self._hello.format] * self._hello.channels

    @property
    def rate_hz(self) -> int:
        """Frames a second."""
        return self._hello.rate_hz

    @property
    def is_dated_now(self) -> bool:
        """True for a live source, whose times are those of this box's clock."""
        return self._hello.start_time_s is None and self._origin_s is not None

    @property
    def end_sample(self) -> int:
        """Index of the frame that comes next from the source."""
        return self._ring.end_sample

    @property
    def start_sample(self) -> int:
        """Index of the oldest frame held."""
        return self._ring.start_sample

    @property
    def dropped_samples(self) -> int:
        """Frames that the service never had, and that went for want of room."""
        return self._ring.dropped_samples

    def hello(self) -> Hello:
        """Return the first message of a new connection."""
        return self._hello.model_copy(update={"start_sample": self._ring.start_sample, "start_time_s": self._origin_s})

    def append(self, data: bytes, *, time_s: float | None = None) -> None:
        """Add frames from the source; the oldest go when it is full.

        Args:
            data: whole frames.
            time_s: time of the last of them by a clock that runs evenly, seconds; None: of no live source.
        """
        self._ring.append(data)
        if time_s is not None:
            self._note_time(time_s)
        self._changed.set()

    def skip(self, samples: int) -> None:
        """Mark a gap: so many frames never come."""
        self._ring.skip(samples)

    def overflowed(self, overflows: int) -> None:
        """Note that the source lost frames that nobody can count."""
        self._notes.append((self._ring.end_sample, Dropped(overflows=overflows)))

    def finish(self) -> None:
        """Say that nothing more comes."""
        self._finished = True
        self._changed.set()

    def confirm(self, sample: int) -> None:
        """Note that the service has everything before ``sample``."""
        self._ring.confirm(sample)
        while self._notes and self._notes[0][0] < self._ring.start_sample:
            self._notes.popleft()
        self._roomier.set()

    async def room(self, samples: int) -> None:
        """Wait until so many frames, or half of all, fit without the loss of one."""
        wanted = min(samples, self._ring.capacity_samples // 2)
        while self._ring.room_samples < wanted:
            self._roomier.clear()
            await self._roomier.wait()

    async def something(self, from_sample: int, samples: int = 1) -> None:
        """Wait until there are frames from an index on, so many with those that never come, or nothing more comes."""
        ring = self._ring
        while (ring.read(from_sample, 1) is None or ring.end_sample < from_sample + samples) and not self._finished:
            self._changed.clear()
            await self._changed.wait()

    def read(self, from_sample: int, max_samples: int) -> Piece | None:
        """Return the first frames held from an index on, up to the next note; None where there are none."""
        piece = self._ring.read(from_sample, max_samples)
        if piece is not None:
            for sample, _ in self._notes:
                if piece.start_sample < sample < piece.end_sample:
                    return self._ring.read(from_sample, sample - piece.start_sample)
        return piece

    def notes(self, after_sample: int, to_sample: int) -> list[Note]:
        """Return the notes that belong behind ``after_sample`` and not behind ``to_sample``."""
        return [note for sample, note in self._notes if after_sample < sample <= to_sample]

    def _note_time(self, time_s: float) -> None:
        end = self._ring.end_sample
        if self._hello.start_time_s is None:
            # Told anew on each connection: over days the card's clock and this machine's drift apart.
            self._origin_s = time.time() - end / self._hello.rate_hz
        if end >= self._next_clock:
            self._notes.append((end, Clock(sample=end, time_s=time_s)))
            self._next_clock = end + round(CLOCK_EVERY_S * self._hello.rate_hz)
