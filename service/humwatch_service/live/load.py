"""Load of the service: measured lateness and processor time, and what they say of room for another stream."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch_service.errors import Overloaded
from humwatch_service.metrics.live import Resource

LOOK_BACK_S: Final = 5.0
"""Time over which load is judged: shorter, a hiccup closes the door; longer, it is closed too late."""
OVERHEAD_S: Final = 0.006
"""Processor time that a second of a stream takes beside its predictions, before any was measured."""
MEASURABLE_STREAMS: Final = 4
"""With fewer, what the service does beside streams is most of what is measured."""
INTERPRETER_CORES: Final = 1.25
"""Processor time of all but predictions that one process gets in a second: Python runs on one processor at a time, but
arithmetic on arrays leaves it for others. Measured: 450 streams took 1.0 and were in time, 500 were not."""
LATE_SHARE: Final = 0.05
"""Share of scores that may be later than what is called the lateness."""
CLOSED_AT: Final = 0.5
"""Share of the latency budget at which no more streams are taken."""
RETRY_S: Final = (10, 30)
"""Range of the pauses that refused clients are asked for: if all came again at one moment, their handshakes would make
the others late."""
SHED_SHARE: Final = 0.05
"""Share of the streams that are given up at a time, one at least."""


@dataclass(frozen=True)
class Demand:
    """Processor time of something, seconds a second: of all processors, and of Python's one."""

    cores: float
    interpreter: float

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.cores + other.cores, self.interpreter + other.interpreter)

    def __mul__(self, share: float) -> Demand:
        return Demand(self.cores * share, self.interpreter * share)


NOTHING: Final = Demand(0.0, 0.0)


@dataclass(frozen=True)
class _Spent:
    """Times until a moment, seconds: of processors, and of the periods in which each CPU quota was used up."""

    at_s: float
    batches_s: float
    predicting_s: float
    loop_s: float
    throttled_s: tuple[float, ...]


class Load:
    """Lateness and processor time of streams, and the decisions on them. Thread-safe.

    Two things keep streams in time. No stream is admitted that the processors have no time for: what the live ones use
    is measured, what newcomers will use is expected; uploads and streams that catch up do not count, as they can wait.
    And when scores come late all the same, whatever the reason, none is admitted, and then the newest have to go, a few
    at a time, until the others are in time again. Of a CPU quota that is used up, whoever uses it, nothing is left.
    """

    def __init__(
        self,
        *,
        processors: float,
        budget_s: float,
        max_load: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Measure from now on.

        Args:
            processors: processors that the service may keep busy; a fraction, too.
            budget_s: latency of a score at which streams are given up, seconds.
            max_load: share of the processors, and of Python's one, that streams may keep busy.
            clock: clock that runs evenly, seconds.
        """
        self._cores = float(processors)
        self._limit = Demand(processors * max_load, min(INTERPRETER_CORES, processors) * max_load)
        self._budget_s = budget_s
        self._clock = clock
        self._lock = threading.Lock()
        self._latencies: deque[tuple[float, float]] = deque()
        self._lags: deque[tuple[float, float]] = deque()
        self._newcomers: deque[tuple[float, Demand]] = deque()
        self._batches_s = self._predicting_s = 0.0
        self._spent: deque[_Spent] = deque()
        self._next_shed_s = 0.0

    def on_score(self, latency_s: float) -> None:
        """Note the latency of a score of a stream in time."""
        with self._lock:
            self._latencies.append((self._clock(), latency_s))

    def on_cpu_time(self, seconds: float) -> None:
        """Note the processor time of a batch of a stream in time, predictions included."""
        with self._lock:
            self._batches_s += seconds

    def on_predict_time(self, seconds: float) -> None:
        """Note the processor time of predictions in a batch."""
        with self._lock:
            self._predicting_s += seconds

    def on_loop_lag(self, lag_s: float) -> None:
        """Note how late the event loop was; what it reads late has not arrived yet in measured latencies."""
        with self._lock:
            self._lags.append((self._clock(), lag_s))

    @property
    def lateness_s(self) -> float:
        """Latency that the last seconds' scores kept to but for ``LATE_SHARE``, with the event loop's lag, seconds."""
        with self._lock:
            return self._lateness_s()

    @property
    def busy(self) -> Demand:
        """Processor time that streams use now, the mean of the last seconds."""
        with self._lock:
            return self._busy()

    @property
    def throttled(self) -> float:
        """Share of the last seconds in whose periods a CPU quota was used up."""
        with self._lock:
            return self._throttled()

    def share(self, resource: Resource) -> float:
        """Return the share of what streams may use that is used now; over 1 where there is not enough."""
        used: float = getattr(self.busy, resource) / getattr(self._limit, resource)
        return used

    def refusal(self, stream_s: float, live: int) -> Overloaded | None:
        """Return why there is no room for another stream beside ``live`` others; None if there is room.

        Args:
            stream_s: processor time that the predictions of a second of it take, seconds.
            live: number of streams that are fed.
        """
        with self._lock:
            lateness_s = self._lateness_s()
            if live and lateness_s > CLOSED_AT * self._budget_s:
                return _overloaded(f"scores of {live} streams come {lateness_s:.2f} s late")
            expected = self._busy() + self._arriving() + self._expected(stream_s, live)
            if not live or (expected.cores <= self._limit.cores and expected.interpreter <= self._limit.interpreter):
                return None
            return _overloaded(
                f"the processors have no time for another stream beside {live}: {expected.cores:.2f} of"
                f" {self._limit.cores:.2f} would be busy, {expected.interpreter:.2f} of"
                f" {self._limit.interpreter:.2f} with Python"
            )

    def on_admission(self, stream_s: float, live: int) -> None:
        """Note that a stream was admitted: what it takes is not to be seen yet."""
        with self._lock:
            self._newcomers.append((self._clock(), self._expected(stream_s, live)))

    def streams_to_shed(self, live: int, loop_s: float, throttled_s: tuple[float, ...] = ()) -> int:
        """Measure; return the number of streams that have to go. To be called about once a second.

        Args:
            live: number of streams that are fed.
            loop_s: processor time that the event loop has used since it began, seconds.
            throttled_s: length of all periods so far in which each CPU quota was used up, seconds.
        """
        with self._lock:
            self._spent.append(_Spent(self._clock(), self._batches_s, self._predicting_s, loop_s, throttled_s))
            oldest_s = self._clock() - LOOK_BACK_S
            while len(self._spent) > 2 and self._spent[1].at_s <= oldest_s:
                self._spent.popleft()
            if self._lateness_s() <= self._budget_s or self._clock() < self._next_shed_s or live <= 1:
                return 0
            self._next_shed_s = self._clock() + LOOK_BACK_S  # until it is seen what that helped
            return max(1, int(SHED_SHARE * live))

    def _lateness_s(self) -> float:
        lag_s = self._recent(self._lags)
        return _quantile(self._recent(self._latencies), 1.0 - LATE_SHARE) + _quantile(lag_s, 0.5)

    def _recent(self, noted: deque[tuple[float, float]]) -> list[float]:
        oldest_s = self._clock() - LOOK_BACK_S
        while noted and noted[0][0] < oldest_s:
            noted.popleft()
        return [value for _, value in noted]

    def _busy(self) -> Demand:
        if len(self._spent) < 2:
            return NOTHING
        first, last = self._spent[0], self._spent[-1]
        used_s = last.batches_s - first.batches_s + last.loop_s - first.loop_s
        python_s = max(0.0, used_s - (last.predicting_s - first.predicting_s))
        busy = Demand(used_s, python_s) * (1.0 / (last.at_s - first.at_s))
        return Demand(max(busy.cores, self._throttled() * self._cores), busy.interpreter)

    def _throttled(self) -> float:
        if len(self._spent) < 2:
            return 0.0
        first, last = self._spent[0], self._spent[-1]
        used_up_s = [after - before for before, after in zip(first.throttled_s, last.throttled_s, strict=False)]
        return min(1.0, max([0.0, *used_up_s]) / (last.at_s - first.at_s))

    def _arriving(self) -> Demand:
        """Return what newcomers will take beyond what is seen of them already."""
        now_s, arriving = self._clock(), NOTHING
        while self._newcomers and now_s - self._newcomers[0][0] >= LOOK_BACK_S:
            self._newcomers.popleft()
        for since_s, demand in self._newcomers:
            arriving += demand * (1.0 - (now_s - since_s) / LOOK_BACK_S)
        return arriving

    def _expected(self, stream_s: float, live: int) -> Demand:
        """Return what a stream will take: by the others, but not less than its predictions."""
        settled = live - len(self._newcomers)
        if settled < MEASURABLE_STREAMS:
            return Demand(stream_s + OVERHEAD_S, OVERHEAD_S)
        each = self._busy() * (1.0 / settled)
        return Demand(max(each.cores, stream_s), each.interpreter)


def given_up(lateness_s: float) -> Overloaded:
    """Return the reason for a stream that has to go."""
    return _overloaded(f"scores come {lateness_s:.1f} s late; the newest streams are given up for the others")


def _overloaded(reason: str) -> Overloaded:
    return Overloaded(reason, retry_after_s=random.randint(*RETRY_S))


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
