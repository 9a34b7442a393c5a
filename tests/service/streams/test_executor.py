from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from humwatch_service.streams.executor import CATCH_UP_S, PriorityExecutor


def held() -> tuple[PriorityExecutor, threading.Event]:
    """A pool of one worker, which is busy until the event is set."""
    pool, let_go = PriorityExecutor(1), threading.Event()
    started = threading.Event()
    pool.submit(lambda: (started.set(), let_go.wait(10)))
    assert started.wait(10)
    return pool, let_go


def test_turns_are_taken_in_the_order_in_which_they_came() -> None:
    pool, let_go = held()
    taken: list[int] = []
    futures = [pool.submit(taken.append, number) for number in range(5)]
    let_go.set()
    for future in futures:
        future.result(10)
    assert taken == [0, 1, 2, 3, 4]
    pool.shutdown()


def test_who_catches_up_has_its_turn_behind_those_in_time() -> None:
    pool, let_go = held()
    taken: list[str] = []
    late = pool.submit_later(CATCH_UP_S, taken.append, "catches up")
    in_time = pool.submit(taken.append, "in time")
    let_go.set()
    late.result(10)
    in_time.result(10)
    assert taken == ["in time", "catches up"]
    pool.shutdown()


def test_a_turn_that_has_waited_is_due_before_those_that_come_then() -> None:
    pool, let_go = held()
    taken: list[str] = []
    waited = pool.submit_later(0.0, taken.append, "waited")
    new = pool.submit_later(0.001, taken.append, "new")
    let_go.set()
    waited.result(10)
    new.result(10)
    assert taken == ["waited", "new"]
    pool.shutdown()


def test_what_a_turn_raises_is_its_callers() -> None:
    with PriorityExecutor(1) as pool:

        def fail() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            pool.submit(fail).result(10)
        assert pool.submit(lambda: 5).result(10) == 5


def test_closing_does_what_waits_and_takes_no_more() -> None:
    pool, let_go = held()
    waiting = pool.submit(lambda: 7)
    let_go.set()
    pool.shutdown(wait=True)
    assert waiting.result(0) == 7
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(lambda: 8)


def test_closing_can_cancel_what_waits() -> None:
    pool, let_go = held()
    waiting = pool.submit(lambda: 7)
    pool.shutdown(wait=False, cancel_futures=True)
    let_go.set()
    with pytest.raises(CancelledError):
        waiting.result(10)


def test_turns_run_at_the_same_time_in_as_many_workers_as_there_are() -> None:
    with PriorityExecutor(2) as pool:
        meeting = threading.Barrier(2, timeout=10)
        for future in [pool.submit(meeting.wait) for _ in range(2)]:
            future.result(10)
