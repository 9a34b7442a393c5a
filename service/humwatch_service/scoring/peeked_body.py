"""A body whose first bytes are looked at before it is known what it is."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from humwatch_service.protocol.containers import LONGEST_BYTES, sniff

HEAD_BYTES: Final = max(LONGEST_BYTES, 80)
"""Enough for every header, and for the longest boundary of a form (RFC 2046: 70 characters)."""


@dataclass(frozen=True)
class PeekedBody:
    """First bytes, and all that come behind them."""

    head: bytes
    _rest: AsyncIterator[bytes]

    @classmethod
    async def of(cls, body: AsyncIterator[bytes]) -> Self:
        """Read until there are enough bytes to tell, or no more."""
        head = b""
        async for chunk in body:
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
        return cls(head, body)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the whole body, once."""
        yield self.head
        async for chunk in self._rest:
            yield chunk


def is_recording(head: bytes) -> bool:
    """Return whether first bytes are those of a recording of any kind."""
    return sniff(head).container is not None


def is_binary(head: bytes) -> bool:
    """Return whether first bytes are no text: they have zeros or other control characters, or are no UTF-8."""
    if any(byte < 0x20 and byte not in b"\t\n\r\f" for byte in head):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return True
    return False
