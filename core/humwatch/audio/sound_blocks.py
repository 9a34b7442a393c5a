"""Statistics of a tenth of a second of sound: sums, extremes, and the stretches of one value that reach into it."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.quality import CLIP_LEVEL, SILENT_DBFS, StretchFinder, dbfs

BLOCKS_A_SECOND: Final = 10

HELD_SECONDS: Final = 0.005
HELD_FLOOR_DBFS: Final = SILENT_DBFS + 15.0
HELD_STEPS: Final = 16.0
"""Stretches are looked for behind sound that is at least as loud as the first and as many of its own rounding steps
(rms) as the second: -66 dBFS at 16 bits. Below, a slow wave without any hiss (25 Hz) stands still at its crests."""


class SoundBlock(NamedTuple):
    """Statistics of a block of samples.

    Attributes:
        n: number of samples.
        sum: sum of the samples.
        sum_squares: sum of their squares.
        clipped: number of samples at full scale.
        low: lowest sample.
        high: highest sample.
        longest: samples of the longest stretch of one value at its end or before, with those before the block;
            0 when none lasts for ``HELD_SECONDS``.
        held: values of the stretches that reached ``HELD_SECONDS`` in the block, behind a block of sound that moved.
    """

    n: int
    sum: float
    sum_squares: float
    clipped: int
    low: float
    high: float
    longest: int
    held: tuple[float, ...]

    @property
    def level_dbfs(self) -> float:
        """Level without the mean, dBFS."""
        mean = self.sum / self.n
        return dbfs(self.sum_squares / self.n - mean**2)


class BlockMeter:
    """Mono samples in, a block for each tenth of a second out; keeps less than two blocks of sound.

    A block is measured by itself, many at a time: every chunking of the same samples gives the same numbers.
    """

    def __init__(self, rate_hz: int) -> None:
        self._size = max(1, rate_hz // BLOCKS_A_SECOND)
        self._least = max(1, math.ceil(rate_hz * HELD_SECONDS))
        self._finder = StretchFinder(self._least)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._open: Float32 = np.zeros(0, np.float32)
        self._last: Float32 | None = None
        self._finder.reset()

    def push(self, mono: Float32) -> list[SoundBlock]:
        """Take mono samples in [-1, 1], float32 (n,); return the blocks that they fill."""
        held = np.concatenate([self._open, mono])
        whole = held.size // self._size * self._size
        self._open = held[whole:].copy()
        return self._measured(held[:whole], self._size) if whole else []

    def flush(self) -> list[SoundBlock]:
        """Return the samples held as a shorter block, if any; no stretch goes on in the next samples."""
        rest, self._open = self._open, np.zeros(0, np.float32)
        blocks = self._measured(rest, rest.size) if rest.size else []
        self._finder.reset()
        return blocks

    def _measured(self, mono: Float32, size: int) -> list[SoundBlock]:
        rows = mono.reshape(-1, size)  # (blocks, samples)
        wide = rows.astype(np.float64)
        low, high = rows.min(axis=1), rows.max(axis=1)
        clipped = np.zeros(len(rows), np.int64)
        if not (low.min() > -CLIP_LEVEL and high.max() < CLIP_LEVEL):
            clipped = np.count_nonzero(np.abs(rows) >= CLIP_LEVEL, axis=1)
        longest, held = self._stretches(rows)
        self._last = rows[-1].copy()
        numbers = (wide.sum(axis=1), np.vecdot(wide, wide), clipped, low, high)
        columns = [column.tolist() for column in numbers]
        return [SoundBlock(size, *row) for row in zip(*columns, longest, held, strict=True)]

    def _stretches(self, rows: Float32) -> tuple[list[int], list[tuple[float, ...]]]:
        """Return ``longest`` and ``held`` of :class:`SoundBlock` for each of some blocks, float32 (blocks, samples)."""
        blocks, size = rows.shape
        longest = [0] * blocks
        held: list[tuple[float, ...]] = [()] * blocks
        for value, start, end in self._finder.push(rows.ravel()):
            for block in range(max(0, start) // size, (end - 1) // size + 1):
                longest[block] = max(longest[block], min(end, (block + 1) * size) - start)
            became_long = start + self._least - 1
            if became_long >= 0 and self._is_behind_movement(rows, became_long // size):
                held[became_long // size] += (value,)
        return longest, held

    def _is_behind_movement(self, rows: Float32, block: int) -> bool:
        """Return True if the sound of the block before this one moves by more than rounding."""
        before = rows[block - 1] if block else self._last
        return before is not None and _moves(before.astype(np.float64))


def _moves(wide: Float64) -> bool:
    level_dbfs = dbfs(float(wide @ wide) / wide.size - (float(wide.sum()) / wide.size) ** 2)
    steps = np.abs(np.diff(wide))
    smallest = float(steps.min(where=steps > 0, initial=np.inf))
    return level_dbfs >= HELD_FLOOR_DBFS and 10 ** (level_dbfs / 20) >= HELD_STEPS * smallest
