"""Worker threads for the batches of streams: the batch that is due first goes first."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

T = TypeVar("T")

CATCH_UP_S: Final = 1.0
"""Delay of a stream that catches up, behind one that came at the same time and is in time."""


class PriorityExecutor(Executor):
    """Threads with a queue in the order of the times at which calls are due; equals go in the order they came.

    So streams in time go before those that work off what they kept while their connection was broken, and those still
    come on: a call that has waited is due. Thread-safe.
    """

    def __init__(
        self, workers: int, *, around: Callable[[float], AbstractContextManager[object]] | None = None
    ) -> None:
        """Start the threads.

        Args:
            workers: number of threads.
            around: maker of a context to call in, from the seconds that the call waited.
        """
        self._around = around
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Callable[[], None], Future[Any]]] = []
        self._numbers = itertools.count()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"humwatch-live-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function as soon as a worker is free and nothing else was due before."""
        return self.submit_later(0.0, fn, *args, **kwargs)

    def submit_later(self, delay_s: float, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function as if it had come ``delay_s`` seconds later: what comes until then goes first."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                if self._around is None:
                    result = fn(*args, **kwargs)
                else:
                    with self._around(time.monotonic() - asked_s):
                        result = fn(*args, **kwargs)
            except BaseException as error:  # it is the caller's, as in every executor
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changed:
            if self._closed:
                raise RuntimeError("the pool is closed")
            asked_s = time.monotonic()
            heapq.heappush(self._queue, (asked_s + delay_s, next(self._numbers), call, future))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; make those that wait, or cancel them."""
        with self._changed:
            self._closed = True
            if cancel_futures:
                for _, _, _, future in self._queue:
                    future.cancel()
                self._queue.clear()
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                _, _, call, future = heapq.heappop(self._queue)
            if future.set_running_or_notify_cancel():
                call()
