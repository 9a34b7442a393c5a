"""When the event loop rests, by timers that a test lets pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from humwatch_service.live import coalescing
from humwatch_service.live.coalescing import MANY_STREAMS, READ_S, REST_S, Coalescing


class Timer:
    """A call that is due after so many seconds, unless it is cancelled."""

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop of one timer."""

    def __init__(self) -> None:
        self.timer: Timer | None = None

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        self.timer = Timer(delay_s, call)
        return self.timer

    def pass_time(self) -> float:
        """Let the time pass until the next call; return it, seconds."""
        timer = self.timer
        assert timer is not None
        self.timer = None
        if not timer.cancelled:
            timer.call()
        return timer.delay_s


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(coalescing, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    return loop


def test_with_few_streams_it_never_rests_and_looks_once_a_second(loop: Loop) -> None:
    rests: list[float] = []
    Coalescing(lambda: MANY_STREAMS - 1, rest=rests.append).start()
    assert [loop.pass_time() for _ in range(4)] == [READ_S, 1.0, 1.0, 1.0]
    assert rests == []


def test_with_many_it_rests_between_two_readings(loop: Loop) -> None:
    rests: list[float] = []
    Coalescing(lambda: MANY_STREAMS, rest=rests.append).start()
    assert [loop.pass_time() for _ in range(4)] == [READ_S] * 4
    assert rests == [REST_S] * 4


def test_it_follows_the_number_of_streams(loop: Loop) -> None:
    rests: list[float] = []
    streams = [0, MANY_STREAMS, MANY_STREAMS + 1, 3, 3]
    Coalescing(lambda: streams.pop(0), rest=rests.append).start()
    assert [loop.pass_time() for _ in range(5)] == [READ_S, 1.0, READ_S, READ_S, 1.0]
    assert rests == [REST_S] * 2


def test_closed_it_rests_no_more(loop: Loop) -> None:
    rests: list[float] = []
    resting = Coalescing(lambda: MANY_STREAMS, rest=rests.append)
    resting.start()
    loop.pass_time()
    resting.close()
    loop.pass_time()
    assert rests == [REST_S]
    assert loop.timer is None


def test_what_never_began_can_be_closed() -> None:
    Coalescing(lambda: 0).close()


def test_on_a_real_event_loop_what_came_is_read_between_two_rests() -> None:
    async def run() -> list[str]:
        order: list[str] = []
        read = asyncio.Event()

        def rest(seconds: float) -> None:
            order.append("rest")
            asyncio.get_running_loop().call_soon(lambda: order.append("read"))
            if order.count("rest") == 3:
                read.set()

        resting = Coalescing(lambda: MANY_STREAMS, rest=rest)
        resting.start()
        await asyncio.wait_for(read.wait(), 60)
        resting.close()
        return order

    assert asyncio.run(run())[:5] == ["rest", "read", "rest", "read", "rest"]
