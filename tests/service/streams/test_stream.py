"""The buffer of one stream, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from humwatch.errors import PredictorError
from humwatch.live.monitor import LiveMonitor
from humwatch.together import Work
from humwatch_service.streams.sample_clock import SLEW_S, Anchor, SampleClock
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_buffer import MAX_ITEMS
from humwatch_service.streams.stream_items import Gap, StreamFormat
from humwatch_service.streams.workers import StreamWorkers
from tests.stream_batches import busy

FORM = StreamFormat("s", 16_000, 1, 0, sample_bits=16, full_scale=True, realtime=True)
SECOND = np.zeros((16_000, 1), np.float32)


class Listener:
    """Notes what it is told; holds the worker up while `gate` is closed."""

    def __init__(self) -> None:
        self.taken_samples = 0
        self.error: Exception | None = None
        self.notes: list[str] = []

    def on_steps(self, stream: LiveStream, steps: list[Any]) -> list[Any]:
        return []

    def on_audio(self, stream: LiveStream, start: int, mono: np.ndarray) -> None:
        if self.error is not None:
            raise self.error
        self.taken_samples += len(mono)

    def on_item(self, stream: LiveStream, item: Any) -> None:
        pass

    def on_note(self, stream: LiveStream, note: Any) -> None:
        self.notes.append(note)

    def on_cpu_time(self, stream: LiveStream, seconds: float) -> None:
        pass


class Line:
    def __init__(self) -> None:
        self.reasons: list[Exception] = []
        self.messages: list[Any] = []

    def deliver(self, messages: list[Any]) -> None:
        self.messages += messages

    def evict(self, reason: Exception) -> None:
        self.reasons.append(reason)


def no_monitor(*_: Any) -> LiveMonitor:
    raise AssertionError


def said(time_s: float) -> SampleClock:
    return SampleClock(16_000, Anchor(0, time_s, "said"))


def with_stream(
    use: Callable[[LiveStream, Listener], Awaitable[None]], workers: StreamWorkers | None = None, **given: Any
) -> None:
    listener = Listener()

    async def run() -> None:
        with closing(workers or StreamWorkers(1)) as at_work:
            stream = LiveStream(
                FORM,
                listener,
                make_monitor=no_monitor,
                **{
                    "first_sample": 0,
                    "clock": SampleClock(16_000, Anchor(0, 1000.0, "said")),
                    "buffer_s": 3.0,
                    "workers": at_work,
                    **given,
                },
            )
            try:
                await use(stream, listener)
            finally:
                await stream.abandon(5.0)

    asyncio.run(run())


def test_a_sender_waits_while_too_much_sound_waits() -> None:
    workers = StreamWorkers(1)
    blocked = busy(workers)

    async def use(stream: LiveStream, listener: Listener) -> None:
        sending = asyncio.create_task(send(stream, 20))
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert stream.waiting_s == 4.0  # one more than the buffer holds
        blocked.set()
        await sending
        await stream.drained()
        assert listener.taken_samples == 20 * 16_000
        assert stream.waiting_s == 0

    with_stream(use, workers)


async def send(stream: LiveStream, seconds: int) -> None:
    for _ in range(seconds):
        await stream.take(SECOND)


def test_messages_without_sound_are_bounded_too() -> None:
    workers = StreamWorkers(1)
    blocked = busy(workers)

    async def use(stream: LiveStream, listener: Listener) -> None:
        async def flood() -> None:
            for _ in range(3 * MAX_ITEMS):
                await stream.take(Gap(1))

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.5)
        assert not flooding.done()
        assert len(stream.buffer._items) <= MAX_ITEMS + 1
        blocked.set()
        await flooding
        await stream.drained()
        assert stream.gap_samples == 3 * MAX_ITEMS

    with_stream(use, workers)


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_stream_and_tells_the_connection() -> None:
    async def use(stream: LiveStream, listener: Listener) -> None:
        line = Line()
        stream.connection = line
        listener.error = PredictorError("the graph cannot be run")
        await send(stream, 1)
        await asyncio.sleep(0.2)
        assert stream.ended
        assert [str(reason) for reason in line.reasons] == ["the graph cannot be run"]
        await send(stream, 20)  # nobody waits for what is not scored any more

    with_stream(use)


def test_a_fault_of_our_own_is_not_told_in_detail() -> None:
    async def use(stream: LiveStream, listener: Listener) -> None:
        line = Line()
        stream.connection = line
        listener.error = ZeroDivisionError("secret")
        await send(stream, 1)
        await asyncio.sleep(0.2)
        assert "secret" not in str(line.reasons[0])

    with_stream(use)


def test_times_of_samples_follow_a_slow_sound_card_but_not_a_backlog() -> None:
    now = {"s": 1000.0}
    clock = SampleClock(16_000, Anchor(0, 1000.0, "arrival"), clock=lambda: now["s"], monotonic=lambda: now["s"])

    async def use(stream: LiveStream, listener: Listener) -> None:
        for _ in range(2 * 3600):  # two hours of a card that gives 15,984 samples in a true second
            now["s"] += 1.001
            stream.accepted += 16_000
            stream.clock.follow(stream.accepted)
        assert now["s"] - 1000 - 2 * 3600 == pytest.approx(7.2)
        assert 0 <= now["s"] - stream.time_of(stream.accepted) < 1.0
        before = stream.clock.newest.time_s
        now["s"] += 300.0  # a break of five minutes, then all of it at once
        stream.accepted += 300 * 16_000
        stream.clock.follow(stream.accepted)
        assert stream.clock.newest.time_s - before <= SLEW_S
        assert stream.time_of(stream.accepted + 10**9) == now["s"]

    with_stream(use, clock=clock)


def test_no_sound_is_heard_in_the_future() -> None:
    form = StreamFormat("s", 16_000, 1, 0, sample_bits=16, full_scale=True, realtime=False)

    async def run() -> None:
        with closing(StreamWorkers(1)) as at_work:
            stream = LiveStream(
                form,
                Listener(),
                make_monitor=no_monitor,
                first_sample=0,
                clock=SampleClock(16_000, Anchor(0, 75.0, "said"), clock=lambda: 77.0),
                buffer_s=3.0,
                workers=at_work,
            )
            assert stream.time_of(10**9) == 77.0
            await stream.abandon(1.0)

    asyncio.run(run())


class Noting(Listener):
    """Notes how much sound each look at the stream was given."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []
        self.batches_s: list[float] = []

    def on_audio(self, stream: LiveStream, start: int, mono: np.ndarray) -> None:
        self.pieces.append(len(mono))

    def on_cpu_time(self, stream: LiveStream, seconds: float) -> None:
        self.batches_s.append(seconds)


class Patient:
    """Stands for a monitor whose next step needs a second of sound."""

    def __init__(self) -> None:
        self.pushed: list[int] = []
        self.held = 0

    @property
    def samples_until_step(self) -> int:
        return 16_000 - self.held

    def pushing(self, mono: np.ndarray) -> Work[list[Any]]:
        self.pushed.append(len(mono))
        self.held = (self.held + len(mono)) % 16_000
        return []
        yield


def with_monitor(
    use: Callable[[LiveStream, Noting, Patient], Awaitable[None]], workers: StreamWorkers | None = None
) -> None:
    async def run() -> None:
        listener, monitor = Noting(), Patient()
        with closing(workers or StreamWorkers(1)) as at_work:
            stream = LiveStream(
                FORM,
                listener,
                make_monitor=no_monitor,
                first_sample=0,
                clock=said(1000.0),
                buffer_s=30.0,
                workers=at_work,
            )
            stream.scorer.monitor = monitor  # type: ignore[assignment]
            try:
                await use(stream, listener, monitor)
            finally:
                monitor.flush = list  # type: ignore[attr-defined]
                await stream.abandon(5.0)

    asyncio.run(run())


TENTH = np.zeros((1_600, 1), np.float32)


def test_a_worker_is_woken_once_a_step_and_given_its_sound_in_one_piece() -> None:
    async def use(stream: LiveStream, listener: Noting, monitor: Patient) -> None:
        await stream.take(SECOND)  # what is wanted is known after the first look
        await stream.drained()
        for number in range(1, 31):
            await stream.take(TENTH)
            await asyncio.sleep(0.01)
            assert len(monitor.pushed) == 1 + number // 10
        assert monitor.pushed == listener.pieces == [16_000] * 4
        assert len(listener.batches_s) == 4

    with_monitor(use)


def test_what_is_too_little_for_a_step_does_not_wait_for_a_worker() -> None:
    async def use(stream: LiveStream, listener: Noting, monitor: Patient) -> None:
        await stream.take(SECOND)
        await stream.drained()
        await stream.take(TENTH)
        await asyncio.sleep(0.05)
        assert stream.waiting_s == 0.0
        assert stream.silent_for(-2.0)  # so a microphone that stops in mid-step is silent all the same
        await stream.drained()
        assert monitor.pushed == [16_000, 1_600]

    with_monitor(use)


def test_sound_that_comes_faster_than_time_catches_up_until_it_is_scored() -> None:
    workers = StreamWorkers(1)
    blocked = busy(workers)

    async def use(stream: LiveStream, listener: Noting, monitor: Patient) -> None:
        for _ in range(2):
            await stream.take(SECOND)
            assert not stream.catching_up  # a burst of two seconds may be the network's
        await stream.take(SECOND)
        assert stream.catching_up
        blocked.set()
        await stream.drained()
        assert not stream.catching_up
        assert sum(monitor.pushed) == 3 * 16_000

    with_monitor(use, workers)


@pytest.mark.parametrize("step_s", [-3 * 86_400.0, 3 * 86_400.0, 90.0])
def test_a_clock_that_is_set_is_told_to_the_client_and_followed(step_s: float) -> None:
    now = {"wall_s": 1.8e9, "up_s": 7.0}
    clock = SampleClock(16_000, Anchor(0, 1.8e9, "arrival"), clock=lambda: now["wall_s"], monotonic=lambda: now["up_s"])

    async def use(stream: LiveStream, listener: Listener) -> None:
        stream.connection = line = Line()
        for second in range(5):
            now["wall_s"], now["up_s"] = now["wall_s"] + 1.0 + (step_s if second == 2 else 0.0), now["up_s"] + 1.0
            await stream.take(SECOND)
            await stream.drained()  # what is dated by its arrival is held for a moment
        assert listener.notes == ["clock_set"]
        assert [message.code for message in line.messages if message.type == "warn"] == ["clock_set"]
        assert stream.time_of(stream.accepted) == pytest.approx(now["wall_s"], abs=1.0)
        assert stream.time_of(2 * 16_000) <= now["wall_s"]

    with_stream(use, clock=clock)


def test_sound_of_another_time_is_joined_without_a_gap() -> None:
    async def use(stream: LiveStream, listener: Listener) -> None:
        await stream.take(SECOND)
        stream.join(Anchor(stream.accepted, 5_000.0, "said"))
        await stream.take(SECOND)
        await stream.drained()
        assert (listener.taken_samples, stream.gap_samples) == (32_000, 0)
        assert stream.time_of(16_000) == 1_001.0
        assert stream.clock.start_of(16_000) == 5_000.0
        assert stream.time_of(32_000) == 5_001.0

    with_stream(use)
