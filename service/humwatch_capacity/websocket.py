"""A WebSocket over a socket that never waits: bytes out in order, frames in."""

from __future__ import annotations

import os
import socket
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.uri import parse_uri

from humwatch_capacity.frames import ServiceFrame, ServiceFrames

RECEIVE_BYTES: Final = 1 << 16
MAX_MESSAGE_BYTES: Final = 1 << 20
"""Of the service's messages; they are small."""


class WebSocketConnection:
    """One connection. Nothing here raises for a connection that breaks: it is ``closed``.

    Attributes:
        socket: socket for a selector.
        closed: nothing can be sent or received any more.
    """

    def __init__(self, host: str, port: int, path: str) -> None:
        """Begin to connect. Raises :class:`OSError` where not even that is possible."""
        self.closed = False
        self._handshake: ClientProtocol | None = ClientProtocol(parse_uri(f"ws://{host}:{port}{path}"))
        self._frames = ServiceFrames(MAX_MESSAGE_BYTES)
        self._out = bytearray()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((host, port))  # what comes of it is asked when the socket can be written to

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes that the service has not taken yet."""
        return len(self._out)

    @property
    def upgraded(self) -> bool:
        """True once the service took the connection."""
        return self._handshake is None

    def send_upgrade(self) -> None:
        """Ask for the upgrade; the socket can be written to. Raises :class:`OSError` when nobody answered."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        assert self._handshake is not None  # it was not answered yet
        request: Request = self._handshake.connect()
        self._handshake.send_request(request)
        self.send(b"".join(self._handshake.data_to_send()))

    def send(self, frames: bytes) -> None:
        """Send whole frames, in one go as far as the service takes them."""
        if self._out:
            self._out += frames
            return
        sent = self._sent(frames)
        if sent < len(frames):
            self._out += frames[sent:]

    def send_text(self, payload: str) -> None:
        """Send a text message."""
        self.send(text_frame(payload))

    def flush(self) -> None:
        """Send what waits, as far as the service takes it."""
        if self._out:
            del self._out[: self._sent(self._out)]

    def _sent(self, data: bytes | bytearray) -> int:
        """Return how many bytes the service took; all of them of a connection that is gone."""
        if self.closed:
            return len(data)
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.closed = True
            return len(data)

    def receive(self) -> list[Response | ServiceFrame]:
        """Return what came: an answer to the upgrade, then messages and closing frames. Pings are answered."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.closed = self.closed or not data
        if self._handshake is None:
            return list(self._read(data))
        return self._answered(self._handshake, data)

    def _answered(self, handshake: ClientProtocol, data: bytes) -> list[Response | ServiceFrame]:
        """Take a piece of the answer to the upgrade, byte by byte: what follows it are frames."""
        frames: list[ServiceFrame] = []
        for at in range(len(data)):
            handshake.receive_data(data[at : at + 1])
            if handshake.state is State.OPEN:
                self._handshake = None
                frames = self._read(data[at + 1 :])
                break
        if not data:
            handshake.receive_eof()
        answers = [event for event in handshake.events_received() if isinstance(event, Response)]
        return [*answers, *frames]

    def _read(self, data: bytes) -> list[ServiceFrame]:
        try:
            frames = self._frames.push(data)
        except ValueError:
            self.closed = True
            return []
        for frame in frames:
            if frame.opcode == Opcode.PING:
                self.send(Frame(Opcode.PONG, frame.data).serialize(mask=True))
            elif frame.opcode == Opcode.CLOSE:
                self.send(Frame(Opcode.CLOSE, frame.data).serialize(mask=True))
        return frames

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        self.socket.close()


def text_frame(payload: str) -> bytes:
    """Return a text message of a client."""
    return Frame(Opcode.TEXT, payload.encode()).serialize(mask=True)
