"""A stream that goes on for days: connects, resumes where the service stands, and waits where it must."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from humwatch_service.client.address import ServiceAddress
from humwatch_service.client.backlog import Backlog
from humwatch_service.client.link import Link, Times
from humwatch_service.client.patience import Patience
from humwatch_service.client.refusal import Refusal, of_response, unreachable
from humwatch_service.errors import ServiceUnreachable
from humwatch_service.protocol.messages import Bye, Ready, ServerMessage


@dataclass(frozen=True)
class Connected:
    """The service is ready; ``gap_samples`` of what it wants are not held any more."""

    ready: Ready
    gap_samples: int


@dataclass(frozen=True)
class Waiting:
    """The connection is gone, or was refused; the next try is in ``delay_s`` seconds."""

    refusal: Refusal
    delay_s: float


LinkEvent = Connected | Waiting


def _ignore(_: object) -> None:
    """Do nothing."""


class StreamClient:
    """Sends a backlog to one machine's stream.

    The producer fills the backlog on the same event loop, and finishes it; :meth:`run` sends. Trouble with the network
    never ends it, unless ``patience`` says so.
    """

    def __init__(
        self,
        address: ServiceAddress,
        machine_id: str,
        backlog: Backlog,
        *,
        patience: Patience | None = None,
        times: Times | None = None,
        on_message: Callable[[ServerMessage], None] = _ignore,
        on_link: Callable[[LinkEvent], None] = _ignore,
    ) -> None:
        self._address = address
        self._machine_id = machine_id
        self._backlog = backlog
        self._patience = patience or Patience()
        self._times = times or Times()
        self._on_message = on_message
        self._on_link = on_link
        self._backoff = self._patience.backoff()
        self._was_connected = False
        self._ready_s: float | None = None
        self._offline_since_s = time.monotonic()

    async def run(self) -> Bye:
        """Send until the backlog is finished and the service has said ``bye``.

        Raises:
            ServiceRefused: the service says no, and that asking again does not help.
            ServiceUnreachable: there was no connection for longer than ``patience`` has.
        """
        self._offline_since_s = time.monotonic()
        while True:
            outcome = await self._attempt()
            if isinstance(outcome, Bye):
                return outcome
            delay_s = self._delay_s(outcome)
            self._on_link(Waiting(outcome, delay_s))
            await asyncio.sleep(delay_s)

    async def _attempt(self) -> Bye | Refusal:
        try:
            connection = await self._connect()
        except InvalidStatus as error:
            response = error.response
            return of_response(response.status_code, response.headers, bytes(response.body or b""))
        except (OSError, WebSocketException) as error:
            return unreachable(error)
        link = Link(connection, self._backlog, times=self._times, on_ready=self._ready, on_message=self._on_message)
        try:
            return await link.run()
        finally:
            self._take_stock()
            await self._hang_up(connection)

    async def _connect(self) -> ClientConnection:
        return await connect(
            self._address.stream_url(self._machine_id),
            additional_headers=self._address.headers,
            user_agent_header="humwatch",
            compression=None,  # noise does not compress
            proxy=None if self._address.on_loopback else True,
            open_timeout=self._times.open_s,
            close_timeout=self._times.close_s,
            ping_interval=None,  # the link watches: a service that is busy answers pings late
        )

    async def _hang_up(self, connection: ClientConnection) -> None:
        """Close politely; a service that reads nothing would never let the polite way end."""
        with contextlib.suppress(TimeoutError, WebSocketException, OSError):
            async with asyncio.timeout(self._times.close_s):
                await connection.close()
        connection.transport.abort()

    def _take_stock(self) -> None:
        """Count a connection that lasted as a success; one that breaks at once, each time anew, is none."""
        now_s = time.monotonic()
        if self._ready_s is not None and now_s - self._ready_s >= self._patience.settled_s:
            self._backoff.reset()
            self._offline_since_s = now_s
        self._ready_s = None

    def _ready(self, ready: Ready) -> None:
        self._was_connected = True
        self._ready_s = time.monotonic()
        self._on_link(Connected(ready, max(0, self._backlog.start_sample - ready.next_sample)))

    def _delay_s(self, refusal: Refusal) -> float:
        """Return the seconds to wait after a refusal. Raises where waiting is of no use."""
        patience = self._patience
        if not refusal.retry:
            if refusal.code not in patience.slow_codes:
                raise refusal.error()
            return patience.slow_s * random.uniform(0.8, 1.2)
        limit_s = patience.lost_s if self._was_connected else patience.first_s
        if limit_s is not None and time.monotonic() - self._offline_since_s > limit_s:
            raise ServiceUnreachable(f"{self._address.url} does not take the stream for {limit_s:.0f} s: {refusal}")
        return self._backoff.next_s(refusal.retry_after_s)
