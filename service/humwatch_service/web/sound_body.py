"""The body of a live stream: what it says it is, and its samples, for as long as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect

from humwatch_service.errors import ClientGone, MediaTypeUnsupported, StreamIdle
from humwatch_service.protocol.containers import StreamHead, refused_text, sniff
from humwatch_service.protocol.media_types import AudioFormat, audio_format, media_type_of
from humwatch_service.protocol.wav_head import read_wav_head
from humwatch_service.web.progress import SenderProgress

MIN_BYTES: Final = 1 << 10
"""Bytes of a stream that have to come within its idle time-out: whoever sends less only holds a place."""
FIRST_BYTES_S: Final = 1.0
"""Time that the first bytes are waited for, to refuse a file by the status of the answer; later it is an ``error``."""


class SoundBody:
    """A request's body, read once, from its head on. Belongs to one request."""

    def __init__(self, body: AsyncIterator[bytes], idle_s: float) -> None:
        """Read nothing yet.

        Args:
            body: pieces as they come.
            idle_s: longest time without ``MIN_BYTES``, seconds.
        """
        self._body = body
        self._idle_s = idle_s
        self._progress = SenderProgress(timeout_s=idle_s, min_bytes=MIN_BYTES)
        self._held = b""
        self._coming: asyncio.Task[bytes | None] | None = None
        self._left: int | None = None
        self._tail = StreamHead()

    async def announced(self, content_type: str) -> AudioFormat:
        """Return the format of the samples: that of the content type, or of the WAV header that the body begins with.

        Raises:
            MediaTypeUnsupported: neither says it, or the body is a file and no samples.
            StreamIdle, ClientGone: the header does not come.
        """
        announced = audio_format(content_type)
        try:
            if announced is None:
                return await self._wav_format(media_type_of(content_type))
            await self._look_at_first_bytes()
        except ClientDisconnect as error:
            raise ClientGone("the caller hung up") from error
        return announced

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the samples as they come, until the body ends. Raises :class:`StreamIdle`."""
        held, self._held = self._held, b""
        data: bytes | None = held
        while data is not None:
            yield self._samples_of(data)
            data = await self._next()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._coming is not None:
            self._coming.cancel()

    async def _wav_format(self, media_type: str) -> AudioFormat:
        while (sniffed := sniff(self._held)).in_doubt and await self._hold_more():
            pass
        if sniffed.container != "WAV":
            raise _unnamed(media_type, sniffed.container)
        while (head := read_wav_head(self._held)) is None:
            if not await self._hold_more():
                raise MediaTypeUnsupported("the WAV file ends within its header")
        self._held = self._held[head.size :]
        self._left = head.data_bytes
        return AudioFormat(head.format, head.rate_hz, head.channels)

    async def _look_at_first_bytes(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + FIRST_BYTES_S
        while (sniffed := sniff(self._held)).in_doubt:
            self._coming = asyncio.create_task(self._read())
            await asyncio.wait({self._coming}, timeout=max(0.0, until_s - loop.time()))
            if not self._coming.done() or not await self._hold_more():
                return
        if sniffed.container is not None:
            raise MediaTypeUnsupported(refused_text(sniffed.container))

    async def _hold_more(self) -> bool:
        data = await self._next()
        self._held += data or b""
        return data is not None

    async def _next(self) -> bytes | None:
        """Return the next piece; None at the end."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        coming, self._coming = self._coming, None
        try:
            async with asyncio.timeout(self._progress.left_s):
                data = await (self._read() if coming is None else coming)
        except TimeoutError as error:
            raise StreamIdle(f"fewer than {MIN_BYTES} bytes came for {self._idle_s:g} s") from error
        self._progress.came(len(data or b""), loop.time() - asked_s)
        return data

    async def _read(self) -> bytes | None:
        return await anext(self._body, None)

    def _samples_of(self, data: bytes) -> bytes:
        """Return what of a piece are samples: a WAV file may have other chunks behind them, but no other file."""
        if self._left is None:
            return data
        samples, tail = data[: self._left], data[self._left :]
        self._left -= len(samples)
        if tail:
            self._tail.push(tail)
        return samples


def _unnamed(media_type: str, container: str | None) -> MediaTypeUnsupported:
    """Return the refusal of a body of which nothing says what samples it holds."""
    if container is not None:
        return MediaTypeUnsupported(refused_text(container))
    named = f"the content type {media_type[:80]!r}" if media_type else "a request without a content type"
    return MediaTypeUnsupported(
        f"{named} does not say what samples these are, and they do not begin with a WAV header: send"
        " audio/x-raw;format=S16LE;rate=16000;channels=1 (or another format), or a WAV file without an end as audio/wav"
    )
