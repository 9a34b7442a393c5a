"""Arithmetic of the scores of one step of many streams, as arrays: what is computed, without who it is for.

Its numbers are not used: streams are scored by :mod:`humwatch.monitor`. It has the same sums, products, filters and
transforms on arrays of the same shapes.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from humwatch.arrays import Complex128, Float64
from humwatch.detectors.lines import (
    AXIS_HZ,
    DRIFT_WIDTH,
    FFT_POINTS,
    FLOOR_POWER,
    FRAME_SAMPLES,
    HIGH_HZ,
    LINE_WIDTH,
    MIN_SPEED_CHANGE,
    SPEED_WIDTH,
    STEP,
)
from humwatch.detectors.rhythm import GROUPS, POWERS
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import Calibration, ScaleCalibration

_PEAK_POINTS = 2 * round(MIN_SPEED_CHANGE / STEP) + 1


class ScoreArithmetic:
    """Scores of a step and of a clip of each stream, from evidence that is there."""

    def __init__(self, calibration: Calibration, spec: PipelineSpec, streams: int) -> None:
        """Make evidence of as many windows as a clip has, for so many streams."""
        rng = np.random.default_rng(1)
        bands, windows = len(spec.scoring.bands(spec.features)), spec.clip_windows
        self._calibration = calibration
        self._spec = spec
        self._sums, self._signed = rng.normal(size=(2, streams, windows, bands))
        self._ranking = rng.normal(size=(streams, windows))
        self._rhythm = rng.uniform(1.0, 2.0, (streams, windows, GROUPS, POWERS))
        at = AXIS_HZ * (FRAME_SAMPLES / spec.features.rate_hz)
        self._below = at.astype(np.int64)
        self._part = at - self._below
        bins = int(HIGH_HZ * FRAME_SAMPLES / spec.features.rate_hz) + 2
        blocks = max(2, windows // spec.step_windows)
        self._power = rng.uniform(1e-6, 1e-3, (streams, blocks, bins)) if spec.uses_lines else None
        calibration.prepare()

    def step(self) -> None:
        """Score all streams once."""
        self._scale(self._calibration.step, self._spec.step_windows)
        self._scale(self._calibration.clip, self._spec.clip_windows)
        if self._calibration.clip.detectors is not None:
            self._kurtosis(self._rhythm.sum(axis=1))
            if self._power is not None:
                self._lines(self._power)

    def _scale(self, scale: ScaleCalibration, windows: int) -> None:
        """Pool the last windows with the weights of their ranks, and measure them against normal."""
        ranking = self._ranking[:, -windows:]
        rank = np.argsort(np.argsort(-ranking, axis=1, kind="stable"), axis=1)
        weights = (rank >= windows // 5).astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        values, signed = (
            np.matmul(weights[:, None, :], sums[:, -windows:])[:, 0] for sums in (self._sums, self._signed)
        )  # (streams, bands)
        if scale.detectors is None:
            pairs = [(scale.normal, values)]
        else:
            consensus = scale.detectors.consensus
            pairs = [(consensus.slope, values), (consensus.level, signed)]
        for normal, profile in pairs:
            shares = ((profile - normal.mean) / normal.std @ normal.whitening.T) ** 2
            shares.sum(axis=1)

    @staticmethod
    def _kurtosis(sums: Float64) -> None:
        _, first, second, third, fourth = np.moveaxis(sums / sums[..., :1], -1, 0)
        variance = second - first**2
        central = fourth - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4
        np.log(np.maximum(central / variance**2, 1.0)).mean(axis=1)

    def _lines(self, power: Float64) -> None:
        """Compare the lines of the halves of a clip, and those of the whole with normal ones."""
        half = (power.shape[1] + 1) // 2
        early, late = power[:, :half].sum(axis=1), power[:, half:].sum(axis=1)
        drift = [np.fft.rfft(_structure(self._level(some), DRIFT_WIDTH), FFT_POINTS) for some in (early, late)]
        self._best(np.conj(drift[0]) * drift[1])
        level = self._level(early + late)
        prominence = _structure(level, LINE_WIDTH)
        structure = np.clip(_structure(level, SPEED_WIDTH), -8.0, 8.0)
        self._best(np.fft.rfft(structure, FFT_POINTS))
        for some in (level, prominence):
            deficits = some - maximum_filter1d(some, _PEAK_POINTS, mode="nearest")
            deficits.argmax(axis=1)

    def _level(self, power: Float64) -> Float64:
        level = 10.0 * np.log10(power + FLOOR_POWER)
        found: Float64 = level[:, self._below] * (1.0 - self._part) + level[:, self._below + 1] * self._part
        return found

    @staticmethod
    def _best(product: Complex128) -> None:
        np.fft.irfft(product, FFT_POINTS).argmax(axis=1)


def _structure(level: Float64, width: float) -> Float64:
    size = round(width / STEP) | 1
    background = uniform_filter1d(uniform_filter1d(level, size, mode="nearest"), size, mode="nearest")
    found: Float64 = level - background
    return found
