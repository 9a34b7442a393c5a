"""Worker threads for streams: those that are due at the same time are worked on together, in arrays over streams."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, Protocol

from humwatch.together import Failed, Work, together

CATCH_UP_S: Final = 1.0
"""Delay of a stream that catches up, behind one that came at the same time and is in time."""
TURN_STREAMS: Final = 16
"""Most streams of a turn: their arrays stay in a core's own cache, and who comes next does not wait long."""
GATHER_S: Final = 0.1
"""Longest wait of a stream that is due for others that are."""
GATHER_A_STREAM_S: Final = 0.001
"""The same for each stream that there is: a stream alone waits for nobody."""


class Batch(Protocol):
    """Items of one stream that are scored together, and what follows from them.

    Attributes:
        sound_s: sound in it, seconds.
    """

    sound_s: float

    @property
    def has_companion(self) -> bool:
        """True if to conclude it takes long enough that its messages go out before."""

    def work(self) -> Work[None]:
        """Return the work that scores it; in a worker."""

    def conclude(self) -> None:
        """Do what is to be done before the next batch of the stream, and has nothing to say; in a worker."""

    def spent(self, cpu_s: float) -> None:
        """Take the processor time that it took, seconds; in a worker."""

    def post(self, call: Callable[[], None]) -> None:
        """Have something called on the event loop of the stream, unless that is over; in a worker."""

    def deliver(self) -> None:
        """Send its messages; on the event loop."""

    def finish(self, error: Exception | None) -> None:
        """Let the stream have its next batch, or end for an error; on the event loop."""


class StreamWorkers:
    """Threads that take the batches of streams, in the order of the times at which they are due; equals as they came.

    So streams in time go before those that work off what they kept while their connection was broken, and those still
    come on: a batch that has waited is due. A batch waits for others for a moment, the longer the more streams there
    are, as what a turn costs by itself is shared by its streams.

    One turn at a time is in Python, others beside it in the predictor: two that compute with small arrays would take
    the interpreter's lock from one another at each, which costs more than the second processor gives. Thread-safe.
    """

    def __init__(
        self, workers: int, *, around: Callable[[float], AbstractContextManager[object]] | None = None
    ) -> None:
        """Start the threads.

        Args:
            workers: number of threads.
            around: maker of a context to work in, from the seconds that the oldest batch of a turn waited.
        """
        self._around = around or (lambda waited_s: nullcontext())
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, float, Batch]] = []
        self._numbers = itertools.count()
        self._streams = 0
        self._closed = False
        self._python = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"humwatch-live-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Count one stream more."""
        with self._changed:
            self._streams += 1

    def leave(self) -> None:
        """Count one stream less."""
        with self._changed:
            self._streams -= 1

    @property
    def streams(self) -> int:
        """Number of streams that there are."""
        return self._streams

    def submit(self, batch: Batch, delay_s: float = 0.0) -> None:
        """Work on a batch as if it had come ``delay_s`` seconds later: what comes until then goes first.

        Raises:
            RuntimeError: the workers are closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers are closed")
            now_s = time.monotonic()
            heapq.heappush(self._queue, (now_s + delay_s, next(self._numbers), now_s, batch))
            if len(self._queue) == 1 or len(self._queue) >= self._wanted:
                self._changed.notify()

    def close(self) -> None:
        """Take no more batches, and work on those that wait (blocking)."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def _wanted(self) -> int:
        """Number of batches that are worth a turn at once."""
        return min(TURN_STREAMS, max(1, self._streams))

    def _run(self) -> None:
        while turn := self._next_turn():
            waited_s = time.monotonic() - min(asked_s for asked_s, _ in turn)
            batches = [batch for _, batch in turn]
            try:
                with self._around(waited_s), self._python:
                    _work(batches, _Left(self._python))
            except Exception as error:  # of no stream: none of them is to wait for ever, nor those to come
                broken: list[tuple[Batch, Exception | None]] = [(batch, error) for batch in batches]
                batches[0].post(partial(_finish, broken))

    def _next_turn(self) -> list[tuple[float, Batch]]:
        """Wait for batches that are worth a turn; return when they were submitted, and them; none once it is over."""
        with self._changed:
            while (wait_s := self._wait_s()) is None or wait_s > 0.0:
                if self._closed and not self._queue:
                    return []
                self._changed.wait(wait_s)
            count = min(TURN_STREAMS, len(self._queue))
            turn = [heapq.heappop(self._queue)[2:] for _ in range(count)]
            if self._queue:
                self._changed.notify()
            return turn

    def _wait_s(self) -> float | None:
        """Return the time for which those that are due may wait for others, seconds; None: until one is due."""
        if not self._queue:
            return None
        if self._closed or len(self._queue) >= self._wanted:
            return 0.0
        until_s = self._queue[0][2] + min(GATHER_S, GATHER_A_STREAM_S * self._streams)
        return until_s - time.monotonic()


class _Left(AbstractContextManager[None]):
    """While it is entered, others may have a lock that its thread holds else."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self._lock.acquire()


def _work(batches: Sequence[Batch], left: AbstractContextManager[object]) -> None:
    """Work on batches of several streams at the same time, and let their event loop know."""
    began_s = time.thread_time()
    outcomes = together([batch.work() for batch in batches], beside=left)
    errors = [outcome.error if isinstance(outcome, Failed) else None for outcome in outcomes]
    spent_s, sound_s = time.thread_time() - began_s, sum(batch.sound_s for batch in batches)
    shares = [batch.sound_s / sound_s if sound_s else 1.0 / len(batches) for batch in batches]
    ended: list[tuple[Batch, Exception | None]] = []
    late: list[tuple[Batch, float]] = []
    for batch, error, share in zip(batches, errors, shares, strict=True):
        if error is None and batch.has_companion:
            late.append((batch, share * spent_s))
        else:
            ended.append((batch, _concluded(batch, share * spent_s) if error is None else error))
    batches[0].post(partial(_let_know, [batch for batch, _ in late], ended))
    if late:
        slow = [(batch, _concluded(batch, cpu_s)) for batch, cpu_s in late]
        batches[0].post(partial(_finish, slow))


def _concluded(batch: Batch, cpu_s: float) -> Exception | None:
    """Conclude a batch that took so much processor time; return what went wrong."""
    began_s = time.thread_time()
    try:
        batch.conclude()
        batch.spent(cpu_s + time.thread_time() - began_s)
    except Exception as error:
        return error
    return None


def _let_know(late: Sequence[Batch], ended: Sequence[tuple[Batch, Exception | None]]) -> None:
    for batch in late:
        batch.deliver()
    for batch, error in ended:
        failure = error
        if failure is None:
            try:
                batch.deliver()
            except Exception as broken:  # the others of the turn are to have theirs
                failure = broken
        batch.finish(failure)


def _finish(ended: Sequence[tuple[Batch, Exception | None]]) -> None:
    for batch, error in ended:
        batch.finish(error)
