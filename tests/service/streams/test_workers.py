from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

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


def test_turns_run_at_the_same_time_in_as_many_workers_as_there_are() -> None:
    with closing(StreamWorkers(2)) as workers:
        let_go = busy(workers)
        beside = CalledBatch(let_go.set)
        workers.submit(beside)
        beside.wait()


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
