from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from humwatch_service.client import Backlog, SampleRing
from humwatch_service.protocol.messages import Clock, Dropped, Hello


def frames(start: int, count: int) -> bytes:
    """Frames of four bytes that tell their own index."""
    return b"".join(index.to_bytes(4, "little") for index in range(start, start + count))


def ring(capacity: int, **more: int) -> SampleRing:
    return SampleRing(frame_bytes=4, capacity_samples=capacity, **more)


def test_what_is_appended_is_read_by_index() -> None:
    held = ring(100)
    held.append(frames(0, 10))
    held.append(frames(10, 5))
    piece = held.read(3, 4)
    assert piece is not None
    assert (piece.start_sample, piece.samples, piece.end_sample, piece.data) == (3, 4, 7, frames(3, 4))
    assert held.read(15, 1) is None
    assert (held.start_sample, held.end_sample, held.held_samples, held.room_samples) == (0, 15, 15, 85)


def test_the_oldest_go_and_are_counted_unless_they_were_confirmed() -> None:
    held = ring(10)
    held.append(frames(0, 10))
    held.confirm(4)
    held.append(frames(10, 6))
    assert (held.start_sample, held.dropped_samples) == (6, 2)
    piece = held.read(0, 100)
    assert piece is not None
    assert (piece.start_sample, piece.data) == (6, frames(6, 10))


def test_more_than_fits_at_once() -> None:
    held = ring(10)
    held.append(frames(0, 25))
    assert (held.start_sample, held.end_sample, held.dropped_samples) == (15, 25, 15)


def test_confirmed_samples_are_kept_for_a_while() -> None:
    held = ring(100, keep_samples=20)
    held.append(frames(0, 60))
    held.confirm(50)
    assert (held.start_sample, held.dropped_samples) == (30, 0)
    held.confirm(35)
    assert held.start_sample == 30


def test_what_the_service_has_already_takes_no_room() -> None:
    held = ring(100, keep_samples=20)
    held.confirm(1_000)
    for start in range(0, 900, 50):
        held.append(frames(start, 50))
    assert (held.room_samples, held.dropped_samples) == (100, 0)


def test_a_gap_is_where_it_was_left() -> None:
    held = ring(100)
    held.append(frames(0, 10))
    held.skip(7)
    held.append(frames(17, 3))
    first, second = held.read(8, 100), held.read(10, 100)
    assert first is not None
    assert second is not None
    assert (first.start_sample, first.end_sample) == (8, 10)
    assert (second.start_sample, second.data) == (17, frames(17, 3))


def test_half_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="whole frames"):
        ring(10).append(b"123")


def test_a_long_ring_agrees_with_a_plain_list() -> None:
    """Random appends, gaps, confirmations and reads against a list of what is there and what is not."""
    chance = random.Random(5)
    held = SampleRing(frame_bytes=4, capacity_samples=300_000, keep_samples=40_000)
    numbers = np.arange(3_000_000, dtype="<u4")
    came = np.zeros(len(numbers), bool)
    for _ in range(300):
        if chance.random() < 0.1:
            held.skip(chance.randrange(1, 5_000))
        start, count = held.end_sample, chance.randrange(1, 9_000)
        held.append(numbers[start : start + count].tobytes())
        came[start : start + count] = True
        if chance.random() < 0.01:
            held.confirm(max(0, held.end_sample - chance.randrange(0, 100_000)))
        assert held.held_samples == np.count_nonzero(came[held.start_sample : held.end_sample]) <= 300_000
        at = chance.randrange(max(0, held.start_sample - 10), held.end_sample)
        piece = held.read(at, 50)
        assert piece is not None
        assert piece.start_sample == max(at, held.start_sample) + np.argmax(came[max(at, held.start_sample) :])
        assert piece.data == numbers[piece.start_sample : piece.end_sample].tobytes()
        assert came[piece.start_sample : piece.end_sample].all()
    assert held.dropped_samples > 0


def test_clocks_come_once_a_second_and_overflows_where_they_were() -> None:
    backlog = Backlog(Hello(rate_hz=1_000, channels=2))
    for block in range(30):
        if block == 12:
            backlog.overflowed(2)
        backlog.append(bytes(4 * 100), time_s=50.0 + block / 10)
    notes = backlog.notes(-1, backlog.end_sample)
    assert notes == [
        Clock(sample=100, time_s=50.0),
        Clock(sample=1_100, time_s=51.0),
        Dropped(overflows=2),
        Clock(sample=2_100, time_s=52.0),
    ]
    assert backlog.notes(1_100, 1_200) == [Dropped(overflows=2)]
    assert backlog.notes(1_200, 2_000) == []


def test_a_backlog_names_its_stream_once_and_says_what_it_holds() -> None:
    backlog = Backlog(Hello(rate_hz=10, start_sample=7), buffer_s=2)
    first = backlog.hello()
    backlog.append(bytes(2 * 30))
    second = backlog.hello()
    assert (first.start_sample, second.start_sample, backlog.dropped_samples) == (7, 17, 10)
    assert first.stream_id == second.stream_id is not None
    assert second.start_time_s is None


def test_when_sample_0_was_taken_follows_the_clock_of_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("humwatch_service.client.backlog.time.time", lambda: 1_000.0)
    backlog = Backlog(Hello(rate_hz=100))
    backlog.append(bytes(2 * 500), time_s=1.0)
    assert backlog.hello().start_time_s == 995.0


def test_room_is_waited_for() -> None:
    async def scenario() -> None:
        backlog = Backlog(Hello(rate_hz=10), buffer_s=10)
        backlog.append(bytes(2 * 80))
        await backlog.room(20)
        backlog.append(bytes(2 * 20))
        waiting = asyncio.create_task(backlog.room(10))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        backlog.confirm(60)
        await asyncio.wait_for(waiting, 1)
        assert backlog.dropped_samples == 0

    asyncio.run(scenario())
