from __future__ import annotations

import asyncio

import pytest

from humwatch_service.client.backlog import Backlog
from humwatch_service.protocol.messages import Hello


async def let_all_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("last", ["frames", "the end"])
def test_who_waits_for_frames_waits_for_all_of_them_or_the_end(last: str) -> None:
    async def run() -> None:
        backlog = Backlog(Hello(rate_hz=16_000))
        waiting = asyncio.ensure_future(backlog.something(0, 4))
        for _ in range(3):
            backlog.append(b"12")
            await let_all_run()
            assert not waiting.done()
        if last == "frames":
            backlog.append(b"12")
        else:
            backlog.finish()
        await waiting

    asyncio.run(run())


def test_frames_that_never_come_are_not_waited_for_and_are_none_to_send() -> None:
    async def run() -> None:
        backlog = Backlog(Hello(rate_hz=16_000))
        backlog.skip(10)
        waiting = asyncio.ensure_future(backlog.something(0, 4))
        await let_all_run()
        assert not waiting.done()
        backlog.append(b"12")
        await waiting
        piece = backlog.read(0, 4)
        assert piece is not None
        assert (piece.start_sample, piece.samples) == (10, 1)

    asyncio.run(run())
