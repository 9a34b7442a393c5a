"""Worker threads that take the turns of streams: the one that is due first goes first."""

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
"""A stream that catches up has its turn so much later than one that came at the same time and is in time."""


class TurnPool(Executor):
    """A pool of ``workers`` threads with a line by the time that a turn is due; equals go in order.

    So streams in time go before those that work off what they kept while their connection was broken, and those still
    come on: a turn that has waited is due.
    """

    def __init__(
        self, workers: int, *, around: Callable[[float], AbstractContextManager[object]] | None = None
    ) -> None:
        """``around`` makes what a turn is done inside of, from the seconds that it waited."""
        self._around = around
        self._changed = threading.Condition()
        self._line: list[tuple[float, int, Callable[[], None], Future[Any]]] = []
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

    def submit_later(self, later_s: float, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The same, as if it had come ``later_s`` seconds later: what comes until then goes first."""
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
            heapq.heappush(self._line, (asked_s + later_s, next(self._numbers), call, future))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; do what waits, or cancel it."""
        with self._changed:
            self._closed = True
            if cancel_futures:
                for _, _, _, future in self._line:
                    future.cancel()
                self._line.clear()
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._line and not self._closed:
                    self._changed.wait()
                if not self._line:
                    return
                _, _, call, future = heapq.heappop(self._line)
            if future.set_running_or_notify_cancel():
                call()
