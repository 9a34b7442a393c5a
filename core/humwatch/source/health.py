"""Health of a live source: present faults of its sound, its count and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from humwatch.arrays import Float32, Float64
from humwatch.audio.band_limit import BandLimit
from humwatch.audio.quality import (
    STUCK_SECONDS,
    clipping,
    holes_text,
    missing_band,
    nothing_above,
    off_centre,
    silence,
    silent_below,
    standstill,
    unusual_level,
)
from humwatch.audio.sound_blocks import BLOCKS_A_SECOND, HELD_SECONDS, BlockMeter, SoundBlock
from humwatch.source.clock import SourceClock
from humwatch.source.faults import FaultReport, SourceFault
from humwatch.source.lost_sound import HELD_STRETCHES
from humwatch.source.sound_window import WINDOW_S, SoundWindow

LEAST_SOUND_S: Final = 3.0
"""Sound that shares and levels need; also how long silence has to last, as machines pause between strokes."""
WRONG_RATE: Final = 0.02
CLOCK_DRIFT: Final = 0.003
"""Sound cards' clocks differ by 0.01 %; 2 % moves a tone above 1 kHz by nearly a whole mel band."""


class SourceHealth:
    """Mono samples, gaps and clock pairs in, the faults of the last 10 s out; keeps sums, no sound but 0.2 s.

    A fault is named within 30 s of its beginning and goes away by itself: ``silent`` with the first tenth of a second
    of sound, a wrong rate or drift once the clock's pairs of 25 s say otherwise, all others within 10 s of sound
    after their end, when nothing of them is left in the window. ``bandwidth_limited`` lasts as long as the rate.

    What cannot be found: samples that were lost and not counted, but by the clock; a driver that fills holes with
    sound it had sent before; filled holes that are shorter than ``HOLE_SECONDS`` and rarer than ``HELD_STRETCHES``.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        needed_hz: float,
        level_dbfs_low: float,
        level_dbfs_high: float,
        full_scale: bool = True,
        band_limit: BandLimit | None = None,
    ) -> None:
        """Watch a source.

        Args:
            rate_hz: sample rate that the source declares, Hz.
            needed_hz: highest band edge that the model uses, Hz.
            level_dbfs_low: level of the quietest calibration clip.
            level_dbfs_high: level of the loudest calibration clip.
            full_scale: whether samples have a full scale, as integers have; floats may be in any unit.
            band_limit: band limit by the spectrum; None where nobody looks for it.
        """
        self._rate_hz = rate_hz
        self._needed_hz = needed_hz
        self._full_scale = full_scale
        self._missing_band = missing_band(rate_hz, needed_hz)
        self._band_limit = band_limit if self._missing_band is None else None
        self._least_sound = LEAST_SOUND_S * rate_hz
        self._meter = BlockMeter(rate_hz, full_scale=full_scale)
        self._window = SoundWindow(rate_hz)
        self._clock = SourceClock(rate_hz)
        self.calibrated(level_dbfs_low, level_dbfs_high)
        self.reset()

    def calibrated(self, level_dbfs_low: float, level_dbfs_high: float) -> None:
        """Compare levels with those of another calibration from now on."""
        self._levels_dbfs = level_dbfs_low, level_dbfs_high
        self.silent_dbfs = silent_below(level_dbfs_low, full_scale=self._full_scale)
        self._meter.silent_below(self.silent_dbfs)
        loud_samples = self._least_sound + self._rate_hz / BLOCKS_A_SECOND
        self._loud_square = 2.0 * 10 ** (self.silent_dbfs / 10) * loud_samples
        self._faults: tuple[FaultReport, ...] | None = None

    def spectrum_calibrated(self, normal_db: Float64 | None) -> None:
        """Compare the spectrum with that of another calibration from the next step on, float64 (bands,), dB."""
        if self._band_limit is not None:
            self._band_limit.calibrated(normal_db)

    def reset(self) -> None:
        """Start anew, as for a new stream of the same rate."""
        self._meter.reset()
        if self._band_limit is not None:
            self._band_limit.reset()
        self._window.reset()
        self._since_loud = 0
        self._alive: str | None = None
        self._clock.reset()
        self._faults = None

    def push(self, mono: Float32) -> None:
        """Take mono samples in [-1, 1], float32 (n,); they count once a tenth of a second is full."""
        for block in self.measure(mono):
            self.add(block)

    def measure(self, mono: Float32) -> list[SoundBlock]:
        """Measure mono samples without counting them; :meth:`add` counts each block, for the faults along the way.

        Returns:
            Blocks of each tenth of a second that is full, counted from the start of the stream or the last gap.
        """
        return self._meter.push(mono)

    def add(self, block: SoundBlock) -> None:
        """Count the next measured block."""
        self._window.add(block)
        is_loud = block.sum_squares - block.sum**2 / block.n > self._loud_square
        self._since_loud = 0 if is_loud else self._since_loud + block.n
        self._faults = None

    def hear(self, windows: Float32) -> None:
        """Take the windows of the last step, float32 (n, frames, n_mels), dB, for the band limit."""
        if self._band_limit is not None:
            before = self._band_limit.limit_hz
            self._band_limit.push(windows)
            if self._band_limit.limit_hz != before:
                self._faults = None

    def elsewhere(self, alive: str | None) -> None:
        """Take the message that names another channel that is alive, for as long as this one is silent."""
        if alive != self._alive:
            self._alive, self._faults = alive, None

    def settle(self) -> None:
        """Name the band limit of sound that is over, however short it was."""
        if self._band_limit is not None:
            self._band_limit.settle()

    def finish(self) -> SoundBlock | None:
        """Count the rest of the sound as a shorter block; the stream is over."""
        rest = self._meter.flush()
        for block in rest:
            self.add(block)
        return rest[-1] if rest else None

    @property
    def newest(self) -> SoundBlock | None:
        """Newest block that counts."""
        return self._window.newest

    def holes(self) -> list[tuple[int, int]]:
        """Return the holes in the window, also those that are long: first sample and one past the last of each."""
        return self._window.holes()

    def short_holes(self) -> list[tuple[int, int]]:
        """Return the parts of the window with stretches of one value, where there are so many that sound was lost."""
        return self._window.short_holes()

    @property
    def missing_band_text(self) -> str | None:
        """Message for sound that lacks a part of what the model listens to, by its rate or by its spectrum."""
        limit_hz = None if self._band_limit is None else self._band_limit.limit_hz
        return self._missing_band if limit_hz is None else nothing_above(limit_hz, self._needed_hz)

    @property
    def is_silent(self) -> bool:
        """True while the newest sound is silent."""
        return self._silence() is not None

    def gap(self, samples: int) -> None:
        """Skip ``samples`` samples that never came, by the count of the stream."""
        self._lost(samples, overflows=0)

    def overflow(self, count: int) -> None:
        """Count ``count`` losses of samples in the sound card, each of unknown length."""
        self._lost(0, overflows=count)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time of its capture, by a clock that runs evenly, s from any origin."""
        self._clock.push(sample, time_s)
        self._faults = None

    @property
    def rate_known(self) -> bool:
        """True once a clock has shown the rate of the samples."""
        return self._clock.rate is not None

    @property
    def unusable(self) -> bool:
        """True while one of ``HARD_FAULTS`` but ``drop_outs`` holds: no sample of such sound is the machine's own."""
        newest = self._window.newest
        return (
            self.missing_band_text is not None
            or bool(newest is not None and newest.holes and self.holes())
            or standstill(self._window.longest_stretch() / self._rate_hz) is not None
            or self._silence() is not None
            or self._clock_fault()[0] == "wrong_rate"
        )

    def faults(self) -> tuple[FaultReport, ...]:
        """Return the present faults, hard ones first."""
        if self._faults is None:
            self._faults = tuple(FaultReport(code, text) for code, text in self._texts() if text is not None)
        return self._faults

    def _lost(self, samples: int, overflows: int) -> None:
        for block in self._meter.flush():
            self.add(block)
        self._window.lose(samples, overflows)
        self._clock.reset()
        self._faults = None

    def _texts(self) -> Iterator[tuple[SourceFault, str | None]]:
        """Yield the message for each fault, None where there is none; in the order of ``SourceFault``."""
        window = self._window.sums()
        enough = self._window.held_samples >= self._least_sound
        silent = self._silence()
        clock, clock_text = self._clock_fault()
        yield "bandwidth_limited", self.missing_band_text
        yield "silent", f"{silent}; {self._alive}" if silent and self._alive else silent
        yield "stuck", standstill(self._window.longest_stretch() / self._rate_hz)
        yield "drop_outs", self._missing()
        yield "wrong_rate", clock_text if clock == "wrong_rate" else None
        yield "clipped", clipping(window.clipped_share, full_scale=self._full_scale) if enough else None
        yield "dc_offset", off_centre(window.mean, full_scale=self._full_scale) if enough else None
        yield "level_unusual", unusual_level(window.level_dbfs, *self._levels_dbfs) if enough and not silent else None
        yield "clock_drift", clock_text if clock == "clock_drift" else None

    def _silence(self) -> str | None:
        """Return the message for the newest sound when it is silent, which one loud block in it rules out."""
        if self._window.held_samples < self._least_sound or self._since_loud < self._least_sound:
            return None
        return silence(self._window.latest(self._least_sound).level_dbfs, self.silent_dbfs)

    def _missing(self) -> str | None:
        held = self._window.held_stretches
        stuck = standstill(self._window.longest_stretch() / self._rate_hz) is not None
        holes = [one for one in self.holes() if not stuck or one[1] - one[0] < STUCK_SECONDS * self._rate_hz]
        gaps = [loss.samples for loss in self._window.losses if loss.samples]
        overflows = sum(loss.overflows for loss in self._window.losses)
        parts = [
            f"{len(gaps)} gap(s) of {sum(gaps) / self._rate_hz:.2f} s together" if gaps else "",
            f"{overflows} overflow(s) of the sound card" if overflows else "",
            holes_text(holes, self._rate_hz) if holes else "",
            f"{held} stretches of one value for {HELD_SECONDS * 1000:.0f} ms or more" if held >= HELD_STRETCHES else "",
        ]
        found = [part for part in parts if part]
        return f"sound is missing from the last {WINDOW_S:.0f} s: {', '.join(found)}" if found else None

    def _clock_fault(self) -> tuple[SourceFault | None, str]:
        rate = self._clock.rate
        if rate is None or not rate.is_off(CLOCK_DRIFT):
            return None, ""
        text = (
            f"{rate.ratio * self._rate_hz:.0f} samples a second come by the clock, {self._rate_hz} Hz were declared"
            f" ({rate.ratio - 1.0:+.2%})"
        )
        return "wrong_rate" if rate.is_off(WRONG_RATE) else "clock_drift", text
