"""Whether a sound can be judged at all: silent, stuck, clipped, off centre, or short of the bands that matter.

What is found here is said in every answer, and what cannot be judged is ``unknown``, never ``normal``.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Float32 = npt.NDArray[np.float32]

WarningCode = Literal[
    "silent",
    "stuck",
    "clipped",
    "dc_offset",
    "level_unusual",
    "bandwidth_limited",
    "coarse_samples",
    "resampled",
    "channel_selected",
    "shorter_than_clip",
    "few_calibration_recordings",
]

SILENT_DBFS: Final = -85.0
"""A microphone in a room hisses louder; the noise of 16-bit rounding alone is at -101 dBFS."""
CLIP_LEVEL: Final = 0.999
CLIPPED_SHARE: Final = 1e-4
DC_OFFSET: Final = 0.1
STUCK_SECONDS: Final = 0.5
MIN_DBFS: Final = -200.0


class SoundWarning(BaseModel):
    """Something that the reader of a score should know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: WarningCode
    message: str


def dbfs(mean_square: float) -> float:
    """Level of a mean square relative to full scale (a square wave at 1 is 0 dBFS)."""
    return max(MIN_DBFS, 10.0 * math.log10(mean_square)) if mean_square > 0 else MIN_DBFS


class SoundCheck:
    """Measures mono samples as they pass; holds numbers only, no sound."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._n = 0
        self._sum = 0.0
        self._sum_squares = 0.0
        self._clipped = 0
        self._last = math.nan
        self._run = 0
        self._longest_run = 0

    def push(self, samples: Float32) -> None:
        """Take mono samples in [-1, 1], float32 (n,)."""
        if not samples.size:
            return
        wide = samples.astype(np.float64)
        self._n += wide.size
        self._sum += float(wide.sum())
        self._sum_squares += float(wide @ wide)
        self._clipped += int(np.count_nonzero(np.abs(samples) >= CLIP_LEVEL))
        self._count_runs(samples)

    def _count_runs(self, samples: Float32) -> None:
        changes = np.flatnonzero(np.diff(samples, prepend=np.float32(self._last)))  # NaN differs from all
        if not changes.size:
            self._run += samples.size
        else:
            lengths = np.diff(np.concatenate([changes, [samples.size]]))
            self._longest_run = max(self._longest_run, self._run + int(changes[0]), int(lengths.max()))
            self._run = int(lengths[-1])
        self._longest_run = max(self._longest_run, self._run)
        self._last = float(samples[-1])

    @property
    def level_dbfs(self) -> float:
        """Level of all samples without their mean, dBFS."""
        if not self._n:
            return MIN_DBFS
        mean = self._sum / self._n
        return dbfs(max(0.0, self._sum_squares / self._n - mean**2))

    @property
    def clipped_share(self) -> float:
        """Share of samples at full scale."""
        return self._clipped / max(1, self._n)

    def warnings(self) -> list[SoundWarning]:
        """What is wrong with the samples so far."""
        found = []
        stuck_s = self._longest_run / self._rate_hz
        offset = self._sum / max(1, self._n)
        if self.level_dbfs < SILENT_DBFS:
            found.append(_warn("silent", f"the level is {self.level_dbfs:.0f} dBFS: no machine can be heard"))
        elif stuck_s >= STUCK_SECONDS:
            found.append(_warn("stuck", f"the samples stay at one value for {stuck_s:.1f} s"))
        if self.clipped_share >= CLIPPED_SHARE:
            found.append(_warn("clipped", f"{self.clipped_share:.2%} of the samples are at full scale"))
        if abs(offset) >= DC_OFFSET:
            found.append(_warn("dc_offset", f"the samples are {offset:+.2f} of full scale off centre"))
        return found


def _warn(code: WarningCode, message: str) -> SoundWarning:
    return SoundWarning(code=code, message=message)


UNJUDGEABLE: Final[frozenset[WarningCode]] = frozenset({"silent", "stuck", "bandwidth_limited", "coarse_samples"})
"""With one of these the state is ``unknown``, whatever the score."""
