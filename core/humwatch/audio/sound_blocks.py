"""Statistics of a tenth of a second of sound: sums, extremes, and the stretches of one value that reach into it."""

from __future__ import annotations

import math
from collections.abc import Collection
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.quality import CLIP_LEVEL, MIN_DBFS, SILENT_DBFS, Stretch, StretchFinder, level_dbfs
from humwatch.audio.still_holes import StillHoles

BLOCKS_A_SECOND: Final = 10

HELD_SECONDS: Final = 0.005
HELD_FLOOR_DBFS: Final = SILENT_DBFS + 15.0
HELD_STEPS: Final = 16.0
"""Stretches are looked for behind sound that is at least as loud as the first and as many of its own rounding steps
(rms) as the second: -66 dBFS at 16 bits. Below, a slow wave without any hiss (25 Hz) stands still at its crests."""


HOLE_SECONDS: Final = 0.02
"""So long a stretch of one value, beside sound that moved, is a drop-out by itself. Shorter ones leave scores as they
are, from 25 ms on they raise alarms; no recording of a machine stood still for 1 ms, 40 dB quieter none for 3 ms."""
BESIDE_SECONDS: Final = 0.01
BESIDE_SAMPLES: Final = 160
"""Sound right beside a hole that has to move: where it decays to nothing, as behind a noise gate, it does not."""
FLAT_DROP: Final = 4.0
"""A flat top falls to its sides by so many steps of the samples: the crest of a slow wave falls by one."""


class Hole(NamedTuple):
    """A stretch of one value, or of rounding noise, for ``HOLE_SECONDS`` or more, beside sound that moved.

    Attributes:
        value: value of its samples; 0 of rounding noise.
        start: index of its first sample in the block; negative where it began before.
        samples: its length so far, samples.
        beside_dbfs: level of the sound right beside it.
    """

    value: float
    start: int
    samples: int
    beside_dbfs: float


class SoundBlock(NamedTuple):
    """Statistics of a block of samples.

    Attributes:
        n: number of samples.
        sum: sum of the samples.
        sum_squares: sum of their squares.
        clipped: number of samples at full scale; none where samples have no full scale.
        low: lowest sample.
        high: highest sample.
        longest: samples of the longest stretch of one value at its end or before, with those before the block;
            0 when none lasts for ``HELD_SECONDS``.
        held: values of the stretches that reached ``HELD_SECONDS`` in the block, behind a block of sound that moved.
        flat: samples on flat tops at the lowest and at the highest sample; none where samples have a full scale.
        holes: holes that reach into the block.
        beside: level right before each of the stretches ``held``, dBFS.
    """

    n: int
    sum: float
    sum_squares: float
    clipped: int
    low: float
    high: float
    longest: int
    held: tuple[float, ...]
    flat: tuple[int, int] = (0, 0)
    holes: tuple[Hole, ...] = ()
    beside: tuple[float, ...] = ()

    @property
    def level_dbfs(self) -> float:
        """Level without the mean, dBFS."""
        return level_dbfs(self.n, self.sum, self.sum_squares)


_SUMMED: Final = tuple(attrgetter(name) for name in ("n", "sum", "sum_squares", "clipped"))

_FLAT: Final = attrgetter("flat")


class SoundSums:
    """Statistics over several blocks.

    Attributes:
        n: number of samples.
        mean: mean of the samples.
        level_dbfs: level without the mean.
        clipped_share: share of samples at full scale, or on flat tops at the lowest and highest sample of all.
    """

    def __init__(self, blocks: Collection[SoundBlock]) -> None:
        n, total, squares, clipped = (sum(map(part, blocks)) for part in _SUMMED)
        self.n = n
        self.mean = total / max(1, n)
        self.level_dbfs = level_dbfs(n, total, squares)
        if max(map(_FLAT, blocks), default=(0, 0)) != (0, 0):
            low, high = min(block.low for block in blocks), max(block.high for block in blocks)
            clipped += sum(block.flat[0] for block in blocks if block.low == low)
            clipped += sum(block.flat[1] for block in blocks if block.high == high)
        self.clipped_share = clipped / max(1, n)


class BlockMeter:
    """Mono samples in, a block for each tenth of a second out; keeps less than two blocks of sound.

    A block is measured by itself, many at a time: every chunking of the same samples gives the same numbers.
    """

    def __init__(self, rate_hz: int, *, full_scale: bool = True) -> None:
        """Measure one stream or recording.

        Args:
            rate_hz: sample rate, Hz.
            full_scale: whether samples have a full scale, as integers have; else flat tops are looked for.
        """
        self._full_scale = full_scale
        self._size = max(1, rate_hz // BLOCKS_A_SECOND)
        self._least = max(1, math.ceil(rate_hz * HELD_SECONDS))
        self._hole = max(2, math.ceil(rate_hz * HOLE_SECONDS))
        self._beside = min(self._size, max(BESIDE_SAMPLES, math.ceil(rate_hz * BESIDE_SECONDS)))
        self._finder = StretchFinder(self._least)
        self._still_holes = StillHoles(rate_hz, least=self._hole)
        self.silent_below(SILENT_DBFS)
        self.reset()

    def silent_below(self, level_dbfs: float) -> None:
        """Take the level below which no machine can be heard, dBFS: for holes that are filled with rounding noise."""
        self._still_holes.silent_below(level_dbfs)

    def reset(self) -> None:
        """Forget all samples."""
        self._open: Float32 = np.zeros(0, np.float32)
        self._last: Float32 | None = None
        self._finder.reset()
        self._still_holes.reset()
        self._measured_samples = 0
        self._goes_on: tuple[float | None] | None = None
        self._first: Stretch | None = None

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
        self._still_holes.reset()
        return blocks

    def _measured(self, mono: Float32, size: int) -> list[SoundBlock]:
        rows = mono.reshape(-1, size)  # (blocks, samples)
        wide = rows.astype(np.float64)
        low, high = rows.min(axis=1), rows.max(axis=1)
        clipped = np.zeros(len(rows), np.int64)
        if self._full_scale and not (low.min() > -CLIP_LEVEL and high.max() < CLIP_LEVEL):
            clipped = np.count_nonzero(np.abs(rows) >= CLIP_LEVEL, axis=1)
        longest, held, holes, beside = self._stretches(rows)
        self._last = rows[-1].copy()
        self._measured_samples += mono.size
        numbers = (wide.sum(axis=1), np.vecdot(wide, wide), clipped, low, high)
        columns = [column.tolist() for column in numbers]
        flat = [(0, 0)] * len(rows) if self._full_scale else [_flat_tops(row) for row in rows]
        return [SoundBlock(size, *row) for row in zip(*columns, longest, held, flat, holes, beside, strict=True)]

    def _stretches(
        self, rows: Float32
    ) -> tuple[list[int], list[tuple[float, ...]], list[tuple[Hole, ...]], list[tuple[float, ...]]]:
        """Return ``longest``, ``held``, ``holes`` and ``beside`` of each of some blocks, float32 (blocks, samples)."""
        blocks, size = rows.shape
        longest = [0] * blocks
        held: list[tuple[float, ...]] = [()] * blocks
        holes: list[tuple[Hole, ...]] = [()] * blocks
        beside: list[tuple[float, ...]] = [()] * blocks
        goes_on, self._goes_on = self._goes_on, None
        for found in self._finder.push(rows.ravel()):
            value, start, end = found
            for block in range(max(0, start) // size, (end - 1) // size + 1):
                longest[block] = max(longest[block], min(end, (block + 1) * size) - start)
            became_long = start + self._least - 1
            if became_long >= 0 and self._is_behind_movement(rows, became_long // size):
                before_dbfs = self._moving_before(rows, start)
                if before_dbfs is not None and before_dbfs >= HELD_FLOOR_DBFS:
                    held[became_long // size] += (value,)
                    beside[became_long // size] += (before_dbfs,)
            if self._measured_samples + start == 0:  # whether sound moves beside it is not known yet
                self._first, beside_dbfs = Stretch(value, 0, self._measured_samples + end), None
            elif start < 0 and goes_on is not None:
                (beside_dbfs,) = goes_on
            else:
                beside_dbfs = self._moving_before(rows, start)
            if beside_dbfs is not None:
                self._add_hole(holes, found, size, beside_dbfs)
            if end == rows.size:
                self._goes_on = (beside_dbfs,)
        self._add_first_hole(holes, rows)
        for found, beside_dbfs in self._still_holes.push(rows.ravel()):
            self._add_hole(holes, found, size, beside_dbfs)
        return longest, held, holes, beside

    def _add_hole(self, holes: list[tuple[Hole, ...]], found: Stretch, size: int, beside_dbfs: float) -> None:
        for block in range(max(0, found.start) // size, (found.end - 1) // size + 1):
            samples = min(found.end, (block + 1) * size) - found.start
            if samples >= self._hole:
                holes[block] += (Hole(found.value, found.start - block * size, samples, beside_dbfs),)

    def _moving_before(self, rows: Float32, start: int) -> float | None:
        """Return the level right before a sample, counted from the first of the blocks; None where nothing moves."""
        before = self._with_last(rows)
        end = before.size - rows.size + start
        return _moving_dbfs(before[max(0, end - self._beside) : end].astype(np.float64))

    def _add_first_hole(self, holes: list[tuple[Hole, ...]], rows: Float32) -> None:
        """Add the stretch at the start of all sound to the block that shows that sound moves behind it."""
        first, size = self._first, rows.shape[1]
        if first is None or self._measured_samples + rows.size < first.end + self._beside:
            return
        self._first = None
        around = self._with_last(rows)
        end = around.size - rows.size + first.end - self._measured_samples
        beside_dbfs = _moving_dbfs(around[end : end + self._beside].astype(np.float64))
        if first.end >= self._hole and beside_dbfs is not None:
            block = max(0, first.end + self._beside - self._measured_samples - 1) // size
            holes[block] += (Hole(first.value, -self._measured_samples - block * size, first.end, beside_dbfs),)

    def _with_last(self, rows: Float32) -> Float32:
        return rows.ravel() if self._last is None else np.concatenate([self._last, rows.ravel()])

    def _is_behind_movement(self, rows: Float32, block: int) -> bool:
        """Return True if the sound of the block before this one moves by more than rounding."""
        before = rows[block - 1] if block else self._last
        return before is not None and (_moving_dbfs(before.astype(np.float64)) or MIN_DBFS) >= HELD_FLOOR_DBFS


def _moving_dbfs(wide: Float64) -> float | None:
    """Return the level of samples that move by more than their rounding; None for others."""
    if wide.size < 2:
        return None
    moving_dbfs = level_dbfs(wide.size, float(wide.sum()), float(wide @ wide))
    steps = np.abs(np.diff(wide))
    smallest = float(steps.min(where=steps > 0, initial=np.inf))
    return moving_dbfs if 10 ** (moving_dbfs / 20) >= HELD_STEPS * smallest else None


def _flat_tops(row: Float32) -> tuple[int, int]:
    """Return the numbers of samples at the lowest and the highest value of a block, but for those of slow crests."""
    return _flat_top(-row), _flat_top(row)


def _flat_top(row: Float32) -> int:
    top = row == row.max()
    if top.all():
        return 0
    steps = np.abs(np.diff(row))
    falls = steps[top[1:] != top[:-1]]
    smallest = steps[steps > 0].min()
    return int(np.count_nonzero(top)) if float(np.median(falls)) >= FLAT_DROP * float(smallest) else 0
