"""Fewer wake-ups of the event loop while many streams come in: what comes within a moment is read together.

Each message that is read by itself takes the interpreter's lock from a worker that computes, and gives it back: with
hundreds of microphones that costs more than reading. Network cards do the same, under the same name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

REST_S: Final = 0.02
"""Longest that something waits to be read: nothing beside a second that a score is about."""
READ_S: Final = 0.002
"""Time for what has come, at least."""
MANY_STREAMS: Final = 32
"""With fewer, there is time enough to read each message as it comes."""


class Coalescing:
    """Rests of the event loop that it belongs to, while there are many streams."""

    def __init__(self, streams: Callable[[], int], *, rest: Callable[[float], object] = time.sleep) -> None:
        """Rest nowhere yet.

        Args:
            streams: lookup of the number of streams.
            rest: function that waits for so many seconds, and keeps the event loop from running.
        """
        self._streams = streams
        self._rest = rest
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._next = asyncio.get_running_loop().call_later(READ_S, self._turn)

    def close(self) -> None:
        """End."""
        if self._next is not None:
            self._next.cancel()

    def _turn(self) -> None:
        many = self._streams() >= MANY_STREAMS
        if many:
            self._rest(REST_S)
        self._next = asyncio.get_running_loop().call_later(READ_S if many else 1.0, self._turn)
