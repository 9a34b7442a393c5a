"""Faults that change the machine's own sound: strokes that are missing, a line that moves, drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from humwatch.arrays import Float64
from humwatch_training.detectability.fault import SimulatedFault, jittered, level_of, power, target_power

_OVERSAMPLING: Final = 4
_ENVELOPE_HZ: Final = 100


@dataclass(frozen=True, kw_only=True)
class MissingStrokes(SimulatedFault):
    """Events of the machine's own sound that do not happen.

    Strokes are where the level of the differentiated sound lies ``prominence_db`` over its median. They go down to the
    level between strokes. In a sound with fewer than three, or with more stroke than pause, short stretches at
    ``pauses_hz`` go down by ``depth_db`` instead. One stroke after another goes, in random order; the last in part, so
    that the level is met.
    """

    prominence_db: float
    pauses_hz: float
    pause_s: float
    depth_db: float

    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64:
        mixed = clean.copy()
        left = target_power(clean, severity) * len(clean)
        for start, change in self._losses(clean, rate_hz, rng):
            energy = float(change @ change)
            mixed[start : start + len(change)] += change * min(1.0, np.sqrt(left / energy))
            left -= energy
            if left <= 0:
                break
        return mixed

    def _limit(self, clean: Float64, rate_hz: int, rng: np.random.Generator) -> float:
        lost = sum(float(change @ change) for _, change in self._losses(clean, rate_hz, rng))
        return level_of(lost / len(clean), clean)

    def _losses(self, clean: Float64, rate_hz: int, rng: np.random.Generator) -> list[tuple[int, Float64]]:
        """Return the first sample of each stroke and the change that its absence makes, in random order."""
        strokes = self._strokes(clean, rate_hz)
        if len(strokes) >= 3:
            between = np.ones(len(clean), bool)
            for start, end in strokes:
                between[start:end] = False
            floor = power(clean[between])
            gains = [min(1.0, np.sqrt(floor / max(power(clean[start:end]), 1e-30))) for start, end in strokes]
        else:
            strokes = self._pauses(len(clean), rate_hz, rng)
            gains = [10 ** (-self.depth_db / 20)] * len(strokes)
        losses = [
            (start, (gain - 1.0) * scipy.signal.windows.tukey(end - start, 0.3) * clean[start:end])
            for (start, end), gain in zip(strokes, gains, strict=True)
            if gain < 1.0 and clean[start:end].any()
        ]
        return [losses[i] for i in rng.permutation(len(losses))]

    def _strokes(self, clean: Float64, rate_hz: int) -> list[tuple[int, int]]:
        hop = rate_hz // _ENVELOPE_HZ
        frames = len(clean) // hop
        envelope = np.mean(np.diff(clean, prepend=clean[0])[: frames * hop].reshape(frames, hop) ** 2, axis=1)
        loud = envelope > np.median(envelope) * 10 ** (self.prominence_db / 10)
        loud = scipy.ndimage.binary_closing(loud, np.ones(5, bool))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]]))) * hop
        return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)] if loud.mean() <= 0.5 else []

    def _pauses(self, n: int, rate_hz: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        period = round(rate_hz / jittered(self.pauses_hz, rng))
        length = round(self.pause_s * rate_hz)
        return [(start, start + length) for start in range(int(rng.integers(period // 2)), n - length, period)]


@dataclass(frozen=True, kw_only=True)
class ShiftedLine(SimulatedFault):
    """A shift of the clip's strongest spectral line upwards: one component turns at another speed.

    All within ``half_width_hz`` of the line goes, and comes back ``shift`` (relative; at least
    ``least_shift_hz``) higher; at lower levels only a part of it does.
    """

    shift: float
    least_shift_hz: float
    half_width_hz: float
    low_hz: float
    high_hz: float

    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64:
        change = self._change(clean, rate_hz, rng)
        mixed: Float64 = clean + change * np.sqrt(target_power(clean, severity) / power(change))
        return mixed

    def _limit(self, clean: Float64, rate_hz: int, rng: np.random.Generator) -> float:
        return level_of(power(self._change(clean, rate_hz, rng)), clean)

    def _change(self, clean: Float64, rate_hz: int, rng: np.random.Generator) -> Float64:
        """Return the shifted line less the line: float64 (n,)."""
        line_hz = self._strongest_hz(clean, rate_hz)
        spectrum = scipy.fft.fft(clean)
        away_hz = np.abs(scipy.fft.fftfreq(len(clean), 1 / rate_hz) - line_hz)
        spectrum *= np.clip(2.0 - away_hz / self.half_width_hz, 0.0, 1.0)  # flat, then down to 0 at twice the width
        line = 2.0 * scipy.fft.ifft(spectrum)  # analytic: of positive frequencies alone
        shift_hz = jittered(max(self.shift * line_hz, self.least_shift_hz), rng)
        turned = line * np.exp(2j * np.pi * shift_hz * np.arange(len(clean)) / rate_hz)
        change: Float64 = turned.real - line.real
        return change

    def _strongest_hz(self, clean: Float64, rate_hz: int) -> float:
        """Return the frequency whose power stands furthest out of its neighbourhood, in steps of 4 Hz."""
        hz, power = scipy.signal.welch(clean, rate_hz, nperseg=min(len(clean), rate_hz // 4))
        standing_out = power - scipy.ndimage.median_filter(power, 31)
        searched = (hz >= self.low_hz) & (hz <= self.high_hz)
        return float(hz[np.argmax(np.where(searched, standing_out, -np.inf))])


@dataclass(frozen=True, kw_only=True)
class LevelDrift(SimulatedFault):
    """A steady rise of the whole sound's level, by ``severity`` dB at the end of the clip."""

    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64:
        mixed: Float64 = clean * 10 ** (np.linspace(0.0, severity, len(clean)) / 20)
        return mixed


@dataclass(frozen=True, kw_only=True)
class PitchDrift(SimulatedFault):
    """A steady rise of the whole sound's speed, by ``severity`` per cent at the end of the clip.

    Faster, as a slower one would leave the highest bands empty, which no slow machine does. The end is made of the
    clip's beginning, cross-faded over ``fade_s``.
    """

    fade_s: float

    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64:
        n = len(clean)
        fade = round(self.fade_s * rate_hz)
        longer = np.concatenate([clean[: n - fade], _cross_faded(clean[n - fade :], clean[:fade]), clean[fade:]])
        needed = scipy.fft.next_fast_len(round(n * (1 + severity / 200)) + fade)
        fine = scipy.signal.resample(longer[:needed], _OVERSAMPLING * min(needed, len(longer)))  # all bands stay whole
        time = np.arange(_OVERSAMPLING * n)
        position = time + severity / 100 * time**2 / (2 * len(time))
        warped = scipy.ndimage.map_coordinates(fine, [position], order=3, mode="nearest")
        mixed: Float64 = scipy.signal.resample(warped, n)  # drops what rose above the Nyquist frequency
        return mixed


def _cross_faded(ending: Float64, beginning: Float64) -> Float64:
    """Fade from one sound to an uncorrelated one of equal power: float64 (n,)."""
    angle = np.linspace(0.0, np.pi / 2, len(ending))
    faded: Float64 = np.cos(angle) * ending + np.sin(angle) * beginning
    return faded
