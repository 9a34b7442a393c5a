"""The ``fmt `` chunk of the WAV family: how samples are encoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

from humwatch.errors import AudioFormatUnsupported, AudioHeaderInvalid

PCM: Final = 1
FLOAT: Final = 3
A_LAW: Final = 6
MU_LAW: Final = 7
MAX_FORMAT_BYTES: Final = 64
"""Bytes of the chunk that say something."""

_EXTENSIBLE: Final = 0xFFFE
_NOT_CODED: Final = frozenset({PCM, FLOAT})

_SUB_FORMATS: Final = (
    bytes.fromhex("000000001000800000aa00389b71"),
    bytes.fromhex("00002107d3118644c8c1ca000000"),
)
"""What follows the tag in the GUID of a sub-format: Microsoft's, and that of ambisonic recordings."""


@dataclass(frozen=True)
class WavFormat:
    """The encoding of samples.

    Attributes:
        tag: format tag; that of the sub-format where the chunk is extensible.
        channels: number of channels.
        rate_hz: frames a second.
        frame_bytes: size of a frame, bytes; of coded samples, that of their block.
        bits: bits of a sample as it lies in the file, a multiple of 8; of coded samples, as the header says.
        valid_bits: how many of them say something, as the header has it.
        bytes_per_s: bytes of a second; of coded samples, as the header says.
        low_justified: whether fewer bits than there is room for lie in the lower ones, as ALSA writes them.
    """

    tag: int
    channels: int
    rate_hz: int
    frame_bytes: int
    bits: int
    valid_bits: int
    bytes_per_s: int
    low_justified: bool = False


def read_format(chunk: bytes, byte_order: Literal["<", ">"]) -> WavFormat:
    """Read a ``fmt `` chunk.

    Raises:
        AudioHeaderInvalid: it contradicts itself.
        AudioFormatUnsupported: the sub-format is none that is known.
    """
    if len(chunk) < 16:
        raise AudioHeaderInvalid(f"the 'fmt ' chunk has {len(chunk)} bytes, 16 at least are needed")
    tag, channels, rate_hz, bytes_per_s, frame_bytes, bits = struct.unpack(byte_order + "HHIIHH", chunk[:16])
    if channels == 0:
        raise AudioHeaderInvalid("the header says 0 channels")
    valid_bits = bits
    if tag == _EXTENSIBLE:
        tag, valid_bits = _extension(chunk, byte_order, bits)
    if tag not in _NOT_CODED:
        return WavFormat(tag, channels, rate_hz, max(1, frame_bytes), bits, valid_bits, bytes_per_s)
    sample_bytes = _sample_bytes(tag, channels, frame_bytes, bits)
    held = 8 * sample_bytes
    low_justified = tag == PCM and 0 < bits <= held - 8
    valid_bits = valid_bits if tag == PCM and 0 < valid_bits <= held else held
    frame_bytes = sample_bytes * channels
    return WavFormat(tag, channels, rate_hz, frame_bytes, held, valid_bits, frame_bytes * rate_hz, low_justified)


def _extension(chunk: bytes, byte_order: Literal["<", ">"], bits: int) -> tuple[int, int]:
    """Return the tag and the valid bits; an extension that nobody filled in says whole numbers of up to 24 bits."""
    guid = chunk[24:40]
    if byte_order == ">" and len(guid) == 16:
        guid = struct.pack("<IHH", *struct.unpack(">IHH", guid[:8])) + guid[8:]
    if len(guid) < 16 or not any(guid):
        if not 0 < bits <= 24:
            raise AudioHeaderInvalid(f"the header does not say whether samples of {bits} bits are integers or floats")
        return PCM, bits
    if guid[2:] not in _SUB_FORMATS:
        raise AudioFormatUnsupported(f"this WAV encoding (sub-format {guid.hex()}) is not read")
    valid_bits = struct.unpack(byte_order + "H", chunk[18:20])[0]
    return struct.unpack("<H", guid[:2])[0], valid_bits or bits


def _sample_bytes(tag: int, channels: int, frame_bytes: int, bits: int) -> int:
    """Return the bytes of one sample, from the size of a frame and the number of bits, which have to agree."""
    expected = (bits + 7) // 8
    of_frame = frame_bytes // channels if frame_bytes % channels == 0 else 0
    if bits == 0:
        expected = of_frame
    # ALSA's S24_LE and S20_LE: 4 bytes a sample, and the header says how many bits are used.
    spare = tag == PCM and expected == 3 and of_frame == 4
    # 16 bits hold the size of a frame: beyond that many channels it cannot be right, and the limit says so.
    agrees = frame_bytes in (0, expected * channels) or spare or expected * channels > 0xFFFF
    if not agrees:
        raise AudioHeaderInvalid(
            f"the header says {frame_bytes} bytes a frame, but {channels} channels of {bits} bits take"
            f" {expected * channels}"
        )
    size = of_frame if spare else expected
    if size not in ((1, 2, 3, 4) if tag == PCM else (4, 8)):
        raise AudioHeaderInvalid(f"the header says {bits} bits a sample, which no {_name(tag)} has")
    return size


def _name(tag: int) -> str:
    return "integer" if tag == PCM else "float"
