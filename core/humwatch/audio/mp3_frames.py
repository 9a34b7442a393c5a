"""Frames of an MP3 file, counted: without a first frame that says how many there are, decoders guess by the bit rate.

Headers as in ISO/IEC 11172-3 and 13818-3, layer III only, and MPEG 2.5.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from humwatch.errors import AudioTruncated

_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_PIECE: Final = 1 << 20


def mp3_samples(file: BinaryIO, start: int, size: int) -> int | None:
    """Return the samples of a channel that the frames from ``start`` on hold; None where they are not of layer III.

    Raises:
        AudioTruncated: the file ends within a frame.
    """
    at, samples = start, 0
    piece, begin = b"", start
    while True:
        if at + 4 > begin + len(piece):
            file.seek(at)
            piece, begin = file.read(_PIECE), at
        frame = _frame(piece[at - begin : at - begin + 4])
        if frame is None:
            return samples or None
        length, held = frame
        at += length
        samples += held
        if at > size:
            raise AudioTruncated(f"the last MP3 frame ends {at - size} bytes behind the file's end")


def _frame(head: bytes) -> tuple[int, int] | None:
    """Return the bytes and the samples of the frame that begins with these 4 bytes; None where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbits in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    bits_per_s = 1000 * (_KBITS_1 if version == 3 else _KBITS_2)[kbits]
    return samples * bits_per_s // (8 * _RATES_HZ[version][rate]) + (head[2] >> 1 & 1), samples
