"""Headers of the WAV family: where the samples lie, and whether what is claimed of them is there.

RIFF, RIFX, RF64, BW64 and Wave64. Readers of sound repair what they can: they read a truncated file as a shorter one,
the first of two chunks of samples as the whole, and believe a block size that no encoding has. A score of half a
recording is a wrong answer, so the claims are compared with the bytes here.
Chunks as in "Multimedia Programming Interface and Data Specifications 1.0" (1991), EBU Tech 3306 (RF64),
ITU-R BS.2088 (BW64) and Sonic Foundry's description of Wave64.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from humwatch.audio.wav_chunks import Chunk, Container, container_of, end_of, known_length, places_of_names, walk
from humwatch.audio.wav_format import MAX_FORMAT_BYTES, WavFormat, read_format
from humwatch.errors import AudioFormatUnsupported, AudioHeaderInvalid, AudioTruncated

_COUNTED_HEADER: Final = 4096
"""Some writers count the header among the samples: a claim of so many bytes too many is forgiven, never of more."""

_TAIL: Final = 4096
"""Bytes behind the last chunk that may be anything; more have to be zeros or a tag, or the sizes are wrong."""

_TRAILER: Final = 1 << 16
"""Behind samples of unknown length chunks may lie that their writer put there: their text would be a click."""

_TAGS: Final = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class WavHeader:
    """Header of a WAV file.

    Attributes:
        container: container, with its byte order.
        format: encoding of the samples.
        spans: where the samples lie: (first byte, bytes), in order.
        complete: whether the header says how many there are.
        coded_frames: number of frames as the ``fact`` chunk of coded samples says; 0 where it does not.
    """

    container: Container
    format: WavFormat
    spans: tuple[tuple[int, int], ...]
    complete: bool
    coded_frames: int

    @property
    def data_bytes(self) -> int:
        """Bytes of samples."""
        return sum(length for _, length in self.spans)

    @property
    def frames(self) -> int:
        """Number of whole frames, for samples that are not coded."""
        return self.data_bytes // self.format.frame_bytes


def read_wav_header(file: BinaryIO) -> WavHeader | None:
    """Read the chunks of a WAV file; the file is left at its start. None when it is not a WAV file.

    Raises:
        AudioHeaderInvalid: no ``fmt `` or no ``data`` chunk, or sizes that contradict each other or the file's.
        AudioTruncated: the header claims more bytes of samples than there are.
        AudioFormatUnsupported: a list of waves, or several WAV files one behind the other.
    """
    size = file.seek(0, 2)
    try:
        container = container_of(file)
        if container is None:
            return None
        return _Reader(file, container, size).read()
    finally:
        file.seek(0)


class _Reader:
    def __init__(self, file: BinaryIO, container: Container, size: int) -> None:
        self._file = file
        self._container = container
        self._size = size
        self._format: WavFormat | None = None
        self._long_bytes: int | None = None
        self._spans: list[tuple[int, int]] = []
        self._end = 0
        self._complete = True
        self._coded_frames = 0

    def read(self) -> WavHeader:
        chunks = walk(self._file, self._container, self._size)
        for chunk in chunks:
            if chunk.name == b"data":
                self._samples(chunk)
                if self._end >= self._size:
                    break
            elif self._spans:
                self._behind(chunk)
            else:
                self._before(chunk)
        if self._format is None or not self._spans:
            raise AudioHeaderInvalid("the file ends before its 'data' chunk")
        if self._end < self._size:
            self._check_tail()
        return WavHeader(self._container, self._format, tuple(self._spans), self._complete, self._coded_frames)

    def _before(self, chunk: Chunk) -> None:
        if chunk.name == b"fmt ":
            self._format = read_format(self._body(chunk, MAX_FORMAT_BYTES), self._container.byte_order)
        elif chunk.name == b"ds64":
            self._long_bytes = struct.unpack("<QQ", self._body(chunk, 16).ljust(16, b"\0"))[1]
        elif chunk.name == b"fact":
            frames = self._body(chunk, 4).ljust(4, b"\0")
            self._coded_frames = struct.unpack(self._container.byte_order + "I", frames)[0]
        elif chunk.name == b"LIST" and self._body(chunk, 4) == b"wavl":
            raise AudioFormatUnsupported("a list of waves and silences (wavl) is no one recording")

    def _behind(self, chunk: Chunk) -> None:
        if chunk.name in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            raise AudioFormatUnsupported("several WAV files lie one behind the other in this one: send each by itself")
        if chunk.is_known or chunk.end <= self._size + 1:
            self._end = chunk.end

    def _samples(self, chunk: Chunk) -> None:
        if self._format is None:
            raise AudioHeaderInvalid("the samples come before the 'fmt ' chunk that describes them")
        available = self._size - chunk.start
        claimed = self._claimed(chunk, available)
        if claimed is not None and claimed > available:
            header = min(chunk.start, _COUNTED_HEADER)
            if self._spans or claimed - available > max(header, self._format.frame_bytes - 1):
                raise AudioTruncated(f"the header claims {claimed} bytes of samples, {available} are there")
            claimed = available
        self._complete = self._complete and claimed is not None
        chunk.length = self._first_behind(chunk.start) - chunk.start if claimed is None else claimed
        chunk.end = end_of(self._file, self._container, chunk)
        self._spans.append((chunk.start, chunk.length))
        self._end = chunk.start + chunk.length

    def _claimed(self, chunk: Chunk, available: int) -> int | None:
        """Return the bytes of samples that the header claims; None where its writer did not know: to the end."""
        claimed = chunk.length
        known = known_length(claimed, self._long_bytes, wide=self._container.wide)
        if known is None:
            return 0 if 0 in (claimed, self._long_bytes) and self._is_empty(chunk) else None
        if known != claimed:
            return known
        beyond = available - claimed
        # 32 bits cannot hold more than 4 GiB: some writers let the size start again at zero.
        return None if beyond > 0 and beyond % (1 << 32) == 0 else claimed

    def _first_behind(self, start: int) -> int:
        """Return where chunks begin that go on to the end of the file, near it; the end where there are none."""
        begin = max(start, self._size - _TRAILER)
        self._file.seek(begin)
        in_vain: set[int] = set()  # chunks from which on it does not go to the end: each is looked at once
        for at in places_of_names(self._file.read(_TRAILER)):
            end, passed = begin, list[int]()
            for chunk in walk(self._file, self._container, self._size, start=begin + at):
                if chunk.start in in_vain:
                    break
                passed.append(chunk.start)
                end = chunk.end
            else:
                if self._size <= end <= self._size + 1:
                    return begin + at
            in_vain.update(passed)
        return self._size

    def _is_empty(self, chunk: Chunk) -> bool:
        """Return whether what follows a chunk without samples is nothing, or chunks up to the end of the file."""
        end = chunk.start
        for following in walk(self._file, self._container, self._size, start=chunk.start):
            if following.name == b"data" and following.length:
                return True  # these have a size of their own
            end = following.end
        return self._size <= end < self._size + self._container.head_bytes

    def _body(self, chunk: Chunk, at_most: int) -> bytes:
        self._file.seek(chunk.start)
        return self._file.read(min(chunk.length, at_most))

    def _check_tail(self) -> None:
        """Refuse a file whose samples go on behind the size that its header claims."""
        samples = sum(length for _, length in self._spans)
        tail = self._size - self._end
        if tail <= max(_TAIL, samples // 10):
            return
        self._file.seek(self._end)
        if self._file.read(16).lstrip(b"\0").startswith(_TAGS):
            return
        self._file.seek(self._end)
        while piece := self._file.read(1 << 20):
            if piece.count(0) != len(piece):
                raise AudioHeaderInvalid(
                    f"the header claims {samples} bytes of samples, and behind them lie {tail} bytes that are no"
                    " chunk: the recording is longer than its header says"
                )
