"""A predictor that reports what each of its runs takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from humwatch.arrays import Float32
from humwatch.predictor import Prediction, Predictor, SharedPredictor
from humwatch_service.inference.batching import BatchedPredictor


class PredictorRun(NamedTuple):
    """A run that is over.

    Attributes:
        windows: number of windows predicted.
        wall_s: duration, seconds.
        cpu_s: processor time of the calling thread, seconds.
    """

    windows: int
    wall_s: float
    cpu_s: float


class TimedPredictor(SharedPredictor):
    """A predictor that times its runs, each in a span of a trace, and reports those that succeed.

    Where the prediction of a window does not depend on its company, what is asked for at the same time, by one caller
    or by several, is one run.

    Args:
        predictor: predictor that does the work.
        span: maker of the context to run in, from the number of windows; an exception on the way goes to the caller.
        on_run: callback after each run.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        span: Callable[[int], AbstractContextManager[Any]],
        on_run: Callable[[PredictorRun], None],
    ) -> None:
        self._predictor = predictor
        self._span = span
        self._on_run = on_run
        self.shared = predictor if isinstance(predictor, BatchedPredictor) and predictor.row_exact else None

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        return self.predict_with((), [windows])[0]

    def predict_with(self, others: Sequence[SharedPredictor], windows: Sequence[Float32]) -> list[Prediction]:
        """Predict for this caller and for others in one span; each is told of the whole duration and of its share.

        Args:
            others: predictors of the other callers.
            windows: float32 (B, L, F) in dB of each caller, this one first.
        """
        sizes = [len(some) for some in windows]
        total = sum(sizes)
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        with self._span(total):
            prediction = self._predictor.predict(windows[0] if len(windows) == 1 else np.concatenate(windows))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.thread_time() - cpu_s
        for caller, size in zip((self, *others), sizes, strict=True):
            if isinstance(caller, TimedPredictor):
                caller._on_run(PredictorRun(size, wall_s, cpu_s * size / total))
        return [prediction[end - size : end] for end, size in zip(accumulate(sizes), sizes, strict=True)]
