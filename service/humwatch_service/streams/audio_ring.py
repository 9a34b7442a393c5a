"""Last minutes of a stream's sound, for the evidence of an alarm; separate from what is being scored."""

from __future__ import annotations

from collections import deque

import numpy as np

from humwatch.arrays import Float32, Int16
from humwatch.audio.integers import to_int16

Sound = Int16 | Float32


class SoundRing:
    """Mono samples by their index in the stream, of which the last ``capacity`` are kept.

    Sound that came as 16-bit integers is kept as such: half the memory, and the evidence is what was sent. Filled by
    the worker that has the stream's batch.
    """

    def __init__(self, capacity: int, *, integers: bool) -> None:
        """Begin without sound.

        Args:
            capacity: number of samples that are kept.
            integers: True to keep 16-bit integers.
        """
        self._capacity = capacity
        self._dtype = np.dtype(np.int16 if integers else np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._pieces: deque[tuple[int, Sound]] = deque()
        self._held = 0

    @property
    def end(self) -> int:
        """Index of the sample after the newest; 0 when there is none."""
        if not self._pieces:
            return 0
        start, piece = self._pieces[-1]
        return start + len(piece)

    def push(self, start: int, mono: Float32) -> None:
        """Keep float32 (n,) in [-1, 1], whose first sample has the index ``start``."""
        if self._dtype == np.int16:
            kept: Sound = to_int16(mono)
        else:
            kept = mono.copy()
        self._pieces.append((start, kept))
        self._held += len(kept)
        while self._pieces and self._held - len(self._pieces[0][1]) >= self._capacity:
            self._held -= len(self._pieces.popleft()[1])

    def between(self, start: int, end: int) -> Sound:
        """Return the samples kept from ``start`` to before ``end``, int16 or float32 (n,), with gaps left out."""
        found = [piece[max(0, start - at) : max(0, end - at)] for at, piece in self._pieces if at < end]
        return np.concatenate([np.zeros(0, self._dtype), *found])
