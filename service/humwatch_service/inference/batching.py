"""Predictions for many callers: requests that wait together go through the graph together.

As with the group commit of a database, a request runs at once while a run is free, and those that come while all runs
are under way share the next one: batches grow with the load, not with a timer. A GPU may be worth a short wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from humwatch.arrays import Float32
from humwatch.errors import PredictorError
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.predictor import Prediction, Predictor

TIMED_RUNS: Final = 3


class GraphPredictor(Predictor, Protocol):
    """A predictor of a graph, which takes windows of one shape.

    Attributes:
        window_shape: (L, F).
    """

    window_shape: tuple[int, int]


class _Request:
    """Windows of one caller, which waits until they are predicted or until it is to run the requests that wait."""

    def __init__(self, windows: Float32) -> None:
        self.windows = windows
        self.prediction: Prediction | None = None
        self.failure: str | None = None
        self.leads = False
        self.called = threading.Event()

    def result(self) -> Prediction:
        if self.prediction is None:
            raise PredictorError(self.failure or "the prediction was lost")
        return self.prediction


class BatchedPredictor(GraphPredictor):
    """The predictor of one graph, for all streams and recordings of the machines that share it. Thread-safe.

    Requests are served in the order of their arrival, a batch of the graph at a time: a caller with many windows makes
    a request for each batch, one after the other. So the queue is no longer than there are callers.

    Where the prediction of a window depends on the others of its run (see ``OnnxPredictor.is_row_exact``), every
    request runs alone.

    Attributes:
        window_shape: (L, F).
        row_exact: whether requests share runs.
        window_s: processor time of a window, measured in an idle moment at the start, seconds.
    """

    def __init__(
        self,
        predictor: OnnxPredictor,
        sample: Float32,
        *,
        runs: int,
        delay_s: float = 0.0,
        on_run: Callable[[int], None] | None = None,
    ) -> None:
        """Warm a predictor up, and share it.

        Args:
            predictor: predictor of the graph.
            sample: windows to try it on, float32 (n, L, F) in dB.
            runs: number of runs at a time.
            delay_s: longest wait for more requests while there is not a batch, seconds.
            on_run: callback after each run, with its number of windows.
        """
        self.window_shape = predictor.window_shape
        self.row_exact = predictor.is_row_exact(sample)
        self._predictor = predictor
        self.window_s = _timed(predictor, sample)
        self._free = runs
        self._delay_s = delay_s
        self._on_run = on_run
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()

    @property
    def depth(self) -> int:
        """Number of requests that wait for a run."""
        return len(self._waiting)

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB. Raises :class:`PredictorError`."""
        batch = self._predictor.batch
        parts = [self._request(windows[start : start + batch]) for start in range(0, len(windows), batch)]
        return Prediction.concatenate(parts)

    def _request(self, windows: Float32) -> Prediction:
        request = _Request(windows)
        with self._changed:
            if self._free:
                self._free -= 1
                request.leads = True
            else:
                self._waiting.append(request)
                self._changed.notify_all()  # of runs that wait for company
        if not request.leads:
            request.called.wait()
        if request.leads:
            self._lead(request)
        return request.result()

    def _lead(self, request: _Request) -> None:
        """Run a request with those that wait behind it, then pass the run to the next request."""
        batch = [request]
        try:
            batch += self._companions(request)
            self._run(batch)
        finally:
            self._hand_on()
            for one in batch:
                one.called.set()

    def _hand_on(self) -> None:
        with self._changed:
            if not self._waiting:
                self._free += 1
                return
            following = self._waiting.popleft()
        following.leads = True
        following.called.set()

    def _companions(self, request: _Request) -> list[_Request]:
        """Take from the queue the requests that fit into one batch with a request."""
        if not self.row_exact:
            return []
        companions: list[_Request] = []
        room = self._predictor.batch - len(request.windows)
        with self._changed:
            if self._delay_s > 0:
                self._changed.wait_for(lambda: self._waiting_windows() >= room, timeout=self._delay_s)
            while self._waiting and len(self._waiting[0].windows) <= room:
                companions.append(self._waiting.popleft())
                room -= len(companions[-1].windows)
        return companions

    def _waiting_windows(self) -> int:
        return sum(len(request.windows) for request in self._waiting)

    def _run(self, batch: list[_Request]) -> None:
        windows = [request.windows for request in batch]
        try:
            prediction = self._predictor.predict(windows[0] if len(windows) == 1 else np.concatenate(windows))
        except PredictorError as error:
            for request in batch:
                request.failure = str(error)
            return
        start = 0
        for request in batch:
            request.prediction = prediction[start : start + len(request.windows)]
            start += len(request.windows)
        if self._on_run is not None:
            self._on_run(start)


def _timed(predictor: OnnxPredictor, sample: Float32) -> float:
    """Measure the processor time of a window in a full batch, seconds: the least of some runs, as others only add."""
    windows = np.resize(sample, (predictor.batch, *sample.shape[1:]))
    durations_s = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        predictor.predict(windows)
        durations_s.append(time.perf_counter() - started_s)
    return min(durations_s) / len(windows)
