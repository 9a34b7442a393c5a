"""Chunks of the WAV family: names, sizes, and where the next one begins."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from humwatch.errors import AudioHeaderInvalid

MAX_CHUNKS: Final = 10_000
"""No recorder writes so many; a file of empty chunks would take minutes to walk through."""

_UNKNOWN_32: Final = (range(0x7FFF_0000, 0x8000_0100), range(0xFFFF_0000, 0x1_0000_0000))
"""Writers to a pipe do not know the length and leave about 2 or 4 GiB in the header: read to the end."""

_UNKNOWN_64: Final = (range(1 << 62, 1 << 64),)

_MAGICS: Final[dict[bytes, tuple[str, Literal["<", ">"]]]] = {
    b"RIFF": ("WAV", "<"),
    b"RIFX": ("RIFX", ">"),
    b"RF64": ("RF64", "<"),
    b"BW64": ("BW64", "<"),
}
_WAVE64: Final = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")

_NAMES: Final = (
    b"fmt dataLISTfactbextiXMLaXMLaxmlchnads64JUNKjunkPAD FLLRcue smplinstPEAK"
    b"cartlevlid3 ID3 _PMXumidlinkmextqltyacidstrcDISPminfregnINFOwamdguanLGWV"
)
_KNOWN: Final = frozenset(_NAMES[at : at + 4] for at in range(0, len(_NAMES), 4))
"""Names by which a chunk is recognised where its place is in doubt."""

_ANY_NAME: Final = re.compile(b"|".join(sorted(map(re.escape, _KNOWN - {b"data", b"fmt ", b"ds64"}))))


@dataclass(frozen=True)
class Container:
    """One of the forms of the family.

    Attributes:
        name: ``WAV``, ``RIFX``, ``RF64``, ``BW64`` or ``W64``.
        byte_order: ``<`` or ``>``, as :mod:`struct` has it.
        start: first byte of the first chunk.
        wide: names of 16 bytes, and sizes of 8 that count the head of a chunk (Wave64).
    """

    name: str
    byte_order: Literal["<", ">"]
    start: int
    wide: bool = False

    @property
    def head_bytes(self) -> int:
        """Size of a chunk's head."""
        return 24 if self.wide else 8


@dataclass
class Chunk:
    """A chunk: its name, the first byte of its body, and its length; ``end`` is where the next one begins."""

    name: bytes
    start: int
    length: int
    end: int = 0

    @property
    def is_known(self) -> bool:
        """True if the name is one that recorders give."""
        return self.name in _KNOWN


def container_of(file: BinaryIO) -> Container | None:
    """Return the container of a file, behind an ID3v2 tag if there is one; None when it is not of the family."""
    file.seek(0)
    at = id3_bytes(file.read(10))
    file.seek(at)
    head = file.read(40)
    if head[:16] == _WAVE64 and head[24:28] == b"wave":
        return Container("W64", "<", at + 40, wide=True)
    if len(head) < 12 or head[:4] not in _MAGICS or head[8:12] != b"WAVE":
        return None
    name, byte_order = _MAGICS[head[:4]]
    return Container(name, byte_order, at + 12)


def places_of_names(data: bytes) -> list[int]:
    """Return where names of chunks that recorders write lie in these bytes, in order."""
    return [match.start() for match in _ANY_NAME.finditer(data)]


def end_of(file: BinaryIO, container: Container, chunk: Chunk) -> int:
    """Return where the chunk behind another begins: some writers leave out the byte that fills up an odd one."""
    end = chunk.start + chunk.length
    if container.wide:
        return chunk.start + -(-chunk.length // 8) * 8
    if chunk.length % 2 == 0:
        return end
    file.seek(end)
    names = file.read(5)
    return end if names[:4] in _KNOWN and names[1:] not in _KNOWN else end + 1


def known_length(claimed: int, long_bytes: int | None = None, *, wide: bool = False) -> int | None:
    """Return the bytes of samples as a header has them; None where its writer did not know, or left zero.

    Args:
        claimed: length of the ``data`` chunk.
        long_bytes: its length as the ``ds64`` chunk has it; None without one.
        wide: whether lengths have 8 bytes (Wave64).
    """
    if claimed and not any(claimed in sizes for sizes in (_UNKNOWN_64 if wide else _UNKNOWN_32)):
        return claimed
    return long_bytes if long_bytes is not None and 0 < long_bytes < _UNKNOWN_64[0].start else None


def walk(file: BinaryIO, container: Container, size: int, start: int | None = None) -> Iterator[Chunk]:
    """Yield the chunks from ``start`` on (None: the first) up to what is none; ``Chunk.end`` may be set meanwhile.

    Raises:
        AudioHeaderInvalid: there are more than ``MAX_CHUNKS``.
    """
    at = container.start if start is None else start
    for _ in range(MAX_CHUNKS):
        chunk = _chunk_at(file, container, at)
        if chunk is None:
            return
        chunk.end = end_of(file, container, chunk)
        yield chunk
        if not at < chunk.end <= size:
            return
        at = chunk.end
    raise AudioHeaderInvalid(f"the file has more than {MAX_CHUNKS} chunks")


def _chunk_at(file: BinaryIO, container: Container, at: int) -> Chunk | None:
    file.seek(at)
    head = file.read(container.head_bytes)
    if len(head) < container.head_bytes or not _is_name(head[:4]):
        return None
    start = at + container.head_bytes
    if container.wide:
        length = struct.unpack("<Q", head[16:])[0]
        return Chunk(head[:4], start, max(0, length - container.head_bytes))
    return Chunk(head[:4], start, struct.unpack(container.byte_order + "I", head[4:])[0])


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def id3_bytes(head: bytes) -> int:
    """Return the size of an ID3v2 tag that begins with these 10 bytes; 0 when they begin none."""
    if len(head) < 10 or head[:3] != b"ID3" or any(byte > 0x7F for byte in head[6:]):
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 0x10 else 0)
