"""Periodic work, whether sound comes or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch_service.telemetry.logs import event_logger

TICK_S: Final = 1.0

_log = event_logger("humwatch.live")


@dataclass(frozen=True)
class PeriodicTask:
    """Work to be done again and again.

    Attributes:
        every_s: time between two runs, and before the first, seconds.
        run: function that is called in a thread, or coroutine function that is awaited.
    """

    every_s: float
    run: Callable[[], object] | Callable[[], Awaitable[object]]


class PeriodicTasks:
    """Tasks that run one after the other; one that fails is logged, and runs again when it is due."""

    def __init__(self, *tasks: PeriodicTask) -> None:
        """Take the tasks, in the order in which they run."""
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what runs is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        due_s = [time.monotonic() + task.every_s for task in self._tasks]
        while True:
            await asyncio.sleep(TICK_S)
            for number, task in enumerate(self._tasks):
                if time.monotonic() >= due_s[number]:
                    due_s[number] = time.monotonic() + task.every_s
                    await self._run_once(task)

    async def _run_once(self, task: PeriodicTask) -> None:
        try:
            if asyncio.iscoroutinefunction(task.run):
                await task.run()
            else:
                await run_in_threadpool(task.run)
        except Exception:  # whatever is wrong with one time, the next one comes
            _log.exception("a chore failed")
