"""What has to be done every so often, whether sound comes or not."""

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
class Chore:
    """Something to be done again and again.

    Attributes:
        every_s: between two times; the first is after so long.
        do: is called in a thread, or awaited.
    """

    every_s: float
    do: Callable[[], object] | Callable[[], Awaitable[object]]


class Timekeeper:
    """Does chores one after the other; one that fails is logged, and tried again when it is due."""

    def __init__(self, *chores: Chore) -> None:
        self._chores = chores
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is being done is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        due_s = [time.monotonic() + chore.every_s for chore in self._chores]
        while True:
            await asyncio.sleep(TICK_S)
            for number, chore in enumerate(self._chores):
                if time.monotonic() >= due_s[number]:
                    due_s[number] = time.monotonic() + chore.every_s
                    await self._done(chore)

    async def _done(self, chore: Chore) -> None:
        try:
            if asyncio.iscoroutinefunction(chore.do):
                await chore.do()
            else:
                await run_in_threadpool(chore.do)
        except Exception:  # whatever is wrong with one time, the next one comes
            _log.exception("a chore failed")
