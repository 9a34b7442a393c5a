"""Queue of events for one viewer, bounded, so that a slow one keeps nobody waiting."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

MAX_WAITING: Final = 64
"""Most events that wait for a viewer: a minute of them."""


class SseEvent(Protocol):
    """Server-sent event."""

    def encoded(self) -> bytes:
        """Return the event as it is sent; made when the first viewer wants it, and once."""


class Viewer:
    """Queue of one viewer. ``publish``, ``restart`` and ``close`` may be called from any thread, and never wait."""

    def __init__(self, *, on_drop: Callable[[int], None], on_leave: Callable[[Viewer], None]) -> None:
        """Begin without events.

        Args:
            on_drop: callback for the number of events that were dropped.
            on_leave: callback that gives the viewer's place back.
        """
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[SseEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._missed = 0
        self._on_drop = on_drop
        self._on_leave = on_leave

    def publish(self, event: SseEvent) -> bool:
        """Append an event; return False if the oldest had to go for it."""
        with self._lock:
            full = len(self._waiting) >= MAX_WAITING
            if full:
                self._waiting.popleft()
                self._missed += 1
            self._waiting.append(event)
            first = len(self._waiting) == 1
        if full:
            self._on_drop(1)
        elif first:
            self._notify()
        return not full

    def restart(self, event: SseEvent) -> None:
        """Drop all that waits for one event that says it all."""
        with self._lock:
            dropped = len(self._waiting)
            self._missed += dropped
            self._waiting.clear()
            self._waiting.append(event)
        self._on_drop(dropped)
        self._notify()

    def close(self) -> None:
        """End: nothing more comes."""
        self._closed = True
        self._notify()

    def leave(self) -> None:
        """Give the place back; on the event loop, once."""
        self._on_leave(self)

    async def next(self, timeout_s: float) -> tuple[int, list[SseEvent]] | None:
        """Return how many events were missed, and all that wait, none after ``timeout_s``; None: nothing more comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._waiting and not self._closed:
                    await self._wake.wait()
                    self._wake.clear()
        with self._lock:
            waiting, missed = list(self._waiting), self._missed
            self._waiting.clear()
            self._missed = 0
        return None if self._closed else (missed, waiting)

    def _notify(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is closed: there is nobody left
            self._closed = True
