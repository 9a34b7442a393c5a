"""A WebSocket over a socket that never waits: bytes out in order, events in."""

from __future__ import annotations

import os
import socket
from typing import Final

from websockets.client import ClientProtocol
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.uri import parse_uri

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
        self._protocol = ClientProtocol(parse_uri(f"ws://{host}:{port}{path}"), max_size=MAX_MESSAGE_BYTES)
        self._out = bytearray()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((host, port))  # what comes of it is asked when the socket can be written to

    @property
    def blocked(self) -> bool:
        """True while bytes wait that the service does not take."""
        return bool(self._out)

    def send_upgrade(self) -> None:
        """Ask for the upgrade; the socket can be written to. Raises :class:`OSError` when nobody answered."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        request: Request = self._protocol.connect()
        self._protocol.send_request(request)
        self.flush()

    def send_binary(self, payload: bytes) -> None:
        """Send a binary message."""
        self._protocol.send_binary(payload)
        self.flush()

    def send_text(self, payload: str) -> None:
        """Send a text message."""
        self._protocol.send_text(payload.encode())
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the service takes it."""
        for piece in self._protocol.data_to_send():
            self._out += piece
        if not self._out or self.closed:
            return
        try:
            sent = self.socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
            self._out.clear()
            return
        del self._out[:sent]

    def receive(self) -> list[Event]:
        """Return the events that came: an answer to the upgrade, then frames. Pings are answered."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self.closed = True
            self._protocol.receive_eof()
        events = self._protocol.events_received()
        self.flush()
        return events

    def took_upgrade(self, response: Response) -> bool:
        """Return whether the service took the connection."""
        return response.status_code == 101 and self._protocol.handshake_exc is None

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        self.socket.close()
