"""Claims of a WAV header, checked before anything is decoded.

libsndfile repairs what it can: it reads a truncated file as a shorter one and believes a block size that no
encoding has. A score of half a recording is a wrong answer, so the claims are compared with the bytes here.
Chunks as in "Multimedia Programming Interface and Data Specifications 1.0" (1991) and EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from humwatch.errors import AudioHeaderInvalid, AudioTruncated

UNKNOWN_SIZE: Final = 0x7FFF_0000
"""Writers to a pipe do not know the length and leave about 2 or 4 GiB in the header: read to the end."""

_PCM_TAGS: Final = {0x0001, 0x0003, 0xFFFE}


@dataclass(frozen=True)
class WavHeader:
    """The ``fmt `` chunk, and the size of the samples."""

    format_tag: int
    channels: int
    rate_hz: int
    block_bytes: int
    bits: int
    data_bytes: int | None
    """Bytes of samples that the header claims; None where the writer did not know."""


def read_wav_header(file: BinaryIO) -> WavHeader | None:
    """Read the chunks up to the samples; the file is left at its start. None when it is not a WAV file.

    Raises:
        AudioHeaderInvalid: no ``fmt `` or no ``data`` chunk, or sizes that contradict each other.
        AudioTruncated: the header claims more bytes of samples than there are.
    """
    size = file.seek(0, 2)
    file.seek(0)
    try:
        magic = file.read(12)
        if len(magic) < 12 or magic[:4] not in (b"RIFF", b"RF64") or magic[8:] != b"WAVE":
            return None
        header, available = _walk(file, size, rf64=magic[:4] == b"RF64")
    finally:
        file.seek(0)
    _check(header)
    if header.data_bytes is not None and header.data_bytes > available:
        raise AudioTruncated(f"the header claims {header.data_bytes} bytes of samples, {available} are there")
    return header


def _walk(file: BinaryIO, size: int, *, rf64: bool) -> tuple[WavHeader, int]:
    fmt: tuple[int, int, int, int, int] | None = None
    long_data_bytes: int | None = None
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        start = file.tell()
        if name == b"fmt ":
            fmt = _fmt(file.read(min(length, 40)))
        elif name == b"ds64" and rf64:
            long_data_bytes = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        elif name == b"data":
            if fmt is None:
                raise AudioHeaderInvalid("the samples come before the 'fmt ' chunk that describes them")
            claimed: int | None = long_data_bytes if rf64 else length
            if claimed is not None and not rf64 and claimed >= UNKNOWN_SIZE:
                claimed = None
            tag, channels, rate_hz, block_bytes, bits = fmt
            return WavHeader(tag, channels, rate_hz, block_bytes, bits, claimed), size - start
        file.seek(start + length + length % 2)
    raise AudioHeaderInvalid("the file ends before its 'data' chunk")


def _fmt(chunk: bytes) -> tuple[int, int, int, int, int]:
    if len(chunk) < 16:
        raise AudioHeaderInvalid(f"the 'fmt ' chunk has {len(chunk)} bytes, 16 at least are needed")
    tag, channels, rate_hz, _, block_bytes, bits = struct.unpack("<HHIIHH", chunk[:16])
    return tag, channels, rate_hz, block_bytes, bits


def _check(header: WavHeader) -> None:
    if header.channels == 0:
        raise AudioHeaderInvalid("the header says 0 channels")
    if header.format_tag in _PCM_TAGS:
        expected = header.channels * ((header.bits + 7) // 8)
        # 16 bits hold the size of a block: beyond that many channels it cannot be right, and the limit says so.
        if header.block_bytes != expected and expected <= 0xFFFF:
            raise AudioHeaderInvalid(
                f"the header says {header.block_bytes} bytes a frame, but {header.channels} channels"
                f" of {header.bits} bits take {expected}"
            )
