"""Looks at the load, and lets streams go when the scores of all come late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from humwatch_service.live.load import Load, given_up
from humwatch_service.live.stream import LiveStream
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.telemetry.logs import event_logger

LOOK_S: Final = 1.0
"""Between looks at the load."""
BEAT_S: Final = 0.1
"""Between looks at how late the event loop is."""

_log = event_logger("humwatch.live")


class OverloadWatch:
    """Belongs to the event loop, whose lateness it measures."""

    def __init__(self, load: Load, metrics: LiveMetrics, fed: Callable[[], list[LiveStream]]) -> None:
        """``fed`` are the streams that somebody feeds."""
        self._load = load
        self._metrics = metrics
        self._fed = fed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _watch(self) -> None:
        look_at_s = time.monotonic() + LOOK_S
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self._load.lagged(time.monotonic() - began_s - BEAT_S)
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + LOOK_S
                fed = self._fed()
                self._give_up(fed, self._load.look(len(fed), time.thread_time()))

    def _give_up(self, fed: list[LiveStream], count: int) -> None:
        """Let the newest streams go, so that the others come in time."""
        if not count:
            return
        newest = sorted(fed, key=lambda stream: stream.begun_s)[-count:]
        lateness_s = self._load.lateness_s
        _log.warning("streams given up", streams=len(newest), live_streams=len(fed), lateness_s=round(lateness_s, 2))
        for stream in newest:
            stream.given_up = True
            self._metrics.gave_up()
            if stream.connection is not None:
                stream.connection.evict(given_up(lateness_s))
