"""The process that listens: one uvicorn worker with limits for each connection."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, cast

import h11
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from humwatch_service.config.settings import Settings
from humwatch_service.errors import AddressUnusable, Overloaded, PortInUse, RequestMalformed
from humwatch_service.garbage import settle_garbage_collector
from humwatch_service.problems import problem_response
from humwatch_service.protocol.limits import MAX_MESSAGE_BYTES
from humwatch_service.web.application import Service
from humwatch_service.web.live_websocket import LiveWebSocket

MAX_HEAD_BYTES: Final = 32 << 10
KEEP_ALIVE_MARGIN_S: Final = 1
"""A connection is kept longer than its ``Keep-Alive`` header says: a request may be on its way as the time ends."""
BACKLOG: Final = 256
STALLED_S: Final = 30.0
"""A peer that reads nothing of an answer for so long is cut off: it holds a connection, and memory, for nothing."""
STALLED_AT_END_S: Final = 2.0
"""The same, once the service stops."""


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse the requests of a connection beyond the limit."""
    error = Overloaded("the service has all the connections that it takes; ask again later")
    await problem_response(error, None, {"Connection": "close"})(scope, receive, send)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with time limits, and with one shape for its own errors.

    uvicorn waits for ever for the head of a request, reads for ever what comes of a body after its answer (413), and
    waits for ever for a peer that does not read. Here the first two have to end within ``head_timeout_s``, and a peer
    of a GET that reads nothing is cut off after ``STALLED_S``. A body of a size that is taken may come to its end after
    a refusal, as long as ``body_min_bytes`` come in that time: many clients look for the answer only then. Its own
    answers, to bytes that are no HTTP and to
    connections beyond ``max_connections``, are problem+json here as everywhere.
    """

    head_timeout_s: float = 30.0
    max_connections: int = 256
    max_body_bytes: int = 64 << 20
    body_min_bytes: int = 16 << 10
    _unwanted_bytes: int = 0
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _stalled_after_s: float = STALLED_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request; count the connections."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.app = _refuse
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Accept bytes; the clock runs while they belong to a head, or to a body that nobody reads."""
        super().data_received(data)
        their_state, our_state = self.conn.their_state, self.conn.our_state
        if their_state is h11.SEND_BODY and our_state is h11.DONE:
            self._take_unwanted(len(data))
        elif their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._start_clock()
        elif their_state is h11.IDLE:
            self._keep()
        else:
            self._stop_clock()

    def _take_unwanted(self, size: int) -> None:
        """Let the clock run for a body that was answered already; it begins anew with each part of a bounded one."""
        self._unwanted_bytes += size
        if self._unwanted_bytes >= self.body_min_bytes and self._is_bounded():
            self._unwanted_bytes = 0
            self._stop_clock()
        self._start_clock()

    def _keep(self) -> None:
        """Keep the connection as after any other answer: what came was the end of a body that was refused."""
        self._stop_clock()
        self._unwanted_bytes = 0
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _is_bounded(self) -> bool:
        claimed = next((value for name, value in self.headers if name == b"content-length"), b"")
        return claimed.isdigit() and len(claimed) <= 18 and int(claimed) <= self.max_body_bytes

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP, and hang up."""
        response = problem_response(RequestMalformed(msg), None, {"Connection": "close"})
        head = h11.Response(status_code=response.status_code, headers=response.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start to watch a peer that does not read as fast as it is sent to."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Stop to watch a peer that reads again."""
        self._stop_waiting()
        super().resume_writing()

    def shutdown(self) -> None:
        """Shorten the time for peers that read nothing, as the service stops."""
        super().shutdown()
        self._stalled_after_s = STALLED_AT_END_S
        if self._stalled is not None:
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        self._stop_waiting()
        if self.scope["method"] != "GET":  # a client that sends sound stays, even if it does not read the answers
            return
        unread = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self._stalled_after_s, self._look_at_reader, unread)

    def _look_at_reader(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() < unread_before:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(host: str, port: int) -> socket.socket:
    """Open the socket before anything else is started.

    Raises:
        PortInUse: another program listens there.
        AddressUnusable: the address is not this machine's, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressUnusable(f"{host} is no address to listen on: {error.strerror}") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"{host}:{port} is in use; choose another port with --port or HUMWATCH_PORT (0 takes a free one)"
            ) from error
        raise AddressUnusable(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    return opened


class Server(uvicorn.Server):
    """uvicorn's server, which stops the streams first: they would not end by themselves."""

    def __init__(
        self, config: uvicorn.Config, on_stop: Callable[[], None], *, on_start: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and finish the requests that run."""
        self._on_stop()
        await super().shutdown(sockets)


def server_of(app: FastAPI, settings: Settings, *, on_start: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Return a server with sensible limits; logs go through this process's handlers.

    Args:
        app: application to serve.
        settings: settings of the service.
        on_start: callback once the application has started.
    """
    limits = {
        "head_timeout_s": settings.header_timeout_s,
        "max_connections": settings.max_connections,
        "max_body_bytes": settings.max_body_bytes,
        "body_min_bytes": settings.body_min_bytes,
    }
    protocol = type("SettledProtocol", (BoundedProtocol,), limits)
    config = uvicorn.Config(
        app,
        loop="auto",  # uvloop's where it is installed
        http=cast("type[asyncio.Protocol]", protocol),
        ws=LiveWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=settings.stream_ping_s,
        ws_ping_timeout=settings.stream_ping_s,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s + KEEP_ALIVE_MARGIN_S,
        headers=[("Keep-Alive", f"timeout={settings.keep_alive_s}")],
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    service: Service = app.state.service
    return Server(config, service.stop_streams, on_start=on_start)


def run(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that run (blocking)."""

    def already_noted(_signal: int, _frame: FrameType | None) -> Any:
        """Ignore the signal that uvicorn raises again once it has stopped: stopping was its purpose."""

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, already_noted)
    server_of(app, settings, on_start=settle_garbage_collector).run(sockets=[listening])
