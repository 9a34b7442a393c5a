"""A service that only keeps what it hears: the live protocol as docs/protocol.md has it, with faults to order."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from humwatch_service.protocol.messages import CLIENT_MESSAGE, SAMPLE_BYTES, SERVER_MESSAGE, Hello

MACHINE = "pump-2"
MAX_MESSAGE_BYTES = 1 << 20


@dataclass
class Stream:
    """What was heard of one stream: runs of samples, gaps, and every other message."""

    hello: Hello
    next_sample: int
    runs: list[tuple[int, bytes]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)

    @property
    def frame_bytes(self) -> int:
        return SAMPLE_BYTES[self.hello.format] * self.hello.channels

    @property
    def samples(self) -> int:
        return sum(len(data) for _, data in self.runs) // self.frame_bytes

    def take(self, sample: int, data: bytes) -> None:
        """Keep what is new of frames that start at ``sample``."""
        new = data[max(0, self.next_sample - sample) * self.frame_bytes :]
        if not new:
            return
        start = max(sample, self.next_sample)
        self.gap_until(start)
        self.runs.append((start, new))
        self.next_sample = start + len(new) // self.frame_bytes

    def gap_until(self, sample: int) -> None:
        if sample > self.next_sample:
            self.gaps.append((self.next_sample, sample))
            self.next_sample = sample

    def forget(self, samples: int) -> None:
        """Know nothing of the last samples any more, as after a restart."""
        end = max(0, self.next_sample - samples)
        self.runs = [(start, data[: (end - start) * self.frame_bytes]) for start, data in self.runs if start < end]
        self.gaps = [(start, min(stop, end)) for start, stop in self.gaps if start < end]
        self.next_sample = end

    def check(self, sound: bytes, first: int = 0) -> None:
        """Every sample that came is the one of its index, exactly once and in order, and the rest is gaps."""
        at = first
        pieces = sorted([*self.runs, *((start, stop) for start, stop in self.gaps)], key=lambda piece: piece[0])
        for start, what in pieces:
            assert start == at
            if isinstance(what, int):
                at = what
            else:
                at = start + len(what) // self.frame_bytes
                assert what == sound[start * self.frame_bytes : at * self.frame_bytes]
        assert at == self.next_sample


class Refused(Exception):
    """The stream is closed with an ``error``."""

    def __init__(self, code: str, detail: str, *, retry: bool = False, close: int = 1008) -> None:
        super().__init__(detail)
        self.message = {"type": "error", "code": code, "detail": detail, "retry": retry}
        self.close = close


class Session:
    """One connection's side of a stream, however it travels."""

    def __init__(self, server: StreamServer) -> None:
        self.out: deque[dict[str, Any]] = deque()
        self.ended = False
        self._server = server
        self.stream: Stream | None = None
        self.cursor = 0
        self._told_s = 0

    def start(self, hello: Hello) -> None:
        server = self._server
        stream_id = hello.stream_id or f"stream-{len(server.streams)}"
        if server.errors:
            raise server.errors.popleft()
        known = server.streams.get(stream_id)
        if known is None:
            self.stream = server.streams[stream_id] = Stream(hello, hello.start_sample)
        else:
            self.stream = known
            known.forget(server.rewinds.popleft() if server.rewinds else 0)
        server.hellos.append(hello)
        self.cursor = self.stream.next_sample
        self._told_s = self.cursor // hello.rate_hz
        limits = {"max_message_bytes": server.max_message_bytes, "buffer_s": 10.0, "idle_timeout_s": server.idle_s}
        self.say(
            type="ready",
            version=1,
            stream_id=stream_id,
            machine_id=MACHINE,
            model_version="1",
            model_sha256="0" * 64,
            next_sample=self.cursor,
            resumed=known is not None,
            state="unknown",
            limits=limits,
        )

    def text(self, text: str) -> None:
        message = CLIENT_MESSAGE.validate_json(text)
        if self.stream is None:
            if not isinstance(message, Hello):
                raise Refused("stream_invalid", "the first message has to be hello")
            self.start(message)
            return
        self.stream.messages.append(message)
        if message.type == "position":
            self.cursor = message.sample
        elif message.type == "eof":
            self.end()

    def data(self, data: bytes) -> None:
        if self.stream is None or len(data) % self.stream.frame_bytes:
            raise Refused("stream_invalid", "not whole frames")
        self.stream.take(self.cursor, data)
        self.cursor += len(data) // self.stream.frame_bytes
        rate_hz = self.stream.hello.rate_hz
        while self._told_s < self.stream.next_sample // rate_hz:
            self._told_s += 1
            self._score(self._told_s, rate_hz)

    def end(self) -> None:
        assert self.stream is not None
        self.stream.gap_until(self.cursor)
        gap_samples = sum(stop - start for start, stop in self.stream.gaps)
        self.say(
            type="bye",
            samples=self.stream.samples,
            gap_samples=gap_samples,
            steps=self._told_s,
            worst_score=0.5,
            state="normal",
        )
        self.ended = True

    def say(self, **message: Any) -> None:
        SERVER_MESSAGE.validate_python(message)
        self.out.append(message)

    def _score(self, second: int, rate_hz: int) -> None:
        end = second * rate_hz
        self.say(
            type="score",
            start_sample=end - rate_hz,
            end_sample=end,
            step_score=0.25,
            clip_start_sample=None if second < 10 else end - 10 * rate_hz,
            score=None if second < 10 else 0.5,
            raw_score=None if second < 10 else 5.0,
            state="normal",
            level_dbfs=-20.0,
        )
        self.say(type="received", sample=end)


class StreamServer:
    """Streams of one machine, and what goes wrong with them.

    Attributes:
        streams: by id, with all that was heard.
        hellos: in the order of the connections.
        drops: samples after which each next connection is torn off.
        rewinds: samples that are forgotten at each next resumption.
        refusals: answers to the next attempts, before the upgrade: status, headers and body.
        errors: answers to the next hellos.
        deaf: after ``ready`` nothing is read any more.
        extra: said after ``ready``, whatever it is.
    """

    def __init__(self, *, key: str | None = None) -> None:
        self.streams: dict[str, Stream] = {}
        self.hellos: list[Hello] = []
        self.drops: deque[int] = deque()
        self.rewinds: deque[int] = deque()
        self.refusals: deque[tuple[int, dict[str, str], bytes]] = deque()
        self.errors: deque[Refused] = deque()
        self.deaf = False
        self.extra: list[str | bytes] = []
        self.idle_s = 30.0
        self.max_message_bytes = MAX_MESSAGE_BYTES
        self.attempts = 0
        self.url = ""
        self._key = key
        self._server: Server | None = None
        self._port = 0

    @property
    def stream(self) -> Stream:
        """The only stream."""
        (stream,) = self.streams.values()
        return stream

    async def start(self) -> None:
        self._server = await serve(
            self._converse,
            "127.0.0.1",
            self._port,
            process_request=self._admit,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            ping_interval=None if self.deaf else 20,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        assert self._server is not None
        for connection in self._server.connections:
            connection.transport.abort()
        self._server.close(close_connections=False)
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        if self.refusals:
            status, headers, body = self.refusals.popleft()
            return Response(status, HTTPStatus(status).phrase, Headers({**headers, "Connection": "close"}), body)
        if self._key is not None and request.headers.get("Authorization") != f"Bearer {self._key}":
            return problem_response(401, "unauthorised", "this API key is not known")
        if request.path != f"/v1/machines/{MACHINE}/stream":
            return problem_response(404, "machine_not_found", "there is no such machine")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        session = Session(self)
        left = self.drops.popleft() if self.drops else None
        try:
            async for message in connection:
                if isinstance(message, str):
                    session.text(message)
                else:
                    session.data(message)
                    left = None if left is None else left - len(message) // session.stream.frame_bytes
                await self._answer(connection, session)
                if left is not None and left <= 0:
                    connection.transport.abort()
                    return
                if session.ended:
                    await connection.close(1000)
                    return
                if self.deaf:
                    connection.transport.pause_reading()
                    await connection.wait_closed()
        except Refused as error:
            await connection.send(json.dumps(error.message))
            await connection.close(error.close)
        except ConnectionClosed:
            pass

    async def _answer(self, connection: ServerConnection, session: Session) -> None:
        while session.out:
            message = session.out.popleft()
            await connection.send(json.dumps(message))
            if message["type"] == "ready":
                for extra in self.extra:
                    await connection.send(extra)


def problem_response(status: int, code: str, detail: str) -> Response:
    body = json.dumps({"title": code, "status": status, "detail": detail, "code": code}).encode()
    headers = Headers({"Content-Type": "application/problem+json", "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, body)


@asynccontextmanager
async def serving(server: StreamServer) -> AsyncIterator[StreamServer]:
    """Serve on the running loop."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def served(server: StreamServer) -> Iterator[StreamServer]:
    """Serve from a thread, for a command that has a loop of its own."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def work() -> None:
        async with serving(server):
            started.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    try:
        assert started.wait(10)
        yield server
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
