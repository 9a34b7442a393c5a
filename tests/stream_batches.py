"""Batches for stream workers that do what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable

from humwatch.together import Work
from humwatch_service.streams.workers import StreamWorkers


class CalledBatch:
    """A batch that calls a function, and knows how it ended once its event loop was told."""

    has_companion = False

    def __init__(self, call: Callable[[], object], *, sound_s: float = 1.0) -> None:
        self.sound_s = sound_s
        self.order: list[str] = []
        self.cpu_s: float | None = None
        self.error: Exception | None = None
        self._call = call
        self._over = threading.Event()

    def work(self) -> Work[None]:
        yield []
        self._call()

    def conclude(self) -> None:
        self.order.append("conclude")

    def spent(self, cpu_s: float) -> None:
        self.cpu_s = cpu_s

    def post(self, call: Callable[[], None]) -> None:
        call()

    def deliver(self) -> None:
        self.order.append("deliver")

    def finish(self, error: Exception | None) -> None:
        self.order.append("finish")
        self.error = error
        self._over.set()

    def wait(self) -> None:
        """Wait until it was worked on; raise what went wrong."""
        assert self._over.wait(60)
        if self.error is not None:
            raise self.error


def busy(workers: StreamWorkers) -> threading.Event:
    """Keep one worker busy until the event is set."""
    let_go, started = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        let_go.wait(60)

    workers.submit(CalledBatch(wait))
    assert started.wait(60)
    return let_go
