"""Scoring off the event loop: a few workers, a short waiting line, and a plain "not now" beyond it."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from humwatch.errors import HumwatchError
from humwatch_service.errors import ClientGone, Overloaded, ScoringTimedOut, ShuttingDown

T = TypeVar("T")

MAX_RETRY_AFTER_S: Final = 60
_NEWEST_WEIGHT: Final = 0.2
"""Of the last job in the running mean of how long a job takes."""


class Watch:
    """Tells a job, which looks between its steps, that nobody waits for it any more."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._stopped: HumwatchError | None = None

    def stop(self, reason: HumwatchError) -> None:
        """Let the next look raise ``reason``."""
        self._stopped = self._stopped or reason

    def look(self) -> None:
        """Raise why the job should end, if it should."""
        if self._stopped is not None:
            raise self._stopped
        if time.monotonic() > self._deadline:
            raise self.timed_out()

    def timed_out(self) -> ScoringTimedOut:
        """The error for a job that took too long."""
        return ScoringTimedOut(f"not finished within {self._timeout_s:g} s")


class ScoringQueue:
    """Runs jobs in ``workers`` threads; ``waiting`` more may wait."""

    def __init__(
        self, *, workers: int, waiting: int, timeout_s: float, on_wait: Callable[[float], None] | None = None
    ) -> None:
        self._workers = workers
        self._waiting = waiting
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="humwatch-score")
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._running = 0
        self._mean_s = 1.0
        self._closed = False

    @property
    def in_progress(self) -> int:
        """Jobs that a worker is busy with."""
        return self._running

    @property
    def depth(self) -> int:
        """Jobs that wait for a worker."""
        return max(0, len(self._watches) - self._running)

    def refuse_if_full(self) -> None:
        """Raise :class:`Overloaded` when no further job would be taken, so that its body need not be read."""
        if self._closed:
            raise ShuttingDown("the service is stopping")
        admitted = len(self._watches)
        if admitted >= self._workers + self._waiting:
            after_s = math.ceil(self._mean_s * admitted / self._workers)
            raise Overloaded(
                f"{self._workers} recordings are being scored and {self._waiting} wait; ask again later",
                retry_after_s=min(MAX_RETRY_AFTER_S, max(1, after_s)),
            )

    async def run(self, job: Callable[[Watch], T], gone: Callable[[], Awaitable[None]]) -> T:
        """Run ``job`` in a worker and wait for it, unless ``gone`` returns first (the caller hung up).

        Whatever happens, the job is no longer running when this returns: it may read a file of the caller's.

        Raises:
            Overloaded: the line is full.
            ScoringTimedOut: waiting and running took too long.
            ClientGone: nobody waits any more.
            Exception: what the job raises.
        """
        self.refuse_if_full()
        watch = Watch(self._timeout_s)
        future = self._submit(job, watch)
        result = asyncio.wrap_future(future)
        hung_up = asyncio.ensure_future(gone())
        try:
            either: set[asyncio.Future[Any]] = {result, hung_up}
            await asyncio.wait(either, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            watch.stop(ClientGone("the caller hung up") if hung_up.done() else watch.timed_out())
        except asyncio.CancelledError:
            watch.stop(ShuttingDown("the service is stopping"))
            raise
        finally:
            hung_up.cancel()
            if not future.cancel():
                await asyncio.wait({result})
        if future.cancelled():
            watch.look()
        return result.result()

    def close(self) -> None:
        """End all jobs at their next step and wait for the workers (blocking)."""
        self._closed = True
        with self._lock:
            for watch in self._watches:
                watch.stop(ShuttingDown("the service is stopping"))
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _submit(self, job: Callable[[Watch], T], watch: Watch) -> Future[T]:
        context = contextvars.copy_context()
        with self._lock:
            self._watches.add(watch)
        future = self._executor.submit(context.run, self._work, job, watch, time.monotonic())
        future.add_done_callback(lambda _: self._leave(watch))
        return future

    def _work(self, job: Callable[[Watch], T], watch: Watch, submitted_s: float) -> T:
        started_s = time.monotonic()
        with self._lock:
            self._running += 1
        try:
            if self._on_wait is not None:
                self._on_wait(started_s - submitted_s)
            watch.look()
            return job(watch)
        finally:
            with self._lock:
                self._running -= 1
                self._mean_s += _NEWEST_WEIGHT * (time.monotonic() - started_s - self._mean_s)

    def _leave(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)
