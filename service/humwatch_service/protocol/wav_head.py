"""The head of a WAV file that has no end yet, such as ``arecord -t wav`` writes to a pipe."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from humwatch.audio.wav_chunks import known_length
from humwatch.audio.wav_format import FLOAT, PCM, read_format
from humwatch.errors import AudioError
from humwatch_service.errors import MediaTypeUnsupported
from humwatch_service.protocol.messages import SampleFormat

MAX_BYTES: Final = 64 << 10
"""Most bytes before the samples."""
MAX_CHUNKS: Final = 64
"""Most chunks before the samples: the header is read anew with each piece of it."""

_FORMATS: Final[dict[tuple[int, int], SampleFormat]] = {
    (PCM, 16): "s16le",
    (PCM, 24): "s24le",
    (PCM, 32): "s32le",
    (FLOAT, 32): "f32le",
    (FLOAT, 64): "f64le",
}


@dataclass(frozen=True)
class WavHead:
    """Header of a WAV file, up to its samples.

    Attributes:
        format: their format.
        rate_hz: frames a second.
        channels: samples of a frame.
        size: bytes of the header itself.
        data_bytes: bytes of samples; None where the writer did not know.
    """

    format: SampleFormat
    rate_hz: int
    channels: int
    size: int
    data_bytes: int | None


def read_wav_head(head: bytes) -> WavHead | None:
    """Read the chunks up to the samples; None when more bytes are needed to tell.

    Raises:
        MediaTypeUnsupported: this is no little-endian WAV file, or one whose samples are not taken as a stream.
    """
    if (head[:4] not in (b"RIFF", b"RF64", b"BW64") and len(head) >= 4) or (head[8:12] != b"WAVE" and len(head) >= 12):
        raise MediaTypeUnsupported("this is no WAV file of little-endian samples (RIFF, RF64 or BW64)")
    found: tuple[SampleFormat, int, int] | None = None
    long_bytes: int | None = None
    at = 12
    for _ in range(MAX_CHUNKS):
        if len(head) < at + 8:
            return None
        name, length = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"data":
            if found is None:
                raise MediaTypeUnsupported("the samples come before the 'fmt ' chunk that describes them")
            form, rate_hz, channels = found
            return WavHead(form, rate_hz, channels, at, known_length(length, long_bytes))
        if at + length > MAX_BYTES:
            raise MediaTypeUnsupported(f"the WAV header has more than {MAX_BYTES} bytes before its samples")
        if len(head) < at + length:
            return None
        if name == b"fmt ":
            found = _format(head[at : at + length])
        elif name == b"ds64" and length >= 16:
            long_bytes = struct.unpack_from("<Q", head, at + 8)[0]
        at += length + length % 2
    raise MediaTypeUnsupported(f"the WAV header has more than {MAX_CHUNKS} chunks before its samples")


def _format(chunk: bytes) -> tuple[SampleFormat, int, int]:
    try:
        said = read_format(chunk, "<")
    except AudioError as error:
        raise MediaTypeUnsupported(f"the WAV stream is not taken: {error}") from error
    form = None if said.low_justified else _FORMATS.get((said.tag, said.bits))
    if form is None:
        raise MediaTypeUnsupported(
            f"a WAV stream of {said.bits} bits with the format tag {said.tag} is not taken: send integers of 16, 24 or"
            " 32 bits, or floats"
        )
    return form, said.rate_hz, said.channels
