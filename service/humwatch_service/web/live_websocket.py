"""WebSockets of live streams: whole messages as they come, many at a time; and what counts is that bytes come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from humwatch_service.web.frames import FrameHead, frame_at, unmasked

CONNECTION_EXTENSION: Final = "humwatch.connection"
"""Extension of the scope: the connection itself, a :class:`LiveWebSocket`."""

Messages = list[str | bytes]


class LiveWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket for many messages a second, with patience for slow senders.

    A message that comes in one frame, as nearly all do, is cut out of what was read and handed on at once, together
    with the others of the same reading. Everything else (the handshake, control frames, fragments, and what breaks the
    protocol) goes frame by frame to the library behind uvicorn, which answers it.

    On a slow line the answer to a ping lies behind a message, and perhaps behind all that the system has buffered. To
    uvicorn such a sender is dead; here it is while nothing comes at all. Nor is one dead that is not read from.

    Attributes:
        bytes_heard: number of bytes that have come.
    """

    bytes_heard: int = 0
    _bytes_before_pong: int = 0
    _held: bytearray | None = None
    _wanted_bytes: int = 0
    _left_to_library: bool = False
    _listener: Callable[[Messages], None] | None = None

    def listen(self, listener: Callable[[Messages], None]) -> None:
        """Have messages handed to a function as they come, on the event loop; only the end still comes by ASGI.

        The function must not raise; it calls :meth:`pause` where it wants no more for a while.
        """
        events = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        messages: Messages = []
        for event in events:
            if event["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                messages.append(text if data is None else data)  # type: ignore[arg-type]
            else:
                self.queue.put_nowait(event)
        self.resume()
        self._listener = listener
        if messages:
            listener(messages)

    def pause(self) -> None:
        """Read nothing for a while."""
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def write(self, texts: Iterable[bytes]) -> None:
        """Send text messages in one piece; nothing once the connection ends."""
        if self.conn.state is State.OPEN and not self.disconnected and not self.transport.is_closing():
            for text in texts:
                self.conn.send_text(text)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Count bytes, and take them."""
        self.bytes_heard += len(data)
        held = self._held
        if held is not None:
            held += data
            if len(held) < self._wanted_bytes and self.conn.state is State.OPEN:
                return
            self._held = None
        if self.conn.state is State.OPEN and not self._left_to_library:
            self._cut(data if held is None else held)
        else:  # also what comes ahead of the handshake's answer: nobody knows where its frames end
            self._left_to_library = self.handshake_initiated
            super().data_received(data if held is None else bytes(held))

    def _cut(self, data: bytes | bytearray) -> None:
        """Cut what was read into frames."""
        messages: Messages = []
        at = 0
        while (head := frame_at(data, at)) is not None:
            if not self._is_lawful(head):
                self._left_to_library = True
                break
            if head.end > len(data):
                break
            message = unmasked(data, head) if head.is_message and self.conn.current_size is None else None
            if message is not None:
                messages.append(message)
            else:
                self._hand_on(messages)
                messages = []
                super().data_received(bytes(data[at : head.end]))
                if self.conn.state is not State.OPEN:
                    return
            at = head.end
        self._hand_on(messages)
        if self._left_to_library:
            super().data_received(bytes(data[at:]))
        elif at < len(data):
            self._held = bytearray(memoryview(data)[at:])
            self._wanted_bytes = 0 if head is None else head.end - at

    def _is_lawful(self, head: FrameHead) -> bool:
        """Return True if the frame may be waited for; what may not, the library refuses by its head."""
        begun, most = self.conn.current_size or 0, self.config.ws_max_size
        return head.is_lawful and head.length <= (125 if head.is_control else most - begun)

    def _hand_on(self, messages: Messages) -> None:
        if not messages or self.close_sent:
            return
        if self._listener is not None:
            self._listener(messages)
            return
        for message in messages:
            text = isinstance(message, str)
            event: Any = {"type": "websocket.receive", "text" if text else "bytes": message}
            self.queue.put_nowait(event)
        self.pause()

    def send_receive_event_to_app(self) -> None:
        """Hand on a message that came in fragments."""
        if self._listener is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = b"".join(self.frames)
        if self.curr_msg_data_type == "bytes":
            self.frames = []
            self._listener([data])
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            super().send_receive_event_to_app()  # refuses it
        else:
            self.frames = []
            self._listener([text])

    async def receive(self) -> Any:
        """Wait for the next event; once somebody listens, for the end."""
        return await (super().receive() if self._listener is None else self.queue.get())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what will not be whole any more."""
        self._held, self.read_paused = None, False
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        """Tell the application where the connection is."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)  # there is none where the handshake was refused
        if scope is not None:
            scope["extensions"][CONNECTION_EXTENSION] = self

    def send_keepalive_ping(self) -> None:
        """Ask for a sign of life."""
        self._bytes_before_pong = self.bytes_heard
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Wait on where something came meanwhile, or nothing was read."""
        if self.bytes_heard > self._bytes_before_pong or self.read_paused:
            self._bytes_before_pong = self.bytes_heard
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0.0, self.keepalive_timeout)
        else:
            super().keepalive_timeout()


def connection_of(scope: Scope) -> LiveWebSocket:
    """Return the connection of a WebSocket's scope."""
    connection: LiveWebSocket = scope["extensions"][CONNECTION_EXTENSION]
    return connection
