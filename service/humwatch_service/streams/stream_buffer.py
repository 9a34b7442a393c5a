"""Bounded buffer of one stream: items wait in order until a worker takes a batch of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from humwatch_service.streams.stream_items import ClockReading, Item

ENOUGH_S: Final = 0.2
"""Sound that is worth waking a worker for while there is no model, whose next step would tell."""
MAX_ITEMS: Final = 4_096
"""Most items of a stream that may wait, however little sound they hold."""
BATCH_S: Final = 2.0
"""Sound of one stream that a worker scores before it looks for another stream."""


class StreamBuffer:
    """Items that wait for a worker, bounded in sound and in number. Belongs to the event loop.

    They are due once there is enough sound for the next step, or an item that is not to wait, and no batch is with a
    worker. ``waiting_s`` may be read from any thread.
    """

    def __init__(self, rate_hz: int, buffer_s: float, *, on_due: Callable[[], None]) -> None:
        """Make an empty buffer.

        Args:
            rate_hz: sample rate of the stream, Hz.
            buffer_s: most sound that may wait before the sender has to, seconds.
            on_due: callback once a batch is due; it takes that with :meth:`next_batch`.
        """
        self._on_due = on_due
        self._rate_hz = rate_hz
        self._max_samples = round(buffer_s * rate_hz)
        self._items: deque[Item] = deque()
        self._samples = 0
        self._samples_in_batch = 0
        self._samples_wanted = round(ENOUGH_S * rate_hz)
        self._urgent = False
        self._closed = False
        self._held = False
        self._work_due = False
        self._with_worker = False
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting_s(self) -> float:
        """Sound that waits for a worker or is with one, seconds; too little for a step waits for more sound."""
        return self._samples / self._rate_hz if self._work_due or self._samples_in_batch else 0.0

    @property
    def held(self) -> bool:
        """True while nothing is handed out."""
        return self._held

    @property
    def is_full(self) -> bool:
        """True if a sender has to wait."""
        return self._samples > self._max_samples or len(self._items) > MAX_ITEMS

    @property
    def is_nearly_empty(self) -> bool:
        """True if what is left is too little to be scored."""
        return self._samples < min(self._samples_wanted, ENOUGH_S * self._rate_hz)

    async def room(self) -> None:
        """Wait while too much waits (back-pressure); return at once when nothing is scored any more."""
        while self.is_full and not self._closed:
            self._has_room.clear()
            await self._has_room.wait()

    def put(self, item: Item) -> None:
        """Append an item, also when there is no room."""
        if isinstance(item, np.ndarray):
            self._samples += len(item)
        self._items.append(item)
        self._idle.clear()
        enough = self._samples - self._samples_in_batch >= self._samples_wanted or len(self._items) > MAX_ITEMS // 2
        self._urgent = self._urgent or enough or not isinstance(item, (np.ndarray, ClockReading))
        if self._urgent and not self._held:
            self._work_due = True
            self.go_on()

    def go_on(self) -> None:
        """Say that a batch is due, if one is."""
        if self._work_due and not (self._held or self._with_worker or self._closed):
            self._on_due()

    def hold(self) -> None:
        """Hand out nothing until :meth:`release`, however much waits; what is worked on is finished."""
        self._held = not self._closed
        self._work_due = False

    def release(self) -> None:
        """Hand out what waits."""
        self._held = False
        if self._urgent:
            self._work_due = True
            self.go_on()

    def next_batch(self) -> list[Item]:
        """Return the items that are next, of ``BATCH_S`` and one item's sound at most, for a worker."""
        self._with_worker = True
        batch: list[Item] = []
        samples = 0
        while self._items and samples < BATCH_S * self._rate_hz:
            item = self._items.popleft()
            batch.append(item)
            if isinstance(item, np.ndarray):
                samples += len(item)
        if not self._items:
            self._urgent = self._work_due = False
        self._samples_in_batch = samples
        return batch

    def batch_done(self, samples_until_step: int | None) -> None:
        """Make room for as much as the last batch held, which was worked on; :meth:`go_on` asks for the next.

        Args:
            samples_until_step: samples that have to come before the next step; None where no model says.
        """
        self._with_worker = False
        self._samples, self._samples_in_batch = self._samples - self._samples_in_batch, 0
        self._has_room.set()
        if samples_until_step is not None:
            self._samples_wanted = samples_until_step
        if self._samples >= self._samples_wanted and not self._held:
            self._work_due = True
        if not self._items:
            self._idle.set()

    async def drained(self) -> None:
        """Have all of it worked on, also what is too little for a step, and wait until that is done."""
        self._urgent = bool(self._items)
        self.release()
        await self._idle.wait()

    def close(self) -> None:
        """Let nobody wait any more: nothing is worked on from now on."""
        self._closed, self._held = True, False
        self._has_room.set()
        self._idle.set()
