"""What other containers than WAV claim of their samples, compared with the bytes that are there.

libsndfile reads a truncated file as a shorter one, and the first of two streams as the whole.
AIFF-C (Apple, 1991), AU (Sun), Core Audio Format 1.0 (Apple), Ogg (RFC 3533), and the ``Xing`` frame of MP3 encoders.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from humwatch.audio.wav_chunks import MAX_CHUNKS, id3_bytes
from humwatch.errors import AudioFormatUnsupported, AudioHeaderInvalid, AudioTruncated

_MAX_PAGES: Final = 1 << 18
_MAX_PAGE_BYTES: Final = 27 + 255 + 255 * 255
_XING_WITHIN: Final = 4 + 32 + 4
"""The name lies behind the head of the first frame and its side information (9 to 32 bytes)."""


def check_claims(file: BinaryIO) -> None:
    """Compare what a file claims, as its first bytes tell what it is, with what is there; leaves it at its start.

    Raises:
        AudioTruncated: more is claimed than is there.
        AudioFormatUnsupported: several streams lie one behind the other.
        AudioHeaderInvalid: there are more chunks or pages than in any recording.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        _check_ogg(file, size)
    elif head[:4] in (b".snd", b"dns."):
        _check_au(head, size)
    elif head[:4] == b"caff":
        _check_caf(file, size)
    elif head[:3] == b"ID3" or (len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        _check_mp3(file, head, size)
    file.seek(0)


def check_frames(file: BinaryIO, frames: int) -> None:
    """Compare the frames that an AIFF file claims with those that libsndfile found; its position changes.

    Raises:
        AudioTruncated: more are claimed than are there.
        AudioHeaderInvalid: there are more chunks than in any recording.
    """
    claimed = _aiff_frames(file)
    if claimed > frames:
        raise AudioTruncated(f"the header claims {claimed} frames, {frames} are there")


def _check_bytes(claimed: int, available: int) -> None:
    if claimed > available:
        raise AudioTruncated(f"the header claims {claimed} bytes of samples, {available} are there")


def _aiff_frames(file: BinaryIO) -> int:
    """Return the frames that the ``COMM`` chunk claims; 0 without one."""
    at = 12
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 16:
            return 0
        name, length, _, frames = struct.unpack(">4sIhI", head[:14])
        if name == b"COMM":
            return int(frames)
        at += 8 + length + length % 2
    raise AudioHeaderInvalid(f"the file has more than {MAX_CHUNKS} chunks")


def _check_au(head: bytes, size: int) -> None:
    byte_order = ">" if head[:4] == b".snd" else "<"
    if len(head) == 12:
        start, claimed = struct.unpack(byte_order + "II", head[4:])
        if claimed != 0xFFFF_FFFF:
            _check_bytes(claimed, size - start)


def _check_caf(file: BinaryIO, size: int) -> None:
    at = 8
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return
        name, length = struct.unpack(">4sq", head)
        if name == b"data":
            _check_bytes(length, size - at - 12)
        if length < 0:
            return
        at += 12 + length
    raise AudioHeaderInvalid(f"the file has more than {MAX_CHUNKS} chunks")


def _check_ogg(file: BinaryIO, size: int) -> None:
    """Walk over the pages: the last one has to be whole, and no stream may begin behind another."""
    at = 0
    later = False
    for _ in range(_MAX_PAGES):
        if at >= size:
            return
        file.seek(at)
        head = file.read(27 + 255)
        if len(head) < 27 or head[:4] != b"OggS":
            _check_end_of_ogg(at, size)
            return
        begins = bool(head[5] & 2)
        if begins and later:
            raise AudioFormatUnsupported("several Ogg streams lie one behind the other in this file")
        later = later or not begins
        at += 27 + head[26] + sum(head[27 : 27 + head[26]])
        if at > size:
            raise AudioTruncated(f"the last page of the Ogg stream ends {at - size} bytes behind the file's end")
    raise AudioHeaderInvalid(f"the file has more than {_MAX_PAGES} Ogg pages")


def _check_end_of_ogg(at: int, size: int) -> None:
    if size - at > _MAX_PAGE_BYTES:
        raise AudioHeaderInvalid(f"the Ogg stream breaks off after {at} of {size} bytes")
    if size - at < 27:
        raise AudioTruncated("the Ogg stream breaks off in the head of a page")


def _check_mp3(file: BinaryIO, start: bytes, size: int) -> None:
    """Compare the bytes that an encoder wrote into the first frame with those that are there."""
    tag = id3_bytes(start[:10])
    file.seek(tag)
    head = file.read(_XING_WITHIN + 12)
    found = next((at for name in (b"Xing", b"Info") if (at := head.find(name, 4, _XING_WITHIN)) > 0), None)
    if found is None or len(head) < found + 16:
        return
    flags, frames, claimed = struct.unpack(">III", head[found + 4 : found + 16])
    if flags & 3 == 3 and frames:
        _check_bytes(claimed, size - tag)
