"""WebSocket frames (RFC 6455) as the player writes and reads them: thousands a second, in a share of one processor."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from websockets.frames import Opcode

MASK: Final = b"\x5a\xc3\x5a\xc3"
"""Of all binary messages. A client may choose any; one that repeats with each sample of 16 bits can be applied to the
whole sound beforehand, wherever a message begins. A service has to unmask it like any other."""

_FINAL: Final = 0x80
_MASKED: Final = 0x80
_OPCODE: Final = 0x0F
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127


@lru_cache(maxsize=64)
def binary_header(size: int) -> bytes:
    """Return the header of a binary message of a client with so many bytes, up to its mask."""
    first = bytes([_FINAL | Opcode.BINARY])
    if size < _TWO_BYTES:
        return first + bytes([_MASKED | size]) + MASK
    if size < 1 << 16:
        return first + bytes([_MASKED | _TWO_BYTES]) + size.to_bytes(2) + MASK
    return first + bytes([_MASKED | _EIGHT_BYTES]) + size.to_bytes(8) + MASK


class ServiceFrame(NamedTuple):
    """A message of the service, or a control frame.

    Attributes:
        opcode: TEXT, BINARY, PING, PONG or CLOSE.
        data: payload of all its frames.
    """

    opcode: int
    data: bytes


class ServiceFrames:
    """Bytes in, whole messages out; keeps what is left of the last one."""

    def __init__(self, max_bytes: int) -> None:
        """Read messages of up to ``max_bytes``."""
        self._max_bytes = max_bytes
        self._held = b""
        self._message: list[bytes] = []
        self._opcode = 0

    def push(self, data: bytes) -> list[ServiceFrame]:
        """Take bytes; return the messages that are whole. Raises :class:`ValueError` for one that is too large."""
        held = self._held + data if self._held else data
        found: list[ServiceFrame] = []
        at = 0
        while (bounds := self._bounds(held, at)) is not None:
            first, start, end = held[at], *bounds
            at = end
            whole = self._joined(first & _OPCODE, bool(first & _FINAL), held[start:end])
            if whole is not None:
                found.append(whole)
        self._held = held[at:]
        return found

    def _bounds(self, held: bytes, at: int) -> tuple[int, int] | None:
        """Return where the payload of the frame at ``at`` begins and ends; None while it is not whole."""
        if len(held) < at + 2:
            return None
        size, start = held[at + 1], at + 2
        if size >= _TWO_BYTES:
            width = 2 if size == _TWO_BYTES else 8
            start += width
            if len(held) < start:
                return None
            size = int.from_bytes(held[start - width : start])
        if size > self._max_bytes:
            raise ValueError(f"a message of {size} bytes")
        return (start, start + size) if len(held) >= start + size else None

    def _joined(self, opcode: int, final: bool, data: bytes) -> ServiceFrame | None:
        if opcode >= Opcode.CLOSE or (final and opcode):
            return ServiceFrame(opcode, data)
        self._opcode = opcode or self._opcode
        self._message.append(data)
        if sum(map(len, self._message)) > self._max_bytes:
            raise ValueError("a message in too many pieces")
        if not final:
            return None
        message, self._message = b"".join(self._message), []
        return ServiceFrame(self._opcode, message)
