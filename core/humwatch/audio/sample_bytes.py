"""Parts of a file as a file of their own, for decoders."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import BinaryIO, cast


def part_of(file: BinaryIO, spans: Sequence[tuple[int, int]]) -> BinaryIO:
    """Return parts of a seekable file, each its first byte and number of bytes, as one file."""
    return cast("BinaryIO", SampleBytes(file, spans))


def whole(file: BinaryIO, patches: Mapping[int, bytes] | None = None) -> BinaryIO:
    """Return all of a file as decoders get it: they seek before its start, and take only files of some kinds.

    Args:
        file: seekable file.
        patches: bytes that a header should have, by their place.
    """
    return cast("BinaryIO", SampleBytes(file, [(0, file.seek(0, 2))], patches or {}))


class SampleBytes(io.RawIOBase):
    """Parts of a seekable file as one file; holds none of their bytes, and leaves the other file open."""

    def __init__(
        self, file: BinaryIO, spans: Sequence[tuple[int, int]], patches: Mapping[int, bytes] | None = None
    ) -> None:
        """Begin at the first byte of the parts.

        Args:
            file: file in which the parts lie.
            spans: first byte and number of bytes of each.
            patches: bytes to read in place of the file's, by their place in it.
        """
        self._file = file
        self._patches = [
            (at + index, byte) for at, patch in (patches or {}).items() for index, byte in enumerate(patch)
        ]
        self._spans = [span for span in spans if span[1] > 0]
        self._begins = [0, *accumulate(length for _, length in self._spans)]
        self._at = 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be sought in."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a byte of the parts."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._begins[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return which byte of the parts is the next one."""
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read the next bytes into a buffer, across parts; fewer than it holds only at the end."""
        wanted = memoryview(buffer).cast("B")
        done = 0
        for (start, length), begin in zip(self._spans, self._begins, strict=False):
            offset = self._at - begin
            if not 0 <= offset < length or done == len(wanted):
                continue
            self._file.seek(start + offset)
            piece = self._file.read(min(length - offset, len(wanted) - done))
            wanted[done : done + len(piece)] = piece
            for at, byte in self._patches:
                if 0 <= at - start - offset < len(piece):
                    wanted[done + at - start - offset] = byte
            done += len(piece)
            self._at += len(piece)
        return done
