from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import ClassVar

import pytest

from humwatch.together import Work
from humwatch_service.streams.workers import CATCH_UP_S, GATHER_S, TURN_STREAMS, StreamWorkers
from tests.stream_batches import CalledBatch, busy


def test_batches_of_a_turn_are_taken_in_the_order_in_which_they_came() -> None:
    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        taken: list[int] = []
        batches = [CalledBatch(partial(taken.append, number)) for number in range(5)]
        for batch in batches:
            workers.submit(batch)
        let_go.set()
        for batch in batches:
            batch.wait()
        assert taken == [0, 1, 2, 3, 4]


def test_who_catches_up_has_its_turn_behind_those_in_time() -> None:
    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        taken: list[str] = []
        late = CalledBatch(lambda: taken.append("catches up"))
        in_time = CalledBatch(lambda: taken.append("in time"))
        workers.submit(late, CATCH_UP_S)
        workers.submit(in_time)
        let_go.set()
        late.wait()
        in_time.wait()
        assert taken == ["in time", "catches up"]


def test_who_has_waited_is_due_before_those_that_come_then() -> None:
    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        taken: list[str] = []
        waited, new = CalledBatch(lambda: taken.append("waited")), CalledBatch(lambda: taken.append("new"))
        workers.submit(waited)
        workers.submit(new, 0.001)
        let_go.set()
        waited.wait()
        new.wait()
        assert taken == ["waited", "new"]


def test_what_a_batch_raises_is_its_own() -> None:
    def fail() -> None:
        raise ValueError("no")

    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        failing, fine = CalledBatch(fail), CalledBatch(lambda: None)
        workers.submit(failing)
        workers.submit(fine)
        let_go.set()
        fine.wait()
        with pytest.raises(ValueError, match="no"):
            failing.wait()
        assert failing.order == ["finish"]
        assert fine.order == ["conclude", "deliver", "finish"]


def test_what_breaks_behind_the_scores_ends_that_stream_alone() -> None:
    class Broken(CalledBatch):
        def conclude(self) -> None:
            raise ZeroDivisionError

    with closing(StreamWorkers(1)) as workers:
        for has_companion in (False, True):
            broken = Broken(lambda: None)
            broken.has_companion = has_companion
            workers.submit(broken)
            with pytest.raises(ZeroDivisionError):
                broken.wait()
        after = CalledBatch(lambda: None)
        workers.submit(after)
        after.wait()


def test_messages_that_cannot_be_sent_end_that_stream_alone() -> None:
    class Speechless(CalledBatch):
        def deliver(self) -> None:
            raise ConnectionError

    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        speechless, fine = Speechless(lambda: None), CalledBatch(lambda: None)
        workers.submit(speechless)
        workers.submit(fine)
        let_go.set()
        fine.wait()
        with pytest.raises(ConnectionError):
            speechless.wait()


def test_a_turn_that_breaks_as_a_whole_leaves_nobody_waiting() -> None:
    @contextmanager
    def broken(waited_s: float) -> Iterator[None]:
        raise OSError
        yield

    with closing(StreamWorkers(1, around=broken)) as workers:
        for _ in range(2):  # and the worker is there for the next
            batch = CalledBatch(lambda: None)
            workers.submit(batch)
            with pytest.raises(OSError):
                batch.wait()


def test_messages_go_out_before_a_companion_takes_its_time() -> None:
    with closing(StreamWorkers(1)) as workers:
        batch = CalledBatch(lambda: None)
        batch.has_companion = True
        workers.submit(batch)
        batch.wait()
        assert batch.order == ["deliver", "conclude", "finish"]


def test_closing_does_what_waits_and_takes_no_more() -> None:
    workers = StreamWorkers(1)
    let_go = busy(workers)
    waiting = CalledBatch(lambda: None)
    workers.submit(waiting)
    let_go.set()
    workers.close()
    assert waiting.order == ["conclude", "deliver", "finish"]
    with pytest.raises(RuntimeError, match="closed"):
        workers.submit(CalledBatch(lambda: None))


class Rendezvous:
    """A job that needs others at a barrier at the same time, as what leaves Python may have them."""

    leaves_python: ClassVar[bool] = True
    company: Hashable = "rendezvous"

    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier = barrier

    @classmethod
    def results(cls, jobs: Sequence[Rendezvous]) -> list[None]:
        for job in jobs:
            job._barrier.wait(30)
        return [None] * len(jobs)


class Inside:
    """Who is in Python at the same time."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()
        self._two = threading.Event()

    def pass_through(self) -> None:
        """Be inside until another is, or for a moment in which nobody came."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            if self._now > 1:
                self._two.set()
        self._two.wait(0.01)
        with self._lock:
            self._now -= 1


class MeetingBatch(CalledBatch):
    """A batch that is in Python, meets another outside, and is in Python again, three times."""

    def __init__(self, barrier: threading.Barrier, inside: Inside) -> None:
        super().__init__(lambda: None)
        self.began = threading.Event()
        self._barrier = barrier
        self._inside = inside

    def work(self) -> Work[None]:
        self.began.set()
        for _ in range(3):
            self._inside.pass_through()
            yield [Rendezvous(self._barrier)]
            self._inside.pass_through()

    def conclude(self) -> None:
        self._inside.pass_through()
        super().conclude()


def meet() -> Inside:
    """Have two turns meet outside of Python; return who was in Python, raise if they did not meet."""
    barrier, inside = threading.Barrier(2), Inside()
    with closing(StreamWorkers(2)) as workers:
        batches = [MeetingBatch(barrier, inside) for _ in range(2)]
        for batch in batches:
            workers.submit(batch)
            assert batch.began.wait(60)  # else both were one turn
        for batch in batches:
            batch.wait()
    return inside


def test_turns_are_in_the_predictor_at_the_same_time() -> None:
    meet()  # a barrier that nobody else comes to breaks


def test_two_turns_are_never_in_python_at_the_same_time() -> None:
    assert meet().most == 1


def test_the_time_of_a_turn_is_shared_by_the_sound_in_it() -> None:
    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        long, short = (CalledBatch(lambda: sum(range(200_000)), sound_s=seconds) for seconds in (3.0, 1.0))
        workers.submit(long)
        workers.submit(short)
        let_go.set()
        long.wait()
        short.wait()
        assert long.cpu_s is not None
        assert short.cpu_s is not None
        assert long.cpu_s > 2.0 * short.cpu_s > 0.0


def test_a_turn_is_of_so_many_streams_at_most() -> None:
    turns: list[float] = []

    @contextmanager
    def around(waited_s: float) -> Iterator[None]:
        turns.append(waited_s)
        yield

    with closing(StreamWorkers(1)) as workers:
        let_go = busy(workers)
        workers._around = around
        batches = [CalledBatch(lambda: None) for _ in range(2 * TURN_STREAMS + 1)]
        for batch in batches:
            workers.submit(batch)
        let_go.set()
        for batch in batches:
            batch.wait()
    assert len(turns) == 3


@pytest.mark.parametrize(("streams", "most_s"), [(0, 0.0), (1, 0.0), (30, 0.03), (4_000, GATHER_S)])
def test_the_more_streams_there_are_the_longer_one_waits_for_others(streams: int, most_s: float) -> None:
    with closing(StreamWorkers(0)) as workers:
        for _ in range(streams):
            workers.join()
        workers.submit(CalledBatch(lambda: None))
        wait_s = workers._wait_s()
        assert wait_s is not None
        assert wait_s <= most_s
        for _ in range(TURN_STREAMS - 1):
            workers.submit(CalledBatch(lambda: None))
        assert workers._wait_s() == 0.0
        for _ in range(streams):
            workers.leave()
        assert workers._streams == 0
