"""A stream by plain HTTP: samples as the chunked body of a request, messages as the lines of its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Final

import httpx

from humwatch_service.client.address import ServiceAddress
from humwatch_service.client.duplex import DuplexTransport
from humwatch_service.client.link import read_message
from humwatch_service.client.refusal import of_failure, of_response
from humwatch_service.errors import ServiceUnreachable
from humwatch_service.protocol.messages import Bye, Failure, Hello, SampleFormat, ServerMessage

_TYPES: Final[dict[SampleFormat, str]] = {
    "s16be": "audio/L16",  # RFC 2586: big-endian
    "s16le": "audio/x-raw;format=S16LE",
    "f32le": "audio/x-raw;format=F32LE",
}
_TIMEOUT: Final = httpx.Timeout(10.0, read=60.0, write=None, pool=None)


def content_type(hello: Hello) -> str:
    """The media type that says what ``hello`` says of the samples."""
    return f"{_TYPES[hello.format]};rate={hello.rate_hz};channels={hello.channels}"


def query(hello: Hello) -> dict[str, str]:
    """The rest of ``hello``, as query parameters."""
    rest = hello.model_dump(include={"channel", "stream_id", "start_sample", "start_time_s"}, exclude_none=True)
    return {"realtime": str(hello.realtime).lower(), **{name: str(value) for name, value in rest.items()}}


async def send_recording(
    address: ServiceAddress, machine_id: str, hello: Hello, body: AsyncIterable[bytes]
) -> AsyncGenerator[ServerMessage, None]:
    """Send samples in one request, and yield the service's messages while it goes on.

    Args:
        address: of the service.
        machine_id: whose stream it is.
        hello: what the body is; ``format``, ``rate_hz`` and ``channels`` go into the content type.
        body: samples in any pieces; its end is the stream's.

    Yields:
        Every message, the last of which is :class:`Bye`.

    Raises:
        ServiceRefused: the service does not take it, or stopped to.
        ServiceUnreachable: no connection, or it broke; nothing is tried again.
    """
    headers = {**address.headers, "Content-Type": content_type(hello), "Accept": "application/x-ndjson"}
    try:
        async with (
            httpx.AsyncClient(transport=DuplexTransport(), timeout=_TIMEOUT, trust_env=False) as http,
            http.stream(
                "POST", address.post_url(machine_id), params=query(hello), headers=headers, content=body
            ) as answer,
        ):
            if answer.status_code != 200:
                raise of_response(answer.status_code, answer.headers, await answer.aread()).error()
            async with aclosing(_messages(answer)) as messages:
                async for message in messages:
                    yield message
                    if isinstance(message, Failure):
                        raise of_failure(message).error()
                    if isinstance(message, Bye):
                        return
    except httpx.HTTPError as error:
        raise ServiceUnreachable(f"{address.url}: {error or type(error).__name__}") from error
    raise ServiceUnreachable(f"{address.url}: the answer ended without a bye")


async def _messages(answer: httpx.Response) -> AsyncGenerator[ServerMessage, None]:
    """Lines end with a line feed alone: text in them may hold any other of Unicode's line ends."""
    rest = b""
    async for data in answer.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for message in map(read_message, lines):
            if message is not None:
                yield message
