"""State of the source of a live stream: its level, its faults, and the machine's running state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import MIN_DBFS, dbfs
from humwatch.audio.sound_blocks import BLOCKS_A_SECOND, SoundBlock
from humwatch.run_state import RunGate, RunState
from humwatch.source.faults import FaultReport
from humwatch.source.health import SourceHealth
from humwatch.source.sound_window import WINDOW_S


class Quantum(NamedTuple):
    """A tenth of a second that has been followed.

    Attributes:
        start: index of its first sample, among those that were given.
        stop: index one past its last sample.
        second_over: True if a second of levels ends in it.
    """

    start: int
    stop: int
    second_over: bool


class SourceMonitor:
    """Mono samples, gaps, signals and clock pairs in, the state of the source out.

    Sound is followed in quanta that are counted from the start of the stream. Many are measured at once, but each
    changes the state by itself, so that the caller sees at each quantum the state at its end.
    """

    def __init__(
        self, health: SourceHealth, *, rate_hz: int, position: int = 0, run_gate: RunGate | None = None
    ) -> None:
        """Follow a source.

        Args:
            health: health of the source.
            rate_hz: sample rate, Hz.
            position: index of the first sample.
            run_gate: levels by which the machine starts and stops; None leaves that to :meth:`signal` alone.
        """
        self.quantum_samples: Final = max(1, rate_hz // BLOCKS_A_SECOND)
        self.position = position
        self.level_dbfs = MIN_DBFS
        self.rate_known = False
        self._rate_hz = rate_hz
        self._health = health
        self._levels = SecondLevels(rate_hz)
        self._run = RunState(run_gate)
        self._signalled_off = False
        self._level_counts_from = position

    @property
    def faults(self) -> tuple[FaultReport, ...]:
        """Present faults of the source."""
        found = self._health.faults()
        if self.position >= self._level_counts_from:
            return found
        return tuple(fault for fault in found if fault.code != "level_unusual")

    @property
    def unusable(self) -> bool:
        """True while nothing of the machine is in the sound; see :attr:`SourceHealth.unusable`."""
        return self._health.unusable

    @property
    def running(self) -> bool | None:
        """True while the machine runs; None until that is known."""
        return self._run.running

    @property
    def stopping(self) -> bool:
        """True while the machine may be about to stop."""
        return self._run.stopping

    @property
    def quiet_s(self) -> float:
        """Seconds for which it has been so quiet that the machine may be about to stop."""
        return self._run.quiet_s

    @property
    def samples_until_off(self) -> int | None:
        """Samples up to the end of the second that may show the machine off; None if that second cannot."""
        return self._levels.samples_left if self._run.may_be_off else None

    def follow(self, mono: Float32) -> Iterator[Quantum]:
        """Follow samples and yield their quanta, each once the state is that at its end.

        Args:
            mono: float32 (n,), whole quanta, or the part of one that is left before a gap or the end.
        """
        blocks: list[SoundBlock | None] = [*self._health.measure(mono)] or [None]  # a part of a quantum is no block
        second_end = self._levels.samples_left
        levels = deque(self._levels.push(mono))
        end = 0
        for block in blocks:
            start, end = end, min(end + self.quantum_samples, len(mono))
            if block is not None:
                self._health.add(block)
            level_dbfs = dbfs(float(np.var(mono, dtype=np.float64))) if block is None else block.level_dbfs
            self._run.push_part(level_dbfs, (end - start) / self._rate_hz)
            second_over = second_end <= end
            while second_end <= end:
                self.level_dbfs = levels.popleft()
                self._run.push(self.level_dbfs)
                second_end += self._rate_hz
            self.position += end - start
            self.rate_known = self.rate_known or self._health.rate_known
            if self._signalled_off:  # a machine that is off on purpose is quiet without a fault
                self._level_counts_from = self.position + round(WINDOW_S * self._rate_hz)
            yield Quantum(start, end, second_over)

    def finish(self) -> None:
        """Count the rest of the sound; the stream is over."""
        self._health.finish()

    def elsewhere(self, alive: str | None) -> None:
        """Take the message that names another channel that is alive, for as long as this one is silent."""
        self._health.elsewhere(alive)

    def hear(self, windows: Float32) -> None:
        """Take the windows of the last step, float32 (n, frames, n_mels), dB."""
        self._health.hear(windows)

    def gap(self, samples: int) -> None:
        """Skip ``samples`` samples that never came."""
        self._health.gap(samples)
        self._levels.reset()
        self.position += samples

    def overflow(self, count: int) -> None:
        """Count ``count`` losses of samples in the sound card, each of unknown length."""
        self._health.overflow(count)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time of its capture, by a clock that runs evenly, s."""
        self._health.clock(sample, time_s)

    def signal(self, running: bool | None) -> None:
        """Set the running state from outside; None leaves it to the level again."""
        self._signalled_off = running is False
        self._run.signal(running)

    def recalibrate(
        self,
        level_dbfs_low: float,
        level_dbfs_high: float,
        run_gate: RunGate | None,
        *,
        normal_db: Float64 | None = None,
    ) -> None:
        """Go on with the usual levels of another calibration, dBFS, with its gate, and with its spectrum."""
        self._health.calibrated(level_dbfs_low, level_dbfs_high)
        self._health.spectrum_calibrated(normal_db)
        self._run.change_gate(run_gate)
