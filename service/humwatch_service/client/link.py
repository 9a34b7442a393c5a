"""One connection: ``hello``, then samples out and messages in, until one side ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ValidationError
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from humwatch_service.client.backlog import Backlog
from humwatch_service.client.line import undelivered_bytes
from humwatch_service.client.refusal import Refusal, of_close, of_failure, unreachable
from humwatch_service.protocol.messages import (
    Bye,
    Eof,
    Failure,
    Position,
    Ready,
    Received,
    Score,
    ServerMessage,
    StateChange,
    Warn,
)

MESSAGE_BYTES: Final = 1 << 14
"""Most bytes of samples in a message, whatever the service takes: a slow line should not wait for one."""

MESSAGE_S: Final = 0.25
"""Sound that a message holds where it is sent as it is taken: each message costs the service, however small it is."""
CLOCK_SET_S: Final = 2.0
"""Step of the wall clock against the monotonic one from which the clock was set, or the box slept."""

_MESSAGES: Final[dict[str, type[ServerMessage]]] = {
    "ready": Ready,
    "score": Score,
    "state": StateChange,
    "warn": Warn,
    "received": Received,
    "error": Failure,
    "bye": Bye,
}


@dataclass(frozen=True)
class Times:
    """Seconds that a connection gets for what.

    Attributes:
        open_s: longest time to be opened.
        ready_s: longest time from ``hello`` to its answer.
        ping_s: time between pings.
        pong_s: longest time from a ping to its answer, to any message, or to sound that was confirmed.
        close_s: longest time to be closed.
        clock_s: time between looks at whether the clock was set.
    """

    open_s: float = 30.0
    ready_s: float = 30.0
    ping_s: float = 20.0
    pong_s: float = 20.0
    close_s: float = 5.0
    clock_s: float = 1.0


def read_message(text: str | bytes) -> ServerMessage | None:
    """Understand a message of the service; None for one of a kind that a later service may have.

    Fields that this client does not know are left out for the same reason.
    """
    try:
        fields = json.loads(text)
        kind = _MESSAGES[fields["type"]]
        return kind.model_validate({name: value for name, value in fields.items() if name in kind.model_fields})
    except (ValueError, KeyError, TypeError, ValidationError):
        return None


class Link:
    """A connection at work."""

    def __init__(
        self,
        connection: ClientConnection,
        backlog: Backlog,
        *,
        times: Times,
        on_ready: Callable[[Ready], None],
        on_message: Callable[[ServerMessage], None],
    ) -> None:
        self._connection = connection
        self._backlog = backlog
        self._times = times
        self._on_ready = on_ready
        self._on_message = on_message
        self._heard_s = time.monotonic()
        self._given_bytes = 0
        self._lost: Refusal | None = None

    async def run(self) -> Bye | Refusal:
        """Send the backlog until ``bye``, or until something comes between."""
        try:
            async with asyncio.timeout(self._times.ready_s):
                answer = await self._greet()
        except TimeoutError:
            answer = unreachable(f"no answer to hello for {self._times.ready_s:.0f} s")
        except ConnectionClosed:
            answer = self._ended()
        if isinstance(answer, Refusal):
            return answer
        self._backlog.confirm(answer.next_sample)
        self._on_ready(answer)
        helpers = [
            asyncio.create_task(self._helping(work))
            for work in (self._send(answer), self._watch(), self._follow_clock())
        ]
        try:
            return await self._receive()
        finally:
            for helper in helpers:
                helper.cancel()
            await _all_ended(helpers)

    async def _greet(self) -> Ready | Refusal:
        await self._say(self._backlog.hello())
        while True:
            message = read_message(await self._connection.recv())
            if isinstance(message, Failure):
                self._on_message(message)
                return of_failure(message)
            if isinstance(message, Ready):
                self._on_message(message)
                return message

    async def _receive(self) -> Bye | Refusal:
        try:
            async for text in self._connection:
                self._heard_s = time.monotonic()
                message = read_message(text)
                if message is None:
                    continue
                if isinstance(message, Received):
                    self._backlog.confirm(message.sample)
                self._on_message(message)
                if isinstance(message, Bye):
                    return message
                if isinstance(message, Failure):
                    return of_failure(message)
        except ConnectionClosed:
            pass
        return self._ended()

    def _ended(self) -> Refusal:
        return self._lost or of_close(self._connection.close_code, self._connection.close_reason)

    async def _send(self, ready: Ready) -> None:
        cursor = ready.next_sample
        noted = cursor - 1
        most = max(1, min(MESSAGE_BYTES, ready.limits.max_message_bytes) // self._backlog.frame_bytes)
        worth_it = min(most, round(MESSAGE_S * self._backlog.rate_hz))
        while True:
            await self._something(cursor, ready.limits.idle_timeout_s / 3)
            await self._more(cursor, worth_it)
            piece = self._backlog.read(cursor, most)
            if piece is None:
                break
            if piece.start_sample != cursor:
                await self._say(Position(sample=piece.start_sample))
                noted = await self._say_notes(noted, piece.start_sample)
            self._given_bytes += len(piece.data)
            await self._connection.send(piece.data)
            cursor = piece.end_sample
            noted = await self._say_notes(noted, cursor)
            await asyncio.sleep(0)  # a long backlog must not keep messages from being read
        await self._end(cursor, noted)

    async def _end(self, cursor: int, noted: int) -> None:
        """Mark a gap at the very end, and say that nothing more comes."""
        if self._backlog.end_sample > cursor:
            await self._say(Position(sample=self._backlog.end_sample))
        await self._say_notes(noted, self._backlog.end_sample)
        await self._say(Eof())

    async def _say_notes(self, after_sample: int, to_sample: int) -> int:
        """Say each note before the first sample behind it: one that the service has not got, it gets on resuming."""
        for note in self._backlog.notes(after_sample, to_sample):
            await self._say(note)
        return to_sample

    async def _something(self, cursor: int, pause_s: float) -> None:
        """Wait for frames; repeat the position meanwhile, so that the service knows that somebody is there."""
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    return await self._backlog.something(cursor)
            except TimeoutError:
                await self._say(Position(sample=cursor))

    async def _more(self, cursor: int, samples: int) -> None:
        """Wait for the rest of a message, and no longer than it takes to come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MESSAGE_S):
                await self._backlog.something(cursor, samples)

    async def _watch(self) -> None:
        """End a connection on which nothing is heard any more, not even the answer to a ping."""
        while True:
            await asyncio.sleep(self._times.ping_s)
            if not await self._answers():
                self._lost = unreachable(f"nothing was heard for {self._times.pong_s:.0f} s, not even a pong")
                self._connection.transport.abort()
                return

    async def _answers(self) -> bool:
        """Ping; whether an answer or any message comes in time.

        On a slow line the ping lies behind sound. While the other side confirms that, it is on its way, and its time
        has not begun.
        """
        asked_s, ahead_bytes, delivered = time.monotonic(), self._given_bytes, self._delivered_bytes
        pong = asyncio.create_task(self._pong())
        try:
            while True:
                await asyncio.wait({pong}, timeout=self._times.pong_s)
                if pong.done():
                    await pong
                    return True
                if self._heard_s >= asked_s:
                    return True
                before, delivered = delivered, self._delivered_bytes
                if before >= ahead_bytes or delivered <= before:
                    return False
        finally:
            pong.cancel()

    async def _pong(self) -> None:
        await (await self._connection.ping())

    @property
    def _delivered_bytes(self) -> int:
        """Bytes of sound that the other side has confirmed, give or take messages' heads; 0 where nobody says."""
        undelivered = undelivered_bytes(self._connection.transport)
        return 0 if undelivered is None else self._given_bytes - undelivered

    async def _follow_clock(self) -> None:
        """End a connection whose hello was said by a clock that was set since: the next one says the times anew."""
        offset_s = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(self._times.clock_s)
            set_by_s = time.time() - time.monotonic() - offset_s
            if abs(set_by_s) > CLOCK_SET_S and self._backlog.is_dated_now:
                self._lost = unreachable(f"this box's clock was set by {set_by_s:.0f} s")
                self._connection.transport.abort()
                return

    async def _helping(self, work: Coroutine[None, None, None]) -> None:
        """Do a part of the work; where it fails, the whole connection does."""
        try:
            await work
        except ConnectionClosed:
            pass  # who receives says why
        except Exception:
            self._connection.transport.abort()
            raise

    async def _say(self, message: BaseModel) -> None:
        await self._connection.send(message.model_dump_json(exclude_none=True))


async def _all_ended(tasks: list[asyncio.Task[None]]) -> None:
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
