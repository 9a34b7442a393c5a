"""HTTP/1.1 both ways at once: the answer is read while the body is still sent.

httpx's own transport sends the whole body before it reads a byte of the answer. A stream's body ends after days, if
ever, and its answer starts with the first second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import h11
import httpx

_READ_BYTES = 1 << 16


class DuplexTransport(httpx.AsyncBaseTransport):
    """One connection a request, closed after it; no proxies."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Start to send, and return as soon as the head of the answer is there.

        Raises:
            httpx.TransportError: no connection, or it broke.
        """
        timeouts = request.extensions.get("timeout", {})
        exchange = await _Exchange.open(request, timeouts.get("connect"), timeouts.get("read"))
        try:
            head = await exchange.head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """A request that is being sent, and its answer that is being read."""

    def __init__(
        self,
        request: httpx.Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silence_s: float | None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._http = h11.Connection(h11.CLIENT)
        self._sending = asyncio.create_task(self._send(request))

    @classmethod
    async def open(cls, request: httpx.Request, connect_s: float | None, silence_s: float | None) -> _Exchange:
        url = request.url
        secure = httpx.create_ssl_context() if url.scheme == "https" else None
        port = url.port or (443 if secure else 80)
        try:
            async with asyncio.timeout(connect_s):
                reader, writer = await asyncio.open_connection(url.host, port, ssl=secure)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection to {url.host}:{port} within {connect_s} s") from error
        except (OSError, ssl.SSLError) as error:
            raise httpx.ConnectError(str(error)) from error
        return cls(request, reader, writer, silence_s)

    async def head(self) -> h11.Response:
        """Read the answer up to its body."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                self._raise_what_stopped_sending()
                raise httpx.RemoteProtocolError("the connection ended before an answer")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def aclose(self) -> None:
        """Stop sending, and end the connection."""
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._silence_s):
                    self._http.receive_data(await self._reader.read(_READ_BYTES))
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing was heard for {self._silence_s} s") from error
        except OSError as error:
            self._raise_what_stopped_sending()
            raise httpx.ReadError(str(error)) from error
        except h11.RemoteProtocolError as error:
            self._raise_what_stopped_sending()
            raise httpx.RemoteProtocolError(str(error)) from error
        return event

    async def _send(self, request: httpx.Request) -> None:
        """Send head and body; a body that cannot be produced ends the connection, half as it is."""
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            await self._write(head)
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for data in request.stream:
                await self._write(h11.Data(data=data))
            await self._write(h11.EndOfMessage())
        except OSError:
            pass  # the answer may say why; if not, reading finds the connection ended
        except Exception:
            self._writer.transport.abort()
            raise

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    def _raise_what_stopped_sending(self) -> None:
        if self._sending.done() and not self._sending.cancelled() and (error := self._sending.exception()):
            raise error
