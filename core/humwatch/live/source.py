"""What is known of the source of a live stream: its level and its faults, and whether its machine runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import MIN_DBFS, dbfs
from humwatch.audio.sound_blocks import BLOCKS_A_SECOND, SoundBlock
from humwatch.run_state import RunState
from humwatch.scoring.calibration import Calibration
from humwatch.source.health import WINDOW_S, FaultReport, SourceHealth

Float32 = npt.NDArray[np.float32]


class Quantum(NamedTuple):
    """A tenth of a second that has been followed.

    Attributes:
        stop: one past its last sample, among those that were given.
        second_over: whether a second of levels is over in it.
    """

    stop: int
    second_over: bool


class LiveSource:
    """Mono samples, gaps, signals and clock pairs in, what is known of the source out.

    Sound is followed in quanta that are counted from the start of the stream. Many are measured at once, and each
    counts by itself, so that whoever follows knows at each what was known when it was over.
    """

    def __init__(
        self, health: SourceHealth, calibration: Calibration, *, rate_hz: int, position: int, use_level: bool
    ) -> None:
        """Follow from a sample on.

        Args:
            health: of the source.
            calibration: that says by which level the machine runs.
            rate_hz: of the samples.
            position: index of the first sample that comes.
            use_level: whether the level tells if the machine runs.
        """
        self.quantum_samples: Final = max(1, rate_hz // BLOCKS_A_SECOND)
        self.position = position
        self.level_dbfs = MIN_DBFS
        self.rate_known = False
        self._rate_hz = rate_hz
        self._health = health
        self._levels = SecondLevels(rate_hz)
        self._use_level = use_level
        self._run = RunState(calibration.run_gate if use_level else None)
        self._said_to_stand = False
        self._level_counts_from = position

    @property
    def faults(self) -> tuple[FaultReport, ...]:
        """What is wrong with the source now."""
        found = self._health.faults()
        if self.position >= self._level_counts_from:
            return found
        return tuple(fault for fault in found if fault.code != "level_unusual")

    @property
    def deaf(self) -> bool:
        """Whether nothing of the machine is in what comes now; see :attr:`SourceHealth.deaf`."""
        return self._health.deaf

    @property
    def running(self) -> bool | None:
        """Whether the machine runs; None when it is not known yet."""
        return self._run.running

    @property
    def stopping(self) -> bool:
        """Whether the machine may be about to stand."""
        return self._run.stopping

    @property
    def samples_until_stand(self) -> int | None:
        """Samples until a second is over of which it may be told that the machine stood; None if it will not."""
        return self._levels.samples_left if self._run.may_stand else None

    def follow(self, mono: Float32) -> Iterator[Quantum]:
        """Take float32 (n,), whole quanta or the part of one that is left before a gap or the end; yield each."""
        blocks: list[SoundBlock | None] = [*self._health.measure(mono)] or [None]  # a part of a quantum is no block
        second_end = self._levels.samples_left
        levels = deque(self._levels.push(mono))
        end = 0
        for block in blocks:
            start, end = end, min(end + self.quantum_samples, len(mono))
            if block is not None:
                self._health.take(block)
            level_dbfs = dbfs(float(np.var(mono, dtype=np.float64))) if block is None else block.level_dbfs
            self._run.glance(level_dbfs, (end - start) / self._rate_hz)
            second_over = second_end <= end
            while second_end <= end:
                self.level_dbfs = levels.popleft()
                self._run.push(self.level_dbfs)
                second_end += self._rate_hz
            self.position += end - start
            self.rate_known = self.rate_known or self._health.rate_known
            if self._said_to_stand:  # what is quiet by order is no fault, and is looked back on for a while
                self._level_counts_from = self.position + round(WINDOW_S * self._rate_hz)
            yield Quantum(end, second_over)

    def gap(self, samples: int) -> None:
        """``samples`` never came."""
        self._health.gap(samples)
        self._levels.reset()
        self.position += samples

    def overflow(self, count: int) -> None:
        """The sound card lost samples that nobody counted."""
        self._health.overflow(count)

    def clock(self, sample: int, time_s: float) -> None:
        """When a sample was taken, by a clock that runs evenly."""
        self._health.clock(sample, time_s)

    def signal(self, running: bool | None) -> None:
        """Whether the machine runs, from who knows it; None leaves it to the level again."""
        self._said_to_stand = running is False
        self._run.signal(running)

    def calibrated(self, calibration: Calibration) -> None:
        """Go on with the levels of another calibration."""
        self._health.calibrated(calibration.level_dbfs_low, calibration.level_dbfs_high)
        if self._use_level:
            self._run.change_gate(calibration.run_gate)
