"""Predictions for many at a time: what waits together goes through the graph together.

As with the group commit of a database, nobody waits for company while a run is free, and what comes while all runs are
under way shares the next one: batches grow with the load, not with a timer. A GPU may be worth a short wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from humwatch.errors import PredictorError
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.predictor import Prediction

Float32 = npt.NDArray[np.float32]

TIMED_RUNS: Final = 3


class _Request:
    """Windows of one caller, who waits until they are predicted or it is asked to run what waits."""

    def __init__(self, windows: Float32) -> None:
        self.windows = windows
        self.prediction: Prediction | None = None
        self.failure: str | None = None
        self.leads = False
        self.called = threading.Event()

    def answer(self) -> Prediction:
        if self.prediction is None:
            raise PredictorError(self.failure or "the prediction was lost")
        return self.prediction


class BatchingPredictor:
    """The predictor of one graph, for all streams and recordings of the machines that share it. Thread-safe.

    First come, first served, a batch of the graph at a time: a caller with many windows stands in line again with each
    batch of them, and has no more than one in line. So what waits is bounded by the callers.

    Where what is said of a window depends on its company (``OnnxPredictor.is_row_exact``), every request runs alone.

    Attributes:
        window_shape: (L, F).
        row_exact: whether requests share runs.
        window_s: processor time that a window takes, measured on an idle moment at the start, seconds.
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
            predictor: of the graph.
            sample: windows to try it on, float32 (n, L, F) in dB.
            runs: at a time.
            delay_s: longest wait for company while there is not a batch.
            on_run: is told of the windows of each run.
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
        """Requests that wait for a run."""
        return len(self._waiting)

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB. Raises :class:`PredictorError`."""
        batch = self._predictor.batch
        parts = [self._ask(windows[start : start + batch]) for start in range(0, len(windows), batch)]
        return Prediction.concatenate(parts)

    def _ask(self, windows: Float32) -> Prediction:
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
        return request.answer()

    def _lead(self, request: _Request) -> None:
        """Run a request, with what waits behind it; then give the run on."""
        together = [request]
        try:
            together += self._company(request)
            self._run(together)
        finally:
            self._hand_on()
            for one in together:
                one.called.set()

    def _hand_on(self) -> None:
        with self._changed:
            if not self._waiting:
                self._free += 1
                return
            following = self._waiting.popleft()
        following.leads = True
        following.called.set()

    def _company(self, request: _Request) -> list[_Request]:
        """Take from the line what fits into one batch with a request."""
        if not self.row_exact:
            return []
        company: list[_Request] = []
        room = self._predictor.batch - len(request.windows)
        with self._changed:
            if self._delay_s > 0:
                self._changed.wait_for(lambda: self._waiting_windows() >= room, timeout=self._delay_s)
            while self._waiting and len(self._waiting[0].windows) <= room:
                company.append(self._waiting.popleft())
                room -= len(company[-1].windows)
        return company

    def _waiting_windows(self) -> int:
        return sum(len(request.windows) for request in self._waiting)

    def _run(self, together: list[_Request]) -> None:
        windows = [request.windows for request in together]
        try:
            prediction = self._predictor.predict(windows[0] if len(windows) == 1 else np.concatenate(windows))
        except PredictorError as error:
            for request in together:
                request.failure = str(error)
            return
        start = 0
        for request in together:
            request.prediction = prediction[start : start + len(request.windows)]
            start += len(request.windows)
        if self._on_run is not None:
            self._on_run(start)


def _timed(predictor: OnnxPredictor, sample: Float32) -> float:
    """Processor time of a window in a full batch, seconds: the least of some runs, as others only add to it."""
    windows = np.resize(sample, (predictor.batch, *sample.shape[1:]))
    taken = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        predictor.predict(windows)
        taken.append(time.perf_counter() - started_s)
    return min(taken) / len(windows)
