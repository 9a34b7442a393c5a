"""Dating of sound that nobody dated, by its arrival: the first of it is held for a moment, to see how it comes.

A burst that was kept and comes at once ended when it came; sound that comes at the pace of time is from now. Once it is
judged it is too late to tell them apart.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from humwatch_service.streams.sample_clock import PACE, Anchor, SampleClock, can_be
from humwatch_service.streams.stream_buffer import StreamBuffer

LOOK_S: Final = 0.25
"""Time between looks at how sound comes, and pause that ends a burst, seconds."""
BLOCK_S: Final = 0.5
"""Sound that may come at once from a source that sends at the pace of time."""


class ArrivalDating:
    """Dating of the sound behind the newest anchor of a stream's clock. Belongs to the event loop."""

    def __init__(self, buffer: StreamBuffer, clock: SampleClock, rate_hz: int) -> None:
        """Begin without sound.

        Args:
            buffer: sound that waits to be judged.
            clock: clock of the stream.
            rate_hz: sample rate of the stream, Hz.
        """
        self._buffer = buffer
        self._clock = clock
        self._rate_hz = rate_hz
        self._begun_s = self._last_s = 0.0
        self._accepted = 0

    @property
    def holds(self) -> bool:
        """True while sound is held."""
        return self._buffer.held

    def begin(self, accepted: int) -> None:
        """Hold the sound that came first; it goes up to before the sample ``accepted``."""
        self._begun_s = self._clock.monotonic()
        self._buffer.hold()
        self.on_audio(accepted)
        asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def on_audio(self, accepted: int) -> None:
        """Note that more came while sound is held."""
        self._accepted, self._last_s = accepted, self._clock.monotonic()
        if self._buffer.is_full:
            self.end()

    def end(self) -> None:
        """Date what came, and have it judged."""
        if not self.holds:
            return
        newest = self._clock.newest
        if newest.source == "arrival" and self._accepted > newest.sample:
            seconds = (self._accepted - newest.sample) / self._rate_hz
            arrived_s = self._clock.wall() - (self._clock.monotonic() - self._last_s)
            first_s = arrived_s - seconds
            far = not can_be(first_s, arrived_s)  # behind a gap of years, which nobody has waited for
            known = Anchor(self._accepted, arrived_s, "arrival") if far else replace(newest, time_s=first_s)
            self._clock.anchor(known)
        self._buffer.release()

    def _look(self) -> None:
        if not self.holds:
            return
        now_s = self._clock.monotonic()
        seconds = (self._accepted - self._clock.newest.sample) / self._rate_hz
        if now_s - self._last_s >= LOOK_S or seconds <= PACE * (now_s - self._begun_s) + BLOCK_S:
            self.end()
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self._look)
