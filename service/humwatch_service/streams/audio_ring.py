"""Last sound of a stream, for the evidence of an alarm; separate from what is being scored."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from humwatch.arrays import Float32, Int16
from humwatch.audio.integers import to_int16

Sound = Int16 | Float32

_FULL_SCALE_24: Final = np.float32(1 << 23)
_TWELVE_BITS: Final = 1 << 11


class SoundRing:
    """Mono samples by their index in the stream: those from :meth:`keep_from` on, of which ``capacity`` at most.

    Each piece is kept in as few bytes as give it back as it came: a machine that is not loud needs 12 of 16 bits, and
    floats are integers most often. FLAC would halve that, for ten times the processor time. Filled by the worker that
    has the stream's batch.
    """

    def __init__(self, capacity: int, *, integers: bool) -> None:
        """Begin without sound.

        Args:
            capacity: most samples that are kept.
            integers: True to give back 16-bit integers.
        """
        self._capacity = capacity
        self._dtype = np.dtype(np.int16 if integers else np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._pieces: deque[_Piece] = deque()
        self._held = 0

    @property
    def end(self) -> int:
        """Index of the sample after the newest; 0 when there is none."""
        return self._pieces[-1].end if self._pieces else 0

    @property
    def nbytes(self) -> int:
        """Size of the sound that is kept, bytes."""
        return sum(piece.nbytes for piece in self._pieces)

    def push(self, start: int, mono: Float32) -> None:
        """Keep float32 (n,) in [-1, 1], whose first sample has the index ``start``."""
        self._pieces.append(_Piece(start, to_int16(mono)) if self._dtype == np.int16 else _Piece.of(start, mono))
        self._held += len(mono)
        while self._pieces and self._held - len(self._pieces[0]) >= self._capacity:
            self._forget_oldest()

    def keep_from(self, start: int) -> None:
        """Forget what nobody asks for any more: the pieces that end at ``start`` or before."""
        while self._pieces and self._pieces[0].end <= start:
            self._forget_oldest()

    def between(self, start: int, end: int) -> Sound:
        """Return the samples kept from ``start`` to before ``end``, int16 or float32 (n,), with gaps left out."""
        found = [
            piece.samples(self._dtype)[max(0, start - piece.start) : max(0, end - piece.start)]
            for piece in self._pieces
            if piece.start < end and piece.end > start
        ]
        return np.concatenate([np.zeros(0, self._dtype), *found])

    def _forget_oldest(self) -> None:
        self._held -= len(self._pieces.popleft())


class _Piece:
    """Sound that came at once, in as few bytes as give it back as it is: 1.5 to 3 a sample where it is of integers."""

    __slots__ = ("_high", "_low", "_nibbles", "start")

    def __init__(self, start: int, high: Sound, low: npt.NDArray[np.uint8] | None = None) -> None:
        """Hold int16 (n,), or float32 (n,) that is not of integers; ``low`` holds the last 8 of 24 bits."""
        self.start = start
        whole: npt.NDArray[Any] = high
        self._nibbles: npt.NDArray[np.uint8] | None = None
        self._low = low
        if whole.dtype == np.int16 and whole.max(initial=0) < _TWELVE_BITS and whole.min(initial=0) >= -_TWELVE_BITS:
            top = (whole >> 8).astype(np.uint8)
            whole = whole.astype(np.uint8)
            nibbles: npt.NDArray[np.uint8] = top[0::2] & np.uint8(15)
            nibbles[: len(top) // 2] |= top[1::2] << 4
            self._nibbles = nibbles
        self._high = whole

    @staticmethod
    def of(start: int, mono: Float32) -> _Piece:
        """Return the piece of float32 (n,), which may be integers."""
        scaled = mono * _FULL_SCALE_24
        if not (scaled.max(initial=-1.0) < _FULL_SCALE_24 and scaled.min(initial=0.0) >= -_FULL_SCALE_24):
            return _Piece(start, mono.copy())
        whole = scaled.astype(np.int32)
        if not np.array_equal(whole.astype(np.float32), scaled):
            return _Piece(start, mono.copy())
        low = whole.astype(np.uint8)
        return _Piece(start, (whole >> 8).astype(np.int16), low if low.any() else None)

    def __len__(self) -> int:
        return len(self._high)

    @property
    def end(self) -> int:
        return self.start + len(self._high)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self._high, self._nibbles, self._low) if part is not None)

    def samples(self, dtype: np.dtype[Any]) -> Sound:
        """Return the samples, int16 or float32 (n,)."""
        high = self._whole()
        if high.dtype == dtype:
            return high
        whole = high.astype(np.int32) << 8
        if self._low is not None:
            whole |= self._low
        samples: Float32 = whole.astype(np.float32) / _FULL_SCALE_24
        return samples

    def _whole(self) -> npt.NDArray[Any]:
        if self._nibbles is None:
            return self._high
        whole: npt.NDArray[Any] = np.empty(len(self._high), np.int16)
        whole[0::2] = self._nibbles & 15
        whole[1::2] = self._nibbles[: len(whole) // 2] >> 4
        whole <<= 12
        whole >>= 4  # with the sign
        whole |= self._high
        return whole
