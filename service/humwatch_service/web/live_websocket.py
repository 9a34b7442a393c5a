"""WebSockets whose senders may be slow: what counts is that bytes come, not when a message or a pong is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

BYTES_EXTENSION: Final = "humwatch.bytes_heard"
"""Extension of the scope: a function that returns how many bytes have come over the connection."""


class LiveWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which counts the bytes that come, and takes any of them for a sign of life.

    On a slow line the answer to a ping lies behind a message, and perhaps behind all that the system has buffered. To
    uvicorn such a sender is dead; here it is while nothing comes at all. Nor is one dead that is not read from.
    """

    bytes_heard: int = 0
    _bytes_before_pong: int = 0

    def data_received(self, data: bytes) -> None:
        """Count bytes, and take them."""
        self.bytes_heard += len(data)
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        """Tell the application where to look."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)  # there is none where the handshake was refused
        if scope is not None:
            scope["extensions"][BYTES_EXTENSION] = lambda: self.bytes_heard

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


def bytes_counter(scope: Scope) -> Callable[[], int]:
    """Return the function that says how many bytes have come over a WebSocket; 0 for ever on another server."""
    counter: Callable[[], int] = scope.get("extensions", {}).get(BYTES_EXTENSION, lambda: 0)
    return counter
