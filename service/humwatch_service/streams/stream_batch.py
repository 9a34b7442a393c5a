"""Batch of one stream: items that a worker scores together, and what follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from humwatch.together import Work
from humwatch_service.protocol.messages import ServerMessage
from humwatch_service.streams.stream_items import Beside, End, Item, ScoredItem
from humwatch_service.streams.stream_scorer import merged

if TYPE_CHECKING:
    from humwatch_service.streams.stream import LiveStream


class StreamBatch:
    """Items of one stream that a worker scores together; the stream has one at a time with the workers."""

    def __init__(self, stream: LiveStream, loop: asyncio.AbstractEventLoop, items: Sequence[Item]) -> None:
        """Score items.

        Args:
            stream: stream that they came on.
            loop: event loop of the stream.
            items: items in order.
        """
        self._loop = loop
        self._stream = stream
        self._items = items
        self._heard: list[ScoredItem] = []
        self._messages: list[ServerMessage] = []
        samples = sum(len(item) for item in items if isinstance(item, np.ndarray))
        self.sound_s = samples / stream.form.rate_hz

    @property
    def has_companion(self) -> bool:
        """True if a companion hears the same."""
        return self._stream.scorer.has_companion or any(isinstance(item, Beside) for item in self._items)

    def work(self) -> Work[None]:
        """Return the work that scores the items and has the observer judge the steps."""
        stream = self._stream
        self._heard = [item for one in merged(self._items) for item in stream.monitored.of(one)]
        for item in self._heard:
            stream.note(item)
            steps = yield from stream.scorer.scoring(item)
            self._messages += stream.observer.on_steps(stream, steps)

    def conclude(self) -> None:
        """Let the companion hear the items."""
        self._stream.scorer.tell(self._heard)

    def spent(self, cpu_s: float) -> None:
        """Tell the observer of the processor time, seconds."""
        self._stream.observer.on_cpu_time(self._stream, cpu_s)

    def post(self, call: Callable[[], None]) -> None:
        """Have something called on the event loop, unless that is over."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def deliver(self) -> None:
        """Send the messages to the client."""
        self._stream.deliver(self._messages)

    def finish(self, error: Exception | None) -> None:
        """Let the stream go on, or end."""
        over = any(isinstance(item, End) for item in self._items)
        self._stream.go_on(over=over, error=error)
