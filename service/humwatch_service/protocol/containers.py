"""Files that are no plain samples, known by their first bytes: a header heard as sound would be a click at best."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from humwatch_service.errors import StreamInvalid

ANY: Final = None
"""A byte of any value."""

_Allowed = Collection[int] | None


def _pattern(*parts: bytes | int | Collection[int]) -> tuple[_Allowed, ...]:
    """Return a pattern of bytes: each part is bytes as they stand, a number of any bytes, or the values of one byte."""

    def allowed() -> Iterator[_Allowed]:
        for part in parts:
            if isinstance(part, bytes):
                yield from ((byte,) for byte in part)
            elif isinstance(part, int):
                yield from (ANY for _ in range(part))
            else:
                yield part

    return tuple(allowed())


_WAVS: Final = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_FORM: Final = b"WAVE"
_WAV_BYTES: Final = 12
_XING: Final = [
    _pattern(b"\xff", {0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3}, 2 + side_bytes, tag)
    for side_bytes in (32, 17, 9)
    for tag in (b"Xing", b"Info")
]

_PATTERNS: Final[tuple[tuple[str, tuple[_Allowed, ...]], ...]] = (
    *(("WAV", _pattern(name, 4, _FORM)) for name in _WAVS),
    ("Wave64", _pattern(b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb")),
    ("FLAC", _pattern(b"fLaC", {0x00, 0x80}, b"\0\0\x22")),
    ("Ogg", _pattern(b"OggS\0", range(8), b"\0" * 8)),
    ("MP3", _pattern(b"ID3", {2, 3, 4}, b"\0", range(0, 256, 16), *[range(128)] * 4)),
    *(("MP3", pattern) for pattern in _XING),
    ("AIFF", _pattern(b"FORM", 4, b"AIF", set(b"FC"))),
    ("CAF", _pattern(b"caff\0\1\0\0")),
    ("AU", _pattern(b".snd\0\0", 6, b"\0\0\0", range(1, 28))),
    ("MP4 (M4A)", _pattern(b"\0\0\0", 1, b"ftyp")),
    ("WebM", _pattern(b"\x1aE\xdf\xa3", 1, b"\x42\x86\x81\1")),
    ("WebM", _pattern(b"\x1aE\xdf\xa3\1\0\0\0\0\0\0", 1, b"\x42\x86\x81\1")),
    ("ASF (WMA)", _pattern(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa")),
    ("AMR", _pattern(b"#!AMR\n")),
    ("AMR", _pattern(b"#!AMR-WB\n")),
)
"""The shortest is known by 44 bits: sound begins so by chance once in 10^13 connections."""

LONGEST_BYTES: Final = max(len(pattern) for _, pattern in _PATTERNS)


@dataclass(frozen=True)
class Sniffed:
    """Finding about first bytes: a file of this kind, samples for all that is known, or too few to tell.

    Attributes:
        container: kind of the file in words; None where it is none, or not known yet.
        in_doubt: True while further bytes may make it a file.
    """

    container: str | None
    in_doubt: bool


def sniff(head: bytes) -> Sniffed:
    """Tell from the first bytes, however few, whether they begin a file."""
    in_doubt = False
    for name, pattern in _PATTERNS:
        if all(allowed is ANY or byte in allowed for byte, allowed in zip(head, pattern, strict=False)):
            if len(head) >= len(pattern):
                return Sniffed(name, in_doubt=False)
            in_doubt = True
    return Sniffed(None, in_doubt)


def refused_text(container: str) -> str:
    """Say what to do with a file that was sent as samples."""
    article = "an" if container[0] in "AEIMO" and container != "MP4 (M4A)" else "a"
    return (
        f"this is {article} {container} file, and its header is no sound: send its samples alone, or the whole"
        " file to POST /v1/machines/{machine_id}/score"
    )


class StreamHead:
    """First bytes behind ``hello`` or ``position``: held back while they may be a file's, refused if they are.

    The header of a WAV file is refused wherever it comes: recordings that are sent one behind the other.
    """

    def __init__(self) -> None:
        self._held: bytes | None = b""
        self._last = b""

    def push(self, data: bytes) -> bytes:
        """Add bytes; return those that are samples. Raises :class:`StreamInvalid` where they begin a file."""
        if self._held is None:
            return self._without_header(data)
        held = self._held + data
        sniffed = sniff(held)
        if sniffed.container is not None:
            raise StreamInvalid(refused_text(sniffed.container))
        if sniffed.in_doubt:
            self._held = held
            return b""
        self._held = None
        return self._without_header(held)

    def _without_header(self, data: bytes) -> bytes:
        seen = self._last + data
        at = seen.find(_FORM)
        while at >= 0:
            if at >= 8 and seen[at - 8 : at - 4] in _WAVS:
                raise StreamInvalid("the header of another WAV file comes within the samples, and is no sound")
            at = seen.find(_FORM, at + 1)
        self._last = seen[-_WAV_BYTES + 1 :]
        return data

    def rest(self) -> bytes:
        """Return what is held back, as no more of it comes: they are samples."""
        held, self._held = self._held, None
        return held or b""
