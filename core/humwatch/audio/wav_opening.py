"""Beginning of a WAV file, up to its samples: how they are encoded, and when a recorder says that it began.

The ``bext`` chunk as in EBU Tech 3285.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from humwatch.audio.wav_chunks import Chunk, container_of, walk
from humwatch.audio.wav_format import MAX_FORMAT_BYTES, WavFormat, read_format

_DATE: Final = slice(320, 330)
_TIME: Final = slice(330, 338)
_ANY_SIZE: Final = 1 << 62


@dataclass(frozen=True)
class WavOpening:
    """Chunks before the samples, as far as they are there.

    Attributes:
        format: encoding of the samples; None where it is not there.
        made: date and time of the ``bext`` chunk of a Broadcast Wave file, without a zone; None without one.
    """

    format: WavFormat | None
    made: datetime | None


def read_wav_opening(file: BinaryIO) -> WavOpening | None:
    """Read the chunks before the samples; the file's position changes. None when it is not a WAV file.

    Raises:
        AudioHeaderInvalid: the format contradicts itself, or there are more chunks than in any recording.
        AudioFormatUnsupported: the format is none that is known.
    """
    container = container_of(file)
    if container is None:
        return None
    form: WavFormat | None = None
    made: datetime | None = None
    for chunk in walk(file, container, _ANY_SIZE):
        if chunk.name == b"data":
            break
        if chunk.name == b"fmt " and (body := _body(file, chunk, MAX_FORMAT_BYTES)) is not None:
            form = read_format(body, container.byte_order)
        elif chunk.name == b"bext":
            made = _made(_body(file, chunk, _TIME.stop) or b"")
    return WavOpening(form, made)


def _body(file: BinaryIO, chunk: Chunk, at_most: int) -> bytes | None:
    """Return the beginning of a chunk; None where it is not all there."""
    size = min(chunk.length, at_most)
    file.seek(chunk.start)
    body = file.read(size)
    return body if len(body) == size else None


def _made(bext: bytes) -> datetime | None:
    digits = bytes(byte for byte in bext[_DATE] + bext[_TIME] if byte in b"0123456789")
    try:
        return datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%S") if len(digits) == 14 else None
    except ValueError:
        return None
