"""Frames of a WebSocket (RFC 6455) as a client sends them: where they end, and what the simple ones hold."""

from __future__ import annotations

from typing import Final, NamedTuple

from websockets import frames

_apply_mask: Final = vars(frames)["apply_mask"]
"""The library's own: in C, where that was built."""
TEXT: Final = 0x81
BINARY: Final = 0x82
"""First byte of a text or binary message that is whole in its frame, without extensions."""
_PARTS: Final = frozenset({0x00, 0x80, 0x01, 0x02, TEXT, BINARY})
_CONTROLS: Final = frozenset({0x88, 0x89, 0x8A})
_HEAD: Final = {126: (2, 8), 127: (8, 14)}
"""Bytes of the length, and of the whole head, by what the second byte says."""


class FrameHead(NamedTuple):
    """Head of a frame.

    Attributes:
        first: its first byte: opcode and flags.
        masked: whether what it holds is masked, as all that a client sends has to be.
        begin: index of the first byte that it holds.
        length: number of bytes that it holds.
    """

    first: int
    masked: bool
    begin: int
    length: int

    @property
    def end(self) -> int:
        """Index behind the frame."""
        return self.begin + self.length

    @property
    def is_message(self) -> bool:
        """True if it is a whole message."""
        return self.first in (TEXT, BINARY)

    @property
    def is_control(self) -> bool:
        """True for a ping, a pong and a close."""
        return self.first in _CONTROLS

    @property
    def is_lawful(self) -> bool:
        """True if a client may send it, by flags and opcode, where no extension was agreed on."""
        return self.masked and (self.first in _PARTS or self.first in _CONTROLS)


def frame_at(data: bytes | bytearray, at: int) -> FrameHead | None:
    """Return the head of the frame that begins at an index; None while there is too little to tell."""
    size = len(data) - at
    if size < 2:
        return None
    first, second = data[at], data[at + 1]
    masked, length = second >= 128, second & 0x7F
    if length < 126:
        return FrameHead(first, masked, at + 6, length)
    length_bytes, head_bytes = _HEAD[length]
    if size < 2 + length_bytes:
        return None
    return FrameHead(first, masked, at + head_bytes, int.from_bytes(data[at + 2 : at + 2 + length_bytes], "big"))


def unmasked(data: bytes | bytearray, head: FrameHead) -> str | bytes | None:
    """Return the message of a frame; None for text that is no UTF-8."""
    begin = head.begin
    held: bytes = _apply_mask(memoryview(data)[begin : head.end], data[begin - 4 : begin])
    if head.first == BINARY:
        return held
    try:
        return held.decode()
    except UnicodeDecodeError:
        return None
