"""Level of each second of sound, and of each channel."""

from __future__ import annotations

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.quality import dbfs, level_dbfs


class SecondLevels:
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

    @property
    def samples_left(self) -> int:
        """Number of samples that are missing until the second is whole; at least 1."""
        return self._second.size - self._held

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
        """Return the level of the samples held, dBFS, if any, as of a shorter second; forget them."""
        held = self._second[: self._held]
        self.reset()
        return [dbfs(float(np.var(held, dtype=np.float64)))] if held.size else []


class ChannelLevels:
    """Samples of all channels in, their levels out; holds sums."""

    def __init__(self, channels: int) -> None:
        self._sums: Float64 = np.zeros(channels)
        self._squares: Float64 = np.zeros(channels)
        self._samples = 0

    def push(self, samples: Float32) -> None:
        """Take float32 (n, channels)."""
        wide = samples.astype(np.float64)
        self._sums += wide.sum(axis=0)
        self._squares += np.einsum("nc,nc->c", wide, wide)
        self._samples += len(wide)

    def alive(self, channel: int, below_dbfs: float) -> str | None:
        """Return the message that names the loudest other channel; None where all are silent, as ``channel`` is.

        Args:
            channel: channel that is silent, counted from 0.
            below_dbfs: level below which a channel is silent.
        """
        sums = enumerate(zip(self._sums.tolist(), self._squares.tolist(), strict=True))
        levels = [(level_dbfs(self._samples, *both), at) for at, both in sums if at != channel]
        loudest_dbfs, loudest = max(levels, default=(-np.inf, 0))
        if loudest_dbfs < below_dbfs:
            return None
        return f"channel {loudest} is alive at {loudest_dbfs:.0f} dBFS: ask for it with `channel`"
