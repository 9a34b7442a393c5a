from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from humwatch_service.protocol.messages import Failure, Received, Warn
from humwatch_service.streams.outgoing import MAX_OUTGOING, Outgoing

WARN = Warn(code="silent", message="nothing is heard", active=True)


def on_loop(use: Callable[[Outgoing], Awaitable[None]]) -> None:
    async def run() -> None:
        await use(Outgoing())

    asyncio.run(run())


def test_what_nobody_waits_for_leaves_with_the_next_message() -> None:
    async def use(outgoing: Outgoing) -> None:
        outgoing.put_beside(Received(sample=1))
        waiting = asyncio.ensure_future(outgoing.due())
        await asyncio.sleep(0)
        assert not waiting.done()
        outgoing.put(WARN)
        assert await waiting
        assert outgoing.take() == [Received(sample=1), WARN]
        assert outgoing.take() == []

    on_loop(use)


def test_it_leaves_by_itself_where_no_other_comes() -> None:
    async def use(outgoing: Outgoing) -> None:
        for sample in (1, 2):
            outgoing.put_beside(Received(sample=sample))
            assert await outgoing.due()
            assert outgoing.take() == [Received(sample=sample)]

    on_loop(use)


def test_all_that_was_said_leaves_before_the_end() -> None:
    async def use(outgoing: Outgoing) -> None:
        outgoing.put_beside(Received(sample=1))
        outgoing.close()
        assert await outgoing.due()
        assert outgoing.take() == [Received(sample=1)]
        assert not await outgoing.due()

    on_loop(use)


def test_a_client_that_does_not_read_loses_scores_and_no_states() -> None:
    async def use(outgoing: Outgoing) -> None:
        error = Failure(code="overloaded", detail="", retry=True)
        outgoing.put(WARN)
        for sample in range(MAX_OUTGOING + 9):
            outgoing.put_beside(Received(sample=sample))
        outgoing.put(error)
        kept = outgoing.take()
        assert (kept[0], kept[1], kept[-1]) == (WARN, Received(sample=11), error)
        assert (len(kept), outgoing.dropped) == (MAX_OUTGOING, 11)

    on_loop(use)
