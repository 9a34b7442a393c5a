"""Holes that are filled with rounding noise: sound that breaks off to next to nothing, in between two samples.

A recorder that dithers, or a converter without an input, leaves no stretch of one value where sound is lost. What it
leaves is quieter than any room; sound that ends by itself does not get there within milliseconds.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.quality import Stretch, StretchFinder, level_dbfs

STILL_PEAK_DB: Final = 6.0
"""Peaks of a hole over the level below which no machine can be heard: 3 steps of 16 bits, where dither reaches 1."""
BESIDE_SECONDS: Final = 0.01
BESIDE_DB: Final = 18.0
BREAK_SECONDS: Final = 0.0025
BREAK_DB: Final = 12.0
"""How loud the sound right before has to be over these peaks, in a longer and in a short while: that of recordings at
hand, at any gain, is at most 1 and 4 dB over them where 20 ms without a louder peak follow (docs/sources.md)."""


class StillHoles:
    """Mono samples in, stretches without a sample over the peak of rounding noise out, behind sound that broke off."""

    def __init__(self, rate_hz: int, *, least: int) -> None:
        """Look through the samples of one source.

        Args:
            rate_hz: sample rate, Hz.
            least: samples of a hole.
        """
        self._least = least
        self._beside = max(2, math.ceil(rate_hz * BESIDE_SECONDS))
        self._break = max(2, math.ceil(rate_hz * BREAK_SECONDS))
        self._kept = self._beside + least  # of a stretch that is no hole yet, and before it
        self._finder = StretchFinder(least)
        self._peak = 0.0
        self.reset()

    def silent_below(self, level_dbfs: float) -> None:
        """Take the level below which no machine can be heard, dBFS."""
        self._peak = 10 ** ((level_dbfs + STILL_PEAK_DB) / 20)

    def reset(self) -> None:
        """Forget all samples."""
        self._finder.reset()
        self._before: Float32 = np.zeros(0, np.float32)
        self._still = False
        self._goes_on: float | None = None

    def push(self, samples: Float32) -> list[tuple[Stretch, float]]:
        """Take mono samples, float32 (n,), n > 0.

        Returns:
            Holes that reach into them, counted from the first of them, and the level right before each, dBFS.
        """
        if not self._still and self._moves(samples):
            self._before = samples[-self._kept :].copy()
            return []
        around = np.concatenate([self._before, samples])
        held = self._before.size
        found = []
        goes_on, self._goes_on = self._goes_on, None
        for stretch in self._finder.push(np.where(np.abs(samples) <= self._peak, np.float32(0.0), np.float32(np.nan))):
            before = around[max(0, held + stretch.start - self._beside) : max(0, held + stretch.start)]
            beside_dbfs = self._broken_off(before.astype(np.float64))
            if stretch.start <= -self._least:  # a hole already
                beside_dbfs = goes_on
            if beside_dbfs is not None:
                found.append((stretch, beside_dbfs))
            if stretch.end == samples.size:
                self._goes_on = beside_dbfs
        self._still = bool(abs(float(samples[-1])) <= self._peak)
        self._before = around[-self._kept :].copy()
        return found

    def _moves(self, samples: Float32) -> bool:
        """Return True if no stretch in these samples is a hole or goes on behind them; looks at few of them."""
        still = np.abs(samples[:: -max(1, self._least // 4)]) <= self._peak  # a hole has three in a row
        return not (still[0] or bool((still[1:] & still[:-1]).any()))

    def _broken_off(self, before: Float64) -> float | None:
        """Return the level of the sound right before a stretch; None where it did not break off."""
        if before.size < self._beside:
            return None
        beside_dbfs, end_dbfs = _moving_dbfs(before), _moving_dbfs(before[-self._break :])
        peak_dbfs = 20.0 * math.log10(self._peak)
        broke = beside_dbfs >= peak_dbfs + BESIDE_DB and end_dbfs >= peak_dbfs + BREAK_DB
        return beside_dbfs if broke else None


def _moving_dbfs(wide: Float64) -> float:
    return level_dbfs(wide.size, float(wide.sum()), float(wide @ wide))
