"""Claims of other containers than WAV about their samples, compared with the bytes that are there.

libsndfile reads a truncated file as a shorter one, and the first of two streams as the whole.
AIFF-C (Apple, 1991), AU (Sun), Core Audio Format 1.0 (Apple), Ogg (RFC 3533), FLAC (RFC 9639), and the ``Xing`` frame
of MP3 encoders.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from humwatch.audio.mp3_frames import mp3_samples
from humwatch.audio.wav_chunks import MAX_CHUNKS, id3_bytes
from humwatch.errors import AudioFormatUnsupported, AudioHeaderInvalid, AudioTruncated

_FLAC_STARTS: Final = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""Magic, and the head of the block that every stream begins with."""

_MAX_PAGES: Final = 1 << 18
_MAX_PAGE_BYTES: Final = 27 + 255 + 255 * 255
_XING_WITHIN: Final = 4 + 32 + 4
"""The name lies behind the head of the first frame and its side information (9 to 32 bytes)."""


def check_claims(file: BinaryIO) -> dict[int, bytes]:
    """Compare what a file claims, as its first bytes tell what it is, with what is there; its position changes.

    Returns:
        The bytes that its header should have, by their place, where nobody filled in a length.

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
    elif head[:4] == b"fLaC":
        _check_flac(file)
    elif head[:4] in (b".snd", b"dns."):
        return _check_au(head, size)
    elif head[:4] == b"caff":
        return _check_caf(file, size)
    elif head[:4] == b"FORM":
        return _filled_in_aiff(file, size)
    elif is_mp3(head):
        _check_mp3(file, head, size)
    return {}


def is_mp3(head: bytes) -> bool:
    """Return whether a file that begins with these bytes may be MP3."""
    return head[:3] == b"ID3" or (len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def check_frames(file: BinaryIO, container: str, frames: int) -> bool:
    """Compare the frames that an AIFF or MP3 file holds with those that libsndfile found; its position changes.

    Returns:
        Whether libsndfile found all of them.

    Raises:
        AudioTruncated: more are claimed than are there.
        AudioHeaderInvalid: there are more chunks than in any recording.
    """
    if container == "MP3":
        size = file.seek(0, 2)
        file.seek(0)
        held = mp3_samples(file, id3_bytes(file.read(10)), size)
        return held is None or held - frames <= _MP3_LEAD
    if container == "AIFF" and frames < (claimed := _aiff_frames(file)) < 0xFFFF_0000:
        raise AudioTruncated(f"the header claims {claimed} frames, {frames} are there")
    return True


def _check_bytes(claimed: int, available: int) -> None:
    if claimed > available:
        raise AudioTruncated(f"the header claims {claimed} bytes of samples, {available} are there")


def _iff_chunks(file: BinaryIO, start: int, form: str, fill: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte of the body and length of each chunk, whose head is ``form``, filled up to ``fill``."""
    at, head_bytes = start, struct.calcsize(form)
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(head_bytes)
        if len(head) < head_bytes:
            return
        name, length = struct.unpack(form, head)
        at += head_bytes
        yield name, at, length
        if length < 0:
            return
        at += -(-length // fill) * fill
    raise AudioHeaderInvalid(f"the file has more than {MAX_CHUNKS} chunks")


def _aiff_frames(file: BinaryIO) -> int:
    """Return the frames that the ``COMM`` chunk claims; 0 without one."""
    for name, start, _ in _iff_chunks(file, 12, ">4sI", 2):
        if name == b"COMM":
            file.seek(start + 2)
            return int.from_bytes(file.read(4), "big")
    return 0


def _filled_in_aiff(file: BinaryIO, size: int) -> dict[int, bytes]:
    """Return the length of samples that go to the end of the file, where its writer knew of none."""
    frames = _aiff_frames(file)
    for name, start, length in _iff_chunks(file, 12, ">4sI", 2):
        if name == b"SSND" and frames == 0 and length <= 8 < size - start:
            return {start - 4: struct.pack(">I", size - start)}
    return {}


def _check_au(head: bytes, size: int) -> dict[int, bytes]:
    byte_order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 12:
        return {}
    start, claimed = struct.unpack(byte_order + "II", head[4:])
    if claimed == 0 and start < size:
        return {8: b"\xff" * 4}
    if claimed != 0xFFFF_FFFF:
        _check_bytes(claimed, size - start)
    return {}


def _check_caf(file: BinaryIO, size: int) -> dict[int, bytes]:
    for name, start, length in _iff_chunks(file, 8, ">4sq", 1):
        if name == b"data" and length in (-1, 0) and start < size:
            return {start - 8: struct.pack(">q", size - start)}
        if name == b"data":
            _check_bytes(length, size - start)
    return {}


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


def _check_flac(file: BinaryIO) -> None:
    """Look for another stream behind the first: a decoder reads as many frames as that one has."""
    file.seek(len(_FLAC_STARTS[0]))
    kept = b""
    while piece := file.read(1 << 20):
        if any(start in kept + piece for start in _FLAC_STARTS):
            raise AudioFormatUnsupported("several FLAC files lie one behind the other in this one: send each by itself")
        kept = piece[-len(_FLAC_STARTS[0]) :]


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


_MP3_LEAD: Final = 4 * 1152
"""Samples that decoders leave out: the frame that says how long it is, and the encoder's lead and rest."""
