"""Scale of floats: a constant that brings samples in a unit of their own to levels that a network knows.

Integers have a full scale, and the network was trained on levels relative to it. Floats in Pa, g or V have none: 1e-5
is an ordinary peak in V, and 8 in Pa. The factor is a power of two, so that no bit of a sample is lost, and belongs to
a calibration: one that followed each recording would hide that a machine got louder.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.quality import MIN_DBFS, level_dbfs

KNOWN_DBFS: Final = (-70.0, -6.0)
"""Levels as microphones give them; floats at such a level that stay within full scale are taken as they are."""
SCALED_DBFS: Final = -30.0
"""Level to which others are brought, within 3 dB."""


class FloatLevel:
    """Float samples in, the scale for sound of this kind out; holds sums."""

    def __init__(self) -> None:
        self.samples = 0
        self._sum = 0.0
        self._squares = 0.0
        self._peak = 0.0

    def push(self, mono: Float32) -> None:
        """Take float32 (n,)."""
        wide = mono.astype(np.float64)
        self.samples += wide.size
        self._sum += float(wide.sum())
        self._squares += float(wide @ wide)
        self._peak = max(self._peak, float(np.abs(mono).max(initial=0.0)))

    def __add__(self, other: FloatLevel) -> FloatLevel:
        both = FloatLevel()
        both.samples = self.samples + other.samples
        both._sum, both._squares = self._sum + other._sum, self._squares + other._squares
        both._peak = max(self._peak, other._peak)
        return both

    @property
    def level_dbfs(self) -> float:
        """Level without the mean."""
        return level_dbfs(self.samples, self._sum, self._squares)

    @property
    def is_silent(self) -> bool:
        """True if nothing moves."""
        return self.level_dbfs <= MIN_DBFS

    @property
    def scale(self) -> float:
        """Factor for these samples, a power of two; 1 where they may be taken as they are, or are silent."""
        low, high = KNOWN_DBFS
        if self.is_silent or (low <= self.level_dbfs <= high and self._peak <= 1.0):
            return 1.0
        return float(2.0 ** round((SCALED_DBFS - self.level_dbfs) / (20.0 * math.log10(2.0))))


class FloatScaler:
    """Float samples in, scaled ones out: by a given scale, or by that of the first seconds that are not silent.

    Attributes:
        scale: factor, a power of two; None until it is known.
    """

    def __init__(self, scale: float | None, *, needed_s: float) -> None:
        """Scale floats.

        Args:
            scale: factor; None where the first ``needed_s`` of sound say it.
            needed_s: length of sound that says it, seconds.
        """
        self.scale = scale
        self._needed_s = needed_s
        self._first = FloatLevel()

    def push(self, mono: Float32, rate_hz: int) -> Float32:
        """Take float32 (n,); return as many, which are zeros until the scale is known."""
        if self.scale is None:
            self._first.push(mono)
            if self._first.samples < self._needed_s * rate_hz:
                return np.zeros_like(mono)
            if self._first.is_silent:
                self._first = FloatLevel()
                return np.zeros_like(mono)
            self.scale = self._first.scale
        return mono * np.float32(self.scale)
