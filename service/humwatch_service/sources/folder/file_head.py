"""Head of a recording: how long it is, and when it was made, by what stands in its first bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from humwatch.audio.decoding import DecodeLimits, open_recording
from humwatch.errors import AudioError

HEAD_BYTES: Final = 8_192
_DATE: Final = slice(320, 330)
_TIME: Final = slice(330, 338)
_ANY_LENGTH: Final = DecodeLimits(max_duration_s=math.inf, max_samples=1 << 62, min_rate_hz=1, max_rate_hz=1 << 30)


@dataclass(frozen=True)
class FileHead:
    """What the head of a file says.

    Attributes:
        length_s: length of the recording, seconds; None where it is not known.
        made: date and time of the `bext` chunk of a Broadcast Wave file, without a zone; None without one.
    """

    length_s: float | None
    made: datetime | None


def read_head(path: Path, size: int) -> FileHead:
    """Return what the head of a file of ``size`` bytes says (blocking). Raises :class:`OSError`."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        chunks = dict(_chunks(head))
        byte_rate = struct.unpack_from("<I", chunks[b"fmt "], 8)[0] if len(chunks.get(b"fmt ", b"")) >= 12 else 0
        return FileHead(size / byte_rate if byte_rate else None, _made(chunks.get(b"bext", b"")))
    try:
        with open_recording(path, _ANY_LENGTH) as recording:
            return FileHead(recording.info.duration_s, None)
    except AudioError:
        return FileHead(None, None)


def _chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks before the samples: (name, as much of it as is in the head)."""
    at = 12
    while at + 8 <= len(head) and head[at : at + 4] != b"data":
        name, size = struct.unpack_from("<4sI", head, at)
        yield name, head[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _made(bext: bytes) -> datetime | None:
    digits = bytes(byte for byte in bext[_DATE] + bext[_TIME] if byte in b"0123456789")
    try:
        return datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%S") if len(digits) == 14 else None
    except ValueError:
        return None
