"""Watch over the load, which lets streams go when the scores of all come late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from humwatch_service.live.load import Load, given_up
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.streams.stream import LiveStream
from humwatch_service.telemetry.logs import event_logger

MEASURE_S: Final = 1.0
"""Time between measurements of the load."""
BEAT_S: Final = 0.1
"""Time between measurements of how late the event loop is."""

_log = event_logger("humwatch.live")


class OverloadWatch:
    """Task that sheds streams. Belongs to the event loop, whose lateness it measures."""

    def __init__(
        self,
        load: Load,
        metrics: LiveMetrics,
        fed: Callable[[], list[LiveStream]],
        *,
        relieve: Callable[[], bool] = lambda: False,
        throttled_s: Callable[[], tuple[float, ...]] = lambda: (),
    ) -> None:
        """Watch over streams.

        Args:
            load: load of the service.
            metrics: metrics of live streams.
            fed: lookup of the streams that connections feed.
            relieve: order to stop what is not needed to watch machines; returns whether anything was stopped.
            throttled_s: reading of the time in which CPU quotas were used up, seconds.
        """
        self._throttled_s = throttled_s
        self._relieve = relieve
        self._load = load
        self._metrics = metrics
        self._fed = fed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _watch(self) -> None:
        due_s = time.monotonic() + MEASURE_S
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self._load.on_loop_lag(time.monotonic() - began_s - BEAT_S)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + MEASURE_S
                fed = self._fed()
                self._give_up(fed, self._load.streams_to_shed(len(fed), time.thread_time(), self._throttled_s()))

    def _give_up(self, fed: list[LiveStream], count: int) -> None:
        """Let the newest streams go, so that the others come in time."""
        if not count or self._relieve():
            return
        newest = sorted(fed, key=lambda stream: stream.begun_s)[-count:]
        lateness_s = self._load.lateness_s
        _log.warning("streams given up", streams=len(newest), live_streams=len(fed), lateness_s=round(lateness_s, 2))
        for stream in newest:
            stream.given_up = True
            self._metrics.stream_given_up()
            if stream.connection is not None:
                stream.connection.evict(given_up(lateness_s))
