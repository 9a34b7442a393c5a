"""Runs that are timed: what is reported of them, and that a run that fails is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from humwatch.arrays import Float32
from humwatch.errors import PredictorError
from humwatch.predictor import Prediction
from humwatch_service.inference.timing import PredictorRun, TimedPredictor

WINDOWS = np.zeros((3, 5, 4), np.float32)


class Broken:
    def predict(self, windows: Float32) -> Prediction:
        raise PredictorError("out of memory")


class Zero:
    def predict(self, windows: Float32) -> Prediction:
        mean = np.zeros((len(windows), 1), np.float32)
        return Prediction(np.array([0], np.int64), mean, mean + 1)


def test_a_run_is_reported_once_its_span_is_over() -> None:
    seen: list[object] = []

    @contextmanager
    def span(windows: int) -> Iterator[None]:
        seen.append(windows)
        yield
        seen.append("over")

    predictor = TimedPredictor(Zero(), span=span, on_run=seen.append)
    assert predictor.predict(WINDOWS).mean.shape == (3, 1)
    *before, run = seen
    assert before == [3, "over"]
    assert isinstance(run, PredictorRun)
    assert run.windows == 3
    assert run.cpu_s >= 0
    assert run.wall_s > 0


def test_a_run_that_fails_is_not_reported() -> None:
    runs: list[PredictorRun] = []

    @contextmanager
    def span(windows: int) -> Iterator[None]:
        yield

    with pytest.raises(PredictorError, match="out of memory"):
        TimedPredictor(Broken(), span=span, on_run=runs.append).predict(WINDOWS)
    assert runs == []
