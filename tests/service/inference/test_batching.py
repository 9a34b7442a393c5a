"""Requests that share runs: who waits, who does not, and that nobody hears of anybody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from humwatch.arrays import Float32
from humwatch.errors import PredictorError
from humwatch.predictor import Prediction
from humwatch_service.inference.batching import BatchedPredictor

SAMPLE = np.zeros((2, 3, 4), np.float32)


class Gate:
    """Stands for an OnnxPredictor: predicts the mean of each window once it is let, and keeps what it was given."""

    window_shape = (3, 4)

    def __init__(self, *, batch: int = 6, row_exact: bool = True) -> None:
        self.batch = batch
        self.row_exact = row_exact
        self.runs: list[list[float]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.failure: str | None = None
        self.takes_s = 0.0

    def is_row_exact(self, windows: Float32) -> bool:
        return self.row_exact

    def predict(self, windows: Float32) -> Prediction:
        self.entered.release()
        assert self.open.wait(10)
        time.sleep(self.takes_s)
        if self.failure:
            raise PredictorError(self.failure)
        self.runs.append(windows[:, 0, 0].tolist())
        mean = windows.mean(axis=(1, 2), dtype=np.float32)[:, None]
        return Prediction(np.array([0], np.int64), mean, np.ones_like(mean))

    def forget(self) -> None:
        """Drop what warming up did."""
        self.runs.clear()
        self.entered = threading.Semaphore(0)


def windows(*values: float) -> Float32:
    return np.broadcast_to(np.array(values, np.float32)[:, None, None], (len(values), 3, 4)).copy()


@contextmanager
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def batching(gate: Gate, *, runs: int = 1, delay_s: float = 0.0) -> BatchedPredictor:
    predictor = BatchedPredictor(gate, SAMPLE, runs=runs, delay_s=delay_s)  # type: ignore[arg-type]
    gate.forget()
    return predictor


def said(future: Future[Prediction]) -> list[float]:
    values: list[float] = future.result(10).mean[:, 0].tolist()
    return values


def wait_for_line(predictor: BatchedPredictor, length: int) -> None:
    until = time.monotonic() + 10
    while predictor.depth != length:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_one_request_runs_at_once_and_alone() -> None:
    gate = Gate()
    predictor = batching(gate)
    assert predictor.predict(windows(1, 2)).mean[:, 0].tolist() == [1, 2]
    assert gate.runs == [[1, 2]]
    assert predictor.depth == 0


def test_what_waits_during_a_run_shares_the_next_up_to_a_batch_first_come_first_served() -> None:
    gate = Gate(batch=6)
    predictor = batching(gate)
    gate.open.clear()
    with crowd() as pool:
        first = pool.submit(predictor.predict, windows(1))
        assert gate.entered.acquire(timeout=10)
        others = []
        for number in range(2, 7):
            others.append(pool.submit(predictor.predict, windows(number, number + 0.5)))
            wait_for_line(predictor, len(others))
        gate.open.set()
        assert said(first) == [1]
        assert [said(other) for other in others] == [[n, n + 0.5] for n in range(2, 7)]
    assert gate.runs == [[1], [2, 2.5, 3, 3.5, 4, 4.5], [5, 5.5, 6, 6.5]]
    assert predictor.depth == 0


def test_a_long_request_stands_in_line_again_with_each_batch_of_it() -> None:
    gate = Gate(batch=2)
    predictor = batching(gate)
    gate.open.clear()
    with crowd() as pool:
        long = pool.submit(predictor.predict, windows(1, 2, 3, 4, 5))
        assert gate.entered.acquire(timeout=10)
        short = pool.submit(predictor.predict, windows(9, 9))
        wait_for_line(predictor, 1)
        gate.open.set()
        assert said(long) == [1, 2, 3, 4, 5]
        assert said(short) == [9, 9]
    assert gate.runs[:2] == [[1, 2], [9, 9]]  # not behind all five


def test_as_many_runs_go_at_a_time_as_there_are_to_be() -> None:
    gate = Gate()
    predictor = batching(gate, runs=2)
    gate.open.clear()
    with crowd() as pool:
        futures = [pool.submit(predictor.predict, windows(number)) for number in (1, 2)]
        assert all(gate.entered.acquire(timeout=10) for _ in range(2))
        futures.append(pool.submit(predictor.predict, windows(3)))
        wait_for_line(predictor, 1)
        assert not gate.entered.acquire(timeout=0.05)
        gate.open.set()
        assert [said(future) for future in futures] == [[1], [2], [3]]


def test_where_company_would_change_what_is_said_everybody_runs_alone() -> None:
    gate = Gate(row_exact=False)
    predictor = batching(gate)
    gate.open.clear()
    with crowd() as pool:
        futures = [pool.submit(predictor.predict, windows(1))]
        assert gate.entered.acquire(timeout=10)
        for number in (2, 3):
            futures.append(pool.submit(predictor.predict, windows(number)))
            wait_for_line(predictor, number - 1)
        gate.open.set()
        assert [said(future) for future in futures] == [[1], [2], [3]]
    assert gate.runs == [[1], [2], [3]]


def test_with_a_delay_a_run_waits_for_a_batch_and_goes_as_soon_as_it_is_full() -> None:
    gate = Gate(batch=3)
    predictor = batching(gate, delay_s=30.0)
    with crowd() as pool:
        started_s = time.monotonic()
        futures = [pool.submit(predictor.predict, windows(number)) for number in (1, 2, 3)]
        assert sorted(said(future)[0] for future in futures) == [1, 2, 3]
    assert time.monotonic() - started_s < 25  # not the whole delay
    assert [len(run) for run in gate.runs] == [3]


def test_with_a_delay_a_run_goes_without_company_when_none_comes() -> None:
    gate = Gate(batch=3)
    assert batching(gate, delay_s=0.05).predict(windows(7)).mean[0, 0] == 7
    assert gate.runs == [[7]]


def test_a_failed_run_fails_all_its_requests_and_no_others() -> None:
    gate = Gate()
    predictor = batching(gate)
    gate.open.clear()
    gate.failure = "out of memory"
    with crowd() as pool:
        first = pool.submit(predictor.predict, windows(1))
        assert gate.entered.acquire(timeout=10)
        second = pool.submit(predictor.predict, windows(2))
        wait_for_line(predictor, 1)
        gate.open.set()
        for future in (first, second):
            with pytest.raises(PredictorError, match="out of memory"):
                future.result(10)
    gate.failure = None
    assert predictor.predict(windows(3)).mean[0, 0] == 3


def test_a_crowd_gets_what_it_asked_for_with_as_many_answers_as_questions() -> None:
    gate = Gate(batch=5)
    told: list[int] = []
    predictor = BatchedPredictor(
        gate,  # type: ignore[arg-type]
        SAMPLE,
        runs=2,
        on_run=told.append,
    )
    gate.forget()
    gate.takes_s = 0.001
    rng = np.random.default_rng(0)
    asked = [rng.normal(size=int(rng.integers(1, 9))).astype(np.float32) for _ in range(400)]
    with crowd() as pool:
        answers = list(pool.map(lambda values: predictor.predict(windows(*values)).mean[:, 0], asked))
    for values, answer in zip(asked, answers, strict=True):
        np.testing.assert_allclose(answer, values, rtol=1e-5)
    assert sum(told) == sum(map(len, asked))
    assert max(told) <= 5
    assert len(told) < sum(-(-len(values) // 5) for values in asked)  # some shared a run


def test_a_window_takes_time() -> None:
    assert batching(Gate()).window_s > 0
