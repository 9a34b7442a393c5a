"""A sender that is slow and steady is never cut off; one that stops, or only holds a place, is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from humwatch_service.errors import BodyTimedOut, StreamIdle
from humwatch_service.web.body_limit import BodyLimit, BodyLimits
from humwatch_service.web.sound_body import SoundBody
from tests import simulated_time

LIMITS = BodyLimits(max_bytes=64 << 20, timeout_s=60.0, min_bytes=16 << 10, total_s=7_200.0)

Pieces = Iterable[tuple[float, int]]
"""Seconds after which so many bytes come."""


def received(pieces: Pieces, limits: BodyLimits = LIMITS, *, reader_s: float = 0.0) -> tuple[int, float]:
    """Bytes that an application behind the limit gets of a body, and the seconds that this takes."""

    async def work() -> tuple[int, float]:
        coming = iter(pieces)
        got = 0

        async def receive() -> dict[str, Any]:
            after_s, size = next(coming, (0.0, 0))
            await asyncio.sleep(after_s)
            return {"type": "http.request", "body": b"x" * size, "more_body": size > 0}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            nonlocal got
            while (message := await receive())["more_body"]:
                got += len(message["body"])
                await asyncio.sleep(reader_s)

        async def send(_message: Any) -> None:
            raise AssertionError("nothing is answered")

        began_s = asyncio.get_running_loop().time()
        scope = {"type": "http", "path": "/score", "headers": []}
        await BodyLimit(app, limits=limits)(scope, receive, send)  # type: ignore[arg-type]
        return got, asyncio.get_running_loop().time() - began_s

    return simulated_time.run(work())


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        ([(0.1, 2_000)] * 1_000, 100.0),  # 2 MB at 20 kB/s
        ([(1.0, 3_556)] * 90, 90.0),  # 10 s of sound over 90 s
        ([(4.0, 1_200)] * 1_600, 6_400.0),  # 300 bytes a second, for hours
        ([(55.0, 200_000)] * 30, 1_650.0),  # a line that is away for most of each minute
        ([(59.0, 100)], 59.0),  # little, and late
    ],
)
def test_a_slow_and_steady_body_is_read_to_its_end(pieces: Pieces, seconds: float) -> None:
    pieces = list(pieces)
    got, took_s = received(pieces)
    assert got == sum(size for _, size in pieces)
    assert took_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "pieces",
    [
        [(1.0, 500_000), (61.0, 1)],  # much, and then nothing
        [(10.0, 1)] * 100,  # a byte now and then
        [(1.0, 200)] * 1_000,  # 200 bytes a second for ever
    ],
)
def test_a_body_that_stops_or_drips_is_cut_off_within_the_minute(pieces: Pieces) -> None:
    with pytest.raises(BodyTimedOut, match=r"within 60 s; [0-9]+ bytes came .*body_timeout_s, body_min_bytes"):
        received(pieces)


def test_a_steady_body_that_takes_longer_than_all_is_named_as_such() -> None:
    limits = BodyLimits(max_bytes=64 << 20, timeout_s=60.0, min_bytes=1_000, total_s=120.0)
    with pytest.raises(BodyTimedOut, match=r"not whole within 120 s, of which 1[0-9]+ bytes came .*body_total"):
        received([(1.0, 1_000)] * 200, limits)


def test_the_time_of_a_busy_service_is_not_the_senders() -> None:
    got, took_s = received([(1.0, 1_000)] * 20, reader_s=100.0)
    assert got == 20_000
    assert took_s == pytest.approx(2_020.0)


def heard(pieces: Pieces, content_type: str, *, idle_s: float = 30.0) -> int:
    """Bytes of samples of a stream's body."""

    async def body() -> Any:
        for after_s, size in pieces:
            await asyncio.sleep(after_s)
            yield b"\1" * size

    async def work() -> int:
        sound = SoundBody(body(), idle_s)
        await sound.announced(content_type)
        return sum([len(data) async for data in sound.chunks()])

    return simulated_time.run(work())


L16 = "audio/L16;rate=8000"


@pytest.mark.parametrize(
    "pieces", [[(20.0, 1_024)] * 100, [(0.0, 1)] + [(29.0, 2_000)] * 50, [(25.0, 3_000)], [(1.0, 50)] * 3_000]
)
def test_a_stream_over_a_slow_line_goes_on(pieces: Pieces) -> None:
    assert heard(pieces, L16) == sum(size for _, size in pieces)


@pytest.mark.parametrize("pieces", [[(31.0, 5_000)], [(1.0, 5_000), (31.0, 1)], [(10.0, 100)] * 50])
def test_a_stream_that_stops_or_drips_is_closed(pieces: Pieces) -> None:
    with pytest.raises(StreamIdle, match="fewer than 1024 bytes came for 30 s"):
        heard(pieces, L16)
