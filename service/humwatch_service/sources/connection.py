"""Session that a source feeds, as the connection of a client is fed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from humwatch_service.config.sources import SourceSettings
from humwatch_service.live.session import StreamSession
from humwatch_service.protocol.messages import Hello, Ready
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.sources")


@dataclass(frozen=True)
class OpenSession:
    """Session whose stream is open, and the sample from which it wants the sound."""

    session: StreamSession
    next_sample: int


@contextlib.asynccontextmanager
async def connected(
    open_session: Callable[[str], StreamSession],
    source: SourceSettings,
    hello: Hello,
    *,
    timeout_s: float | None = None,
) -> AsyncIterator[OpenSession]:
    """Open a stream for a source's machine while the block runs.

    Args:
        open_session: maker of the session that feeds the stream of the machine of this id.
        source: the source.
        hello: what it is going to send.
        timeout_s: longest pause of its sound, seconds; None leaves it to the service's setting.
    """
    session = open_session(source.machine)
    reading: asyncio.Task[None] | None = None
    try:
        await session.hello(hello)
        session.expect_within(timeout_s)
        ready = session.outgoing.take()[0]
        assert isinstance(ready, Ready)  # the first message of a session
        reading = asyncio.create_task(_discard(session))
        _log.info("source is heard", machine_id=source.machine, kind=source.kind, rate_hz=hello.rate_hz)
        yield OpenSession(session, ready.next_sample)
    finally:
        session.close()
        if reading is not None:
            reading.cancel()


def check(session: StreamSession) -> None:
    """Raise the reason why a session has to end, if it has to."""
    if session.evicted.done():
        raise session.evicted.result()


async def _discard(session: StreamSession) -> None:
    """Drop the messages that a client would be told; states and alarms are in the log."""
    while await session.outgoing.due():
        session.outgoing.take()
