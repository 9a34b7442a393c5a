"""Frames of live streams: whatever a client sends, however it is cut, the library alone would have heard the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

from humwatch_service.web.live_websocket import LiveWebSocket, Messages

MAX_BYTES = 5_000
HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Conversation:
    """A WebSocket that was opened, and all that its application heard."""

    def __init__(self, kind: type[WebSocketsSansIOProtocol]) -> None:
        config = uvicorn.Config(
            self.application,
            ws_max_size=MAX_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            interface="asgi3",
        )
        config.load()
        self.wire = Wire()
        self.heard: list[str | bytes] = []
        self.readings: list[Messages] = []
        self.ended: dict[str, Any] | None = None
        self.on_listen: Callable[[Messages], None] = lambda _: None
        self.connection = kind(config, uvicorn.server.ServerState(), {}, asyncio.get_running_loop())
        self.connection.connection_made(self.wire)

    async def application(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if isinstance(self.connection, LiveWebSocket):
            self.connection.listen(self.listener)
        while (event := await receive())["type"] == "websocket.receive":
            self.heard.append(event["text"] if event.get("bytes") is None else event["bytes"])
        self.ended = event

    def listener(self, messages: Messages) -> None:
        self.readings.append(list(messages))
        self.heard += messages
        self.on_listen(messages)

    async def open(self) -> Conversation:
        self.connection.data_received(HANDSHAKE)
        await settled()
        assert b"101 Switching Protocols" in self.wire.written
        self.wire.written = b""
        return self

    async def hear(self, data: bytes, cuts: list[int]) -> None:
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for begin, end in pairwise(places):
            if self.wire.closed:
                break
            self.connection.data_received(data[begin:end])
            await settled()

    def outcome(self) -> tuple[Any, ...]:
        code = None if self.ended is None else self.ended.get("code")
        return self.heard, self.wire.written, self.wire.closed, code


async def settled() -> None:
    """Let all tasks go as far as they come."""
    for _ in range(6):
        await asyncio.sleep(0)


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True, rsv1: bool = False) -> bytes:
    made = Frame(opcode, data, fin, rsv1)
    made.check = lambda: None  # type: ignore[method-assign]  # what must not be sent is sent here
    return made.serialize(mask=mask)


def in_fragments(opcode: Opcode, data: bytes, parts: int, between: bytes) -> bytes:
    size = -(-max(1, len(data)) // parts)
    pieces = [data[at : at + size] for at in range(0, max(1, len(data)), size)]
    frames = [
        frame(opcode if not at else Opcode.CONT, piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces)
    ]
    return between.join(frames)


def both(data: bytes, cuts: list[int]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    async def run() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        outcomes = []
        for kind in (WebSocketsSansIOProtocol, LiveWebSocket):
            conversation = await Conversation(kind).open()
            await conversation.hear(data, cuts)
            outcomes.append(conversation.outcome())
        return outcomes[0], outcomes[1]

    return asyncio.run(run())


SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 300, 1_500])
MESSAGES = st.one_of(
    st.builds(lambda size: frame(Opcode.BINARY, bytes(at % 251 for at in range(size))), SIZES),
    st.builds(lambda text: frame(Opcode.TEXT, text.encode()), st.text(max_size=40)),
    st.builds(lambda data: frame(Opcode.PING, data), st.binary(max_size=125)),
    st.just(frame(Opcode.PONG, b"")),
    st.builds(
        lambda size, parts: in_fragments(Opcode.BINARY, bytes(size), parts, frame(Opcode.PING, b"between")),
        SIZES,
        st.integers(1, 4),
    ),
    st.builds(lambda text, parts: in_fragments(Opcode.TEXT, text.encode(), parts, b""), st.text(), st.integers(1, 3)),
)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@settings(deadline=None, max_examples=60)
@given(sent=st.lists(MESSAGES, max_size=8), cuts=CUTS)
def test_messages_are_those_of_the_library_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    library, live = both(b"".join(sent), cuts)
    assert live == library


CLOSED = frame(Opcode.CLOSE, b"\x03\xe8done")
WRONG = {
    "not masked": frame(Opcode.BINARY, b"12", mask=False),
    "not masked, empty": frame(Opcode.BINARY, b"", mask=False),
    "compressed": frame(Opcode.BINARY, b"12", rsv1=True),
    "unknown opcode": bytes([0x83, 0x80, 0, 0, 0, 0]),
    "goes on with nothing": frame(Opcode.CONT, b"12"),
    "new within a message": frame(Opcode.BINARY, b"12", fin=False) + frame(Opcode.BINARY, b"34"),
    "too big": frame(Opcode.BINARY, bytes(MAX_BYTES + 1)),
    "too big by its head": frame(Opcode.BINARY, bytes(1 << 17))[:14],
    "too big together": frame(Opcode.BINARY, bytes(MAX_BYTES - 1), fin=False) + frame(Opcode.CONT, b"12"),
    "long ping": frame(Opcode.PING, bytes(126)),
    "ping in parts": frame(Opcode.PING, b"", fin=False),
    "no UTF-8": frame(Opcode.TEXT, b"\xff\xfe"),
    "no UTF-8 in parts": frame(Opcode.TEXT, b"\xff", fin=False) + frame(Opcode.CONT, b"\xfe"),
    "close without sense": frame(Opcode.CLOSE, b"\x00"),
    "close": CLOSED,
    "close within a message": frame(Opcode.BINARY, b"12", fin=False) + CLOSED,
}


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_protocol_ends_it_as_the_library_would(name: str, *, byte_by_byte: bool) -> None:
    good = frame(Opcode.BINARY, b"before") + frame(Opcode.TEXT, b"too")
    sent = good + WRONG[name] + frame(Opcode.BINARY, b"behind")
    cuts = list(range(len(good), len(good) + (200 if byte_by_byte else 1)))
    library, live = both(sent, cuts)
    assert live == library
    assert live[0][:2] == [b"before", "too"]
    assert live[2]  # closed
    assert b"behind" not in live[0]


def test_messages_that_came_together_are_handed_on_together() -> None:
    async def run() -> None:
        conversation = await Conversation(LiveWebSocket).open()
        first, second = frame(Opcode.BINARY, b"12"), frame(Opcode.TEXT, b"{}")
        await conversation.hear(first + second + first, [])
        await conversation.hear(first[:-1], [])
        await conversation.hear(first[-1:] + second, [])
        assert conversation.readings == [[b"12", "{}", b"12"], [b"12", "{}"]]

    asyncio.run(run())


def test_who_listens_may_pause_and_what_comes_later_is_in_order() -> None:
    async def run() -> None:
        conversation = await Conversation(LiveWebSocket).open()
        live = conversation.connection
        assert isinstance(live, LiveWebSocket)
        conversation.on_listen = lambda _: live.pause()
        await conversation.hear(frame(Opcode.BINARY, b"1"), [])
        assert conversation.wire.paused
        await conversation.hear(frame(Opcode.BINARY, b"2") + CLOSED[:3], [])  # was read before
        live.resume()
        assert not conversation.wire.paused
        await conversation.hear(CLOSED[3:], [])
        assert conversation.heard == [b"1", b"2"]
        assert conversation.ended is not None and conversation.ended["code"] == 1000

    asyncio.run(run())


def test_half_a_message_is_none_when_the_line_breaks() -> None:
    async def run() -> None:
        conversation = await Conversation(LiveWebSocket).open()
        await conversation.hear(frame(Opcode.BINARY, bytes(3_000))[:1_000], [5, 100])
        conversation.connection.connection_lost(None)
        await settled()
        assert conversation.heard == []
        assert conversation.ended is not None and conversation.ended["code"] == 1005

    asyncio.run(run())


def test_messages_ahead_of_the_answer_are_heard_first() -> None:
    async def run() -> None:
        conversation = Conversation(LiveWebSocket)
        half = frame(Opcode.TEXT, b"half")
        conversation.connection.data_received(HANDSHAKE)
        conversation.connection.data_received(frame(Opcode.BINARY, b"early") + half[:4])
        await settled()
        await conversation.hear(half[4:] + frame(Opcode.BINARY, b"late"), [])
        assert conversation.heard == [b"early", "half", b"late"]
        assert not conversation.wire.closed

    asyncio.run(run())


def test_texts_leave_in_one_piece_and_none_once_it_ends() -> None:
    async def run() -> None:
        conversation = await Conversation(LiveWebSocket).open()
        live = conversation.connection
        assert isinstance(live, LiveWebSocket)
        live.write([b"one", b"two"])
        assert conversation.wire.written == b"\x81\x03one\x81\x03two"
        await conversation.hear(CLOSED, [])
        conversation.wire.written = b""
        live.write([b"three"])
        assert conversation.wire.written == b""

    asyncio.run(run())
