"""Band limit of sound, from its spectrum: whatever the header says, nothing is there above a wall.

Sound that once had a lower rate, or that a codec cut, ends at a wall: within a few bands it falls to the noise of
rounding, and nothing is ever heard above. A machine that is quiet at high frequencies has no wall, but a slope.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from humwatch.arrays import Float32, Float64, Int64
from humwatch.audio.features import FeatureSpec, mel_corners_hz

EMPTY_DB: Final = -75.0
"""Mel level that stays below what rounding to 16 bits leaves (-87 dB, -82 dB with dither; finer samples less), and
below the images of loud lines that a plain resampler leaves."""
NEVER_LOUDER_DB: Final = -60.0
"""No frame is louder above a wall: not even an impact is, through the skirts of a plain resampler."""
LOST_DB: Final = 3.0
"""Sound that the calibration had above a wall, louder by this than what is there now: else it is as it was."""
LOST_WALL_DB: Final = 10.0
"""Fall at a wall above which the calibration had sound that was louder by as much."""
SKIRTS: Final = ((1.06, 15.0), (1.25, 20.0))
"""Ratio of the frequencies above and below a wall, and its fall, dB: of a good resampler or a codec, of a plain one.
No recording of a machine fell by more than 9.5 dB within either, at any gain (docs/sources.md)."""
BELOW: Final = 1.25
"""Ratio of the frequencies that are looked at below a wall."""
LOWEST_HZ: Final = 1_500.0
LEARNT_SHARE: Final = 0.9
"""A wall this far up what the model listens to may be that of a recorder of the model's own rate: it is learnt."""
WINDOW_STEPS: Final = 4
"""Short, so that a wall that begins amid a stream is named before the default rule alarms (5 s)."""
LEAST_STEPS: Final = 3


class BandLimit:
    """Windows of log-mel frames in, the frequency above which nothing is there out; keeps a few steps' spectra."""

    def __init__(
        self, spec: FeatureSpec, bands: Int64, *, normal_db: Float64 | None = None, least_steps: int = LEAST_STEPS
    ) -> None:
        """Look for the band limit of one source.

        Args:
            spec: front end.
            bands: int64 (bands,), bands that the model listens to.
            normal_db: float64 (bands,), their mean level in the calibration, dB; None where it is not known.
            least_steps: steps that have to be there before anything is said.
        """
        self._bands = bands
        self._centres_hz = mel_corners_hz(spec)[1:-1][bands]
        self._above = [
            (np.searchsorted(self._centres_hz, ratio * self._centres_hz), wall_db) for ratio, wall_db in SKIRTS
        ]
        self._below = np.searchsorted(self._centres_hz, self._centres_hz / BELOW)
        self._least_steps = least_steps
        self._normal_db = normal_db
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._means: deque[Float64] = deque(maxlen=WINDOW_STEPS)
        self._peaks: deque[Float32] = deque(maxlen=WINDOW_STEPS)
        self._limit_hz: float | None = None

    def calibrated(self, normal_db: Float64 | None) -> None:
        """Compare with another calibration from the next step on."""
        self._normal_db = normal_db

    def push(self, windows: Float32) -> None:
        """Take the windows of a step, float32 (n, frames, n_mels), dB."""
        frames = windows.reshape(-1, windows.shape[-1])[:, self._bands]
        self._means.append(frames.mean(axis=0, dtype=np.float64))
        self._peaks.append(frames.max(axis=0))
        self._limit_hz = self._found() if len(self._means) >= self._least_steps else None

    def settle(self) -> None:
        """Say what there is to say of sound that is over, however short it was."""
        if 0 < len(self._means) < self._least_steps:
            self._limit_hz = self._found()

    @property
    def limit_hz(self) -> float | None:
        """Frequency above which nothing is there; None where there is no wall, or where it is as in the calibration."""
        return self._limit_hz

    def _found(self) -> float | None:
        if float(np.mean([mean[-1] for mean in self._means])) > EMPTY_DB:
            return None
        mean_db, peak_db = np.mean(self._means, axis=0), np.max(self._peaks, axis=0)
        # the highest mean and peak of a band and all above
        mean_above, peak_above = (np.maximum.accumulate(levels[::-1])[::-1] for levels in (mean_db, peak_db))
        empty = int(np.argmax((mean_above <= EMPTY_DB) & (peak_above <= NEVER_LOUDER_DB)))
        for above, wall_db in self._above:
            for band in range(int(np.searchsorted(above, empty)), len(mean_db)):
                first = int(above[band])
                if first == len(mean_db) or self._centres_hz[band] > self._centres_hz[empty]:
                    break
                if self._is_wall(band, first, mean_db, float(mean_above[first]), wall_db):
                    return self._unless_learnt(float(self._centres_hz[band]))
        return None

    def _unless_learnt(self, limit_hz: float) -> float | None:
        """Return a limit, but for one that may be the recorder's, where nobody knows the machine's normal sound."""
        learnt = self._normal_db is None and limit_hz >= LEARNT_SHARE * float(self._centres_hz[-1])
        return None if learnt else limit_hz

    def _is_wall(self, band: int, first: int, mean_db: Float64, loudest_db: float, wall_db: float) -> bool:
        """Return True if sound ends at a band, of which nothing is left from the band ``first`` on."""
        if self._centres_hz[band] < LOWEST_HZ:
            return False
        fall_db = float(np.percentile(mean_db[self._below[band] : band + 1], 25)) - loudest_db
        if self._normal_db is None:
            return fall_db >= wall_db
        lost_db = float(np.mean(self._normal_db[first:] - mean_db[first:]))
        return (fall_db >= wall_db and lost_db >= LOST_DB) or min(fall_db, lost_db) >= LOST_WALL_DB
