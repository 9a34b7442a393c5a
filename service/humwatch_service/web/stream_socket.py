"""WebSocket that feeds a stream: its messages go to the session as they come, and those of the session back."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from humwatch.errors import HumwatchError
from humwatch_service.errors import (
    InternalError,
    Overloaded,
    ShuttingDown,
    StreamIdle,
    StreamInvalid,
    StreamOwned,
    StreamsFull,
)
from humwatch_service.live.session import StreamSession, failure_of
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.web.live_websocket import Messages, connection_of
from humwatch_service.web.sound_body import MIN_BYTES

CLOSE_TIMEOUT_S: Final = 5.0
"""Longest time for sending a client the reason why its stream is closed."""
CLOSE_CODES: Final = {
    StreamInvalid: 1007,
    StreamIdle: 1008,
    StreamOwned: 1008,
    StreamsFull: 1013,
    Overloaded: 1013,
    ShuttingDown: 1012,
    InternalError: 1011,
}
"""Of errors after the WebSocket was opened; 1003 for others of the client, 1011 for others of the service."""
TURN_MESSAGES: Final = 64
"""Messages of one client that are taken before others have their turn."""

_log = event_logger("humwatch.stream")


class StreamSocket:
    """WebSocket and its session. Belongs to the event loop.

    What the session can take at once it is given where the bytes are read. What has to wait (for room, for ``hello``
    or the end), and all that comes behind it, waits here, is taken by a task in order, and nothing is read meanwhile.
    """

    def __init__(self, websocket: WebSocket, session: StreamSession, *, hello_s: float, idle_s: float) -> None:
        """Begin once the WebSocket is open.

        Args:
            websocket: the WebSocket.
            session: session of its client.
            hello_s: longest time to the first message, seconds.
            idle_s: longest time to each other one while fewer than ``MIN_BYTES`` come, seconds.
        """
        self._websocket = websocket
        self._connection = connection_of(websocket.scope)
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[HumwatchError | None] = self._loop.create_future()
        self._waiting: deque[str | bytes | None] = deque()
        self._something_waits = asyncio.Event()
        self._wait_s = hello_s
        self._idle_s = idle_s
        self._heard_s = self._loop.time()
        self._bytes_before = self._connection.bytes_heard
        self._idle = self._loop.call_later(hello_s, self._look)

    async def run(self) -> None:
        """Serve until either side ends it."""
        helpers = [asyncio.create_task(work) for work in (self._take_what_waits(), self._await_hang_up())]
        writing = asyncio.create_task(self._write())
        failure: HumwatchError | None = None
        try:
            self._connection.listen(self._on_messages)
            ends: set[asyncio.Future[Any]] = {self._over, self._session.evicted}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failure = self._over.result() if self._over.done() else self._session.evicted.result()
        finally:
            self._end(None)
            self._idle.cancel()
            for helper in helpers:
                helper.cancel()
            await self._close(failure, writing)

    def _on_messages(self, messages: Messages) -> None:
        """Take the messages of one reading, in order, as far as that is possible without waiting."""
        if self._over.done() or self._session.evicted.done():
            self._connection.pause()
            return
        taken = 0
        if not self._waiting:
            try:
                for message in messages[:TURN_MESSAGES]:
                    if not self._session.hear(message):
                        break
                    taken += 1
            except Exception as error:
                self._fail(error)
                return
        if taken:
            self._note_heard()
        if taken < len(messages):
            self._waiting.extend(messages[taken:] if taken else messages)
            self._connection.pause()
            self._something_waits.set()

    async def _take_what_waits(self) -> None:
        try:
            while True:
                await self._something_waits.wait()
                self._something_waits.clear()
                await self._take_all()
                self._connection.resume()
        except Exception as error:
            self._fail(error)

    async def _take_all(self) -> None:
        taken = 0
        while self._waiting:
            message = self._waiting[0]  # waits until it is taken: what comes meanwhile belongs behind it
            if message is None:
                self._end(None)
            elif isinstance(message, bytes):
                await self._session.data(message)
            elif await self._session.text(message) is not None:
                self._end(None)
            self._waiting.popleft()
            self._note_heard()
            taken += 1
            if taken % TURN_MESSAGES == 0:
                await asyncio.sleep(0)

    async def _await_hang_up(self) -> None:
        """End once the other side has gone, and all that it sent before is taken."""
        with suppress(WebSocketDisconnect, RuntimeError):
            while (await self._websocket.receive())["type"] != "websocket.disconnect":
                pass
        self._waiting.append(None)
        self._something_waits.set()

    def _note_heard(self) -> None:
        self._heard_s, self._bytes_before = self._loop.time(), self._connection.bytes_heard
        if self._wait_s != self._idle_s:
            self._wait_s = self._idle_s
            self._idle.cancel()
            self._idle = self._loop.call_later(self._wait_s, self._look)

    def _look(self) -> None:
        """End a connection on which nothing comes; a message may take long to be whole, as long as its bytes come."""
        now_s, heard = self._loop.time(), self._connection.bytes_heard
        left_s = self._heard_s + self._wait_s - now_s
        if self._waiting:
            left_s = self._wait_s
        elif left_s <= 0.0:
            if heard - self._bytes_before < MIN_BYTES:
                words = f"no message, and fewer than {MIN_BYTES} bytes came for {self._wait_s:g} s"
                self._end(StreamIdle(words))
                return
            self._heard_s, self._bytes_before, left_s = now_s, heard, self._wait_s
        self._idle = self._loop.call_later(left_s, self._look)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, HumwatchError):
            self._end(error)
        else:
            _log.error("a stream's connection broke", exc_info=error)
            self._end(InternalError("see the log for this request id"))

    def _end(self, failure: HumwatchError | None) -> None:
        if not self._over.done():
            self._over.set_result(failure)

    async def _write(self) -> None:
        outgoing = self._session.outgoing
        while await outgoing.due():
            await self._connection.writable.wait()
            self._connection.write([message.model_dump_json().encode() for message in outgoing.take()])

    async def _close(self, failure: HumwatchError | None, writing: asyncio.Task[None]) -> None:
        if failure is not None:
            self._session.outgoing.put(failure_of(failure))
        self._session.close()
        with suppress(Exception):  # the other side may be gone, or may not read
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await writing
        writing.cancel()
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._websocket.close(_close_code(failure), reason=failure.code if failure else "")


def _close_code(failure: HumwatchError | None) -> int:
    if failure is None:
        return 1000
    for kind, code in CLOSE_CODES.items():
        if isinstance(failure, kind):
            return code
    return 1011 if failure_of(failure).retry else 1003
