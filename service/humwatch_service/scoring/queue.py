"""The queue of recordings to score off the event loop: a few workers, a few waiting jobs, and a refusal beyond."""

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
"""Weight of the last job in the running mean of how long a job takes."""


class CancellationToken:
    """The state of a job that is to end early: when it takes too long, or when there is a reason."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._stopped: HumwatchError | None = None

    def cancel(self, reason: HumwatchError) -> None:
        """Let the next check raise ``reason``, unless there is one."""
        self._stopped = self._stopped or reason

    def check(self) -> None:
        """Raise the reason to end the job, if there is one."""
        if self._stopped is not None:
            raise self._stopped
        if time.monotonic() > self._deadline:
            raise self.timed_out()

    def timed_out(self) -> ScoringTimedOut:
        """Return the error for a job that took too long."""
        return ScoringTimedOut(f"not finished within {self._timeout_s:g} s")


class ScoringQueue:
    """A queue in front of threads that score.

    Args:
        workers: number of threads.
        waiting: number of jobs that may wait for one.
        timeout_s: longest time for a job to wait and to run, seconds.
        on_wait: callback when a job begins, with the seconds that it waited.
    """

    def __init__(
        self, *, workers: int, waiting: int, timeout_s: float, on_wait: Callable[[float], None] | None = None
    ) -> None:
        self._workers = workers
        self._waiting = waiting
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="humwatch-score")
        self._lock = threading.Lock()
        self._tokens: set[CancellationToken] = set()
        self._running = 0
        self._mean_s = 1.0
        self._closed = False

    @property
    def in_progress(self) -> int:
        """Number of jobs that are run."""
        return self._running

    @property
    def depth(self) -> int:
        """Number of jobs that wait for a worker."""
        return max(0, len(self._tokens) - self._running)

    def refuse_if_full(self) -> None:
        """Raise :class:`Overloaded` when no further job would be accepted, so that its body need not be read."""
        if self._closed:
            raise ShuttingDown("the service is stopping")
        admitted = len(self._tokens)
        if admitted >= self._workers + self._waiting:
            after_s = math.ceil(self._mean_s * admitted / self._workers)
            raise Overloaded(
                f"{self._workers} recordings are being scored and {self._waiting} wait; ask again later",
                retry_after_s=min(MAX_RETRY_AFTER_S, max(1, after_s)),
            )

    async def run(
        self,
        job: Callable[[CancellationToken], T],
        gone: Callable[[], Awaitable[None]],
        *,
        timeout_s: float | None = None,
    ) -> T:
        """Run ``job`` in a worker and wait for it, unless ``gone`` returns first (the caller hung up).

        Whatever happens, the job is no longer running when this returns: it may read a file of the caller's.

        Args:
            job: job that asks the token often whether it is to end.
            gone: coroutine function that returns once the caller has hung up.
            timeout_s: longest time for this job, seconds; None for that of the queue.

        Raises:
            Overloaded: the queue is full.
            ScoringTimedOut: waiting and running took too long.
            ClientGone: the caller hung up.
            Exception: an exception of the job.
        """
        self.refuse_if_full()
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        token = CancellationToken(limit_s)
        future = self._submit(job, token)
        result = asyncio.wrap_future(future)
        hung_up = asyncio.ensure_future(gone())
        try:
            either: set[asyncio.Future[Any]] = {result, hung_up}
            await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            token.cancel(ClientGone("the caller hung up") if hung_up.done() else token.timed_out())
        except asyncio.CancelledError:
            token.cancel(ShuttingDown("the service is stopping"))
            raise
        finally:
            hung_up.cancel()
            if not future.cancel():
                await asyncio.wait({result})
        if future.cancelled():
            token.check()
        return result.result()

    def close(self) -> None:
        """End all jobs at their next step and wait for the workers (blocking)."""
        self._closed = True
        with self._lock:
            for token in self._tokens:
                token.cancel(ShuttingDown("the service is stopping"))
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _submit(self, job: Callable[[CancellationToken], T], token: CancellationToken) -> Future[T]:
        context = contextvars.copy_context()
        with self._lock:
            self._tokens.add(token)
        future = self._executor.submit(context.run, self._work, job, token, time.monotonic())
        future.add_done_callback(lambda _: self._leave(token))
        return future

    def _work(self, job: Callable[[CancellationToken], T], token: CancellationToken, submitted_s: float) -> T:
        started_s = time.monotonic()
        with self._lock:
            self._running += 1
        try:
            if self._on_wait is not None:
                self._on_wait(started_s - submitted_s)
            token.check()
            return job(token)
        finally:
            with self._lock:
                self._running -= 1
                self._mean_s += _NEWEST_WEIGHT * (time.monotonic() - started_s - self._mean_s)

    def _leave(self, token: CancellationToken) -> None:
        with self._lock:
            self._tokens.discard(token)
