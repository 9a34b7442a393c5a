"""Levels and faults of a source, plainly: a tenth of a second at a time, all of the last 10 s looked at each time.

What :mod:`humwatch.source.health` and :mod:`humwatch.audio.levels` say has to be what this says, however sound
comes. The clock and the texts of faults are shared with them; how sound is cut, measured and looked back on is not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from humwatch.arrays import Float32, Int64
from humwatch.audio.quality import (
    CLIP_LEVEL,
    clipping,
    dbfs,
    missing_band,
    off_centre,
    silence,
    standstill,
    unusual_level,
)
from humwatch.audio.sound_blocks import BLOCKS_A_SECOND, HELD_FLOOR_DBFS, HELD_SECONDS, HELD_STEPS
from humwatch.source.clock import SourceClock
from humwatch.source.health import (
    CLOCK_DRIFT,
    FLAT_PEAK,
    HELD_STRETCHES,
    LEAST_SOUND_S,
    MOST_BLOCKS,
    WINDOW_S,
    WRONG_RATE,
    FaultReport,
    SourceFault,
)


@dataclass(frozen=True)
class PlainStretches:
    """Stretches of one value, in the order of the sound.

    Attributes:
        values: float32 (k,), of each stretch.
        lengths: int64 (k,), samples so far, those of earlier pushes included.
        carried: samples of the first stretch that earlier pushes brought.
    """

    values: Float32
    lengths: Int64
    carried: int


class PlainStretchCounter:
    """Cuts samples into stretches of one value; remembers the one that goes on."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stretch that goes on."""
        self._value = math.nan  # differs from all
        self._length = 0

    def push(self, samples: Float32) -> PlainStretches:
        """Take mono samples, float32 (n,), n > 0; return the stretches that they are part of."""
        edges = np.flatnonzero(samples[1:] != samples[:-1]) + 1
        starts = np.concatenate([[0], edges])
        lengths = np.diff(np.append(starts, samples.size))
        carried = self._length if float(samples[0]) == self._value else 0
        lengths[0] += carried
        self._value, self._length = float(samples[-1]), int(lengths[-1])
        return PlainStretches(samples[starts], lengths, carried)


class PlainLevels:
    """Mono samples in, the level of each finished second out; keeps the second that is not finished.

    Seconds are counted from the first sample, and a level is computed once its second is whole, so that every
    chunking of the same samples gives the same numbers.
    """

    def __init__(self, rate_hz: int) -> None:
        self._second = np.zeros(rate_hz, np.float32)
        self._held = 0

    def reset(self) -> None:
        """Forget the second that is not finished."""
        self._held = 0

    def push(self, mono: Float32) -> list[float]:
        """Take mono samples in [-1, 1], float32 (n,); return the level of each second that they finish.

        Returns:
            Levels in dBFS, each without the mean of its second.
        """
        levels = []
        taken = 0
        while taken < mono.size:
            piece = mono[taken : taken + self._second.size - self._held]
            self._second[self._held : self._held + piece.size] = piece
            self._held += piece.size
            taken += piece.size
            if self._held == self._second.size:
                levels += self.flush()
        return levels

    def flush(self) -> list[float]:
        """Return the level of what is held, dBFS, if anything, as of a shorter second; forget it."""
        held = self._second[: self._held]
        self.reset()
        return [dbfs(float(np.var(held, dtype=np.float64)))] if held.size else []


@dataclass(frozen=True)
class _Block:
    """What a tenth of a second leaves; ``held`` are the values of long stretches that were found in it."""

    end: int
    n: int
    sum: float
    sum_squares: float
    clipped: int
    low: float
    high: float
    step: float
    longest: int
    held: tuple[float, ...]


@dataclass(frozen=True)
class _Loss:
    """Samples that never came, before the sample ``at``."""

    at: int
    samples: int
    overflows: int


class _Sums:
    """Blocks taken together."""

    def __init__(self, blocks: Collection[_Block]) -> None:
        self.n = sum(block.n for block in blocks)
        total = sum(block.sum for block in blocks)
        self.mean = total / max(1, self.n)
        mean_square = sum(block.sum_squares for block in blocks) / max(1, self.n)
        self.level_dbfs = dbfs(mean_square - self.mean**2)
        self.clipped_share = sum(block.clipped for block in blocks) / max(1, self.n)


class PlainHealth:
    """Mono samples, gaps and clock pairs in, the faults of the last 10 s out; keeps sums, no sound but 0.1 s.

    A fault is named within 30 s of its beginning and goes away by itself: ``silent`` with the first tenth of a second
    of sound, a wrong rate or drift once the clock's pairs of 25 s say otherwise, all others within 10 s of sound
    after their end, when nothing of them is left in the window. ``bandwidth_limited`` lasts as long as the rate.

    What cannot be found: samples that were lost and not counted, but by the clock; a driver that fills holes with
    sound it had sent before; filled holes that are shorter or rarer than ``HELD_SECONDS`` and ``HELD_STRETCHES``.
    """

    def __init__(self, *, rate_hz: int, needed_hz: float, level_dbfs_low: float, level_dbfs_high: float) -> None:
        """Watch a source.

        Args:
            rate_hz: that it declares.
            needed_hz: highest band edge that the model listens to.
            level_dbfs_low: level of the quietest calibration clip.
            level_dbfs_high: level of the loudest.
        """
        self._rate_hz = rate_hz
        self._unheard = missing_band(rate_hz, needed_hz)
        self._clock = SourceClock(rate_hz)
        self.calibrated(level_dbfs_low, level_dbfs_high)
        self.reset()

    def calibrated(self, level_dbfs_low: float, level_dbfs_high: float) -> None:
        """Compare levels with those of another calibration from now on."""
        self._levels_dbfs = level_dbfs_low, level_dbfs_high
        self._faults: tuple[FaultReport, ...] | None = None

    def reset(self) -> None:
        """Start anew, as for a new stream of the same rate."""
        self._open = np.zeros(max(1, self._rate_hz // BLOCKS_A_SECOND), np.float32)
        self._held = 0
        self._position = 0
        self._blocks: deque[_Block] = deque(maxlen=MOST_BLOCKS)
        self._losses: deque[_Loss] = deque(maxlen=MOST_BLOCKS)
        self._stretches = PlainStretchCounter()
        self._clock.reset()
        self._faults = None

    def push(self, mono: Float32) -> None:
        """Take mono samples in [-1, 1], float32 (n,). What they say counts once a tenth of a second is full."""
        taken = 0
        while taken < mono.size:
            piece = mono[taken : taken + self._open.size - self._held]
            self._open[self._held : self._held + piece.size] = piece
            self._held += piece.size
            taken += piece.size
            if self._held == self._open.size:
                self._close_block()

    def gap(self, samples: int) -> None:
        """``samples`` never came, by the count of the stream."""
        self._lost(samples, overflows=0)

    def overflow(self, count: int) -> None:
        """The sound card lost samples ``count`` times; nobody knows how many."""
        self._lost(0, overflows=count)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample, and when it was taken by a clock that runs evenly, seconds of any origin."""
        self._clock.push(sample, time_s)
        self._faults = None

    @property
    def rate_known(self) -> bool:
        """Whether a clock has told by now how fast samples come."""
        return self._clock.rate is not None

    def faults(self) -> tuple[FaultReport, ...]:
        """What is wrong now, what leaves nothing to say first."""
        if self._faults is None:
            self._faults = tuple(FaultReport(code, text) for code, text in self._texts() if text is not None)
        return self._faults

    def _lost(self, samples: int, overflows: int) -> None:
        if self._held:
            self._close_block()
        self._position += samples
        self._losses.append(_Loss(self._position, samples, overflows))
        self._stretches.reset()
        self._clock.reset()
        self._forget_the_old()

    def _close_block(self) -> None:
        samples = self._open[: self._held]
        self._held = 0
        self._position += samples.size
        stretches = self._stretches.push(samples)
        wide = samples.astype(np.float64)
        moves = np.abs(np.diff(wide))
        self._blocks.append(
            _Block(
                end=self._position,
                n=samples.size,
                sum=float(wide.sum()),
                sum_squares=float(wide @ wide),
                clipped=int(np.count_nonzero(np.abs(samples) >= CLIP_LEVEL)),
                low=float(samples.min()),
                high=float(samples.max()),
                step=float(moves.min(where=moves > 0, initial=np.inf)),
                longest=int(stretches.lengths.max()),
                held=self._held_values(stretches),
            )
        )
        self._forget_the_old()

    def _held_values(self, stretches: PlainStretches) -> tuple[float, ...]:
        """Values of the stretches that have just become suspiciously long, behind sound that moved."""
        if not self._blocks or not _moves(self._blocks[-1]):
            return ()
        long = self._rate_hz * HELD_SECONDS
        grown = stretches.lengths >= long
        grown[0] &= stretches.carried < long  # otherwise counted in the block before
        return tuple(stretches.values[grown].tolist())

    def _forget_the_old(self) -> None:
        oldest = self._position - WINDOW_S * self._rate_hz
        while self._blocks and self._blocks[0].end <= oldest:
            self._blocks.popleft()
        while self._losses and self._losses[0].at <= oldest:
            self._losses.popleft()
        self._faults = None

    def _texts(self) -> Iterator[tuple[SourceFault, str | None]]:
        """What to say of each fault, None where there is none; in the order of ``SourceFault``."""
        window = _Sums(self._blocks)
        heard = window.n >= LEAST_SOUND_S * self._rate_hz
        silent = silence(self._latest().level_dbfs) if heard else None
        clock, clock_text = self._clock_fault()
        yield "bandwidth_limited", self._unheard
        yield "silent", silent
        yield "stuck", standstill(max((block.longest for block in self._blocks), default=0) / self._rate_hz)
        yield "drop_outs", self._missing()
        yield "wrong_rate", clock_text if clock == "wrong_rate" else None
        yield "clipped", clipping(window.clipped_share) if heard else None
        yield "dc_offset", off_centre(window.mean) if heard else None
        yield "level_unusual", unusual_level(window.level_dbfs, *self._levels_dbfs) if heard and not silent else None
        yield "clock_drift", clock_text if clock == "clock_drift" else None

    def _latest(self) -> _Sums:
        """Of the newest sound, as much as shares and levels need."""
        latest: list[_Block] = []
        wanted = LEAST_SOUND_S * self._rate_hz
        for block in reversed(self._blocks):
            if wanted <= 0:
                break
            latest.append(block)
            wanted -= block.n
        return _Sums(latest)

    def _missing(self) -> str | None:
        held = self._held_stretches()
        gaps = [loss.samples for loss in self._losses if loss.samples]
        overflows = sum(loss.overflows for loss in self._losses)
        parts = [
            f"{len(gaps)} gap(s) of {sum(gaps) / self._rate_hz:.2f} s together" if gaps else "",
            f"{overflows} overflow(s) of the sound card" if overflows else "",
            f"{held} stretches of one value for {HELD_SECONDS * 1000:.0f} ms or more" if held >= HELD_STRETCHES else "",
        ]
        found = [part for part in parts if part]
        return f"sound is missing from the last {WINDOW_S:.0f} s: {', '.join(found)}" if found else None

    def _held_stretches(self) -> int:
        """Long stretches of one value in the window that are neither crests nor flat peaks."""
        values = [value for block in self._blocks for value in block.held]
        if not values:
            return 0
        low, high = min(block.low for block in self._blocks), max(block.high for block in self._blocks)
        margin = FLAT_PEAK * (high - low)
        return sum(value == 0.0 or low + margin < value < high - margin for value in values)

    def _clock_fault(self) -> tuple[SourceFault | None, str]:
        rate = self._clock.rate
        if rate is None or not rate.is_off(CLOCK_DRIFT):
            return None, ""
        text = (
            f"{rate.ratio * self._rate_hz:.0f} samples a second come by the clock, {self._rate_hz} Hz were declared"
            f" ({rate.ratio - 1.0:+.2%})"
        )
        return "wrong_rate" if rate.is_off(WRONG_RATE) else "clock_drift", text


def _moves(block: _Block) -> bool:
    """Whether a block is of sound that does not stand still by rounding."""
    level_dbfs = _Sums([block]).level_dbfs
    return level_dbfs >= HELD_FLOOR_DBFS and 10 ** (level_dbfs / 20) >= HELD_STEPS * block.step
