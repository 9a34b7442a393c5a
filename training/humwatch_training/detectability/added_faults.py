"""Faults that add to the machine's own sound: knocks, tones, noise in a band."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal

from humwatch.arrays import Float64
from humwatch_training.detectability.fault import SimulatedFault, jittered, power, target_power


@dataclass(frozen=True, kw_only=True)
class AddedSound(SimulatedFault):
    """A sound added to the machine's own."""

    @abstractmethod
    def sound(self, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
        """Return the added sound, at any level: float64 (n,)."""

    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64:
        sound = self.sound(len(clean), rate_hz, rng)
        mixed: Float64 = clean + sound * np.sqrt(target_power(clean, severity) / power(sound))
        return mixed


@dataclass(frozen=True, kw_only=True)
class Impacts(AddedSound):
    """Knocks that ring.

    Attributes:
        impacts_hz: number of knocks a second.
        slip: spread of the intervals of a periodic train, relative; None for a Poisson process.
        spread: standard deviation of the amplitudes' natural logarithm.
        ring_hz: frequency of the excited resonance, Hz.
        decay_s: time in which the resonance falls to 1/e, s.
    """

    impacts_hz: float
    slip: float | None
    spread: float
    ring_hz: float
    decay_s: float

    def sound(self, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
        """Return the knocks: float64 (n,)."""
        hits = (self._moments_s(n / rate_hz, rng) * rate_hz).astype(np.int64)
        train = np.zeros(n)
        np.add.at(train, hits[hits < n], rng.lognormal(0.0, self.spread, len(hits))[hits < n])
        time_s = np.arange(round(8 * self.decay_s * rate_hz)) / rate_hz
        ring = np.exp(-time_s / self.decay_s) * np.sin(2 * np.pi * jittered(self.ring_hz, rng) * time_s)
        knocks: Float64 = scipy.signal.fftconvolve(train, ring)[:n]
        return knocks

    def _moments_s(self, length_s: float, rng: np.random.Generator) -> Float64:
        """Return the times of the knocks, s; one at least."""
        rate = jittered(self.impacts_hz, rng)
        if self.slip is None:
            return rng.uniform(0.0, 0.99 * length_s, max(1, rng.poisson(rate * length_s)))
        intervals = (1.0 + self.slip * rng.normal(size=int(2 * rate * length_s) + 1)) / rate
        start = rng.uniform(0.0, min(1 / rate, 0.9 * length_s))
        moments: Float64 = start + np.cumsum(intervals) - intervals[0]
        return moments


@dataclass(frozen=True, kw_only=True)
class Tone(AddedSound):
    """A tone whose loudness changes.

    Attributes:
        tone_hz: frequency of the tone, Hz.
        wander: relative deviation of the frequency, 1.3 times a second.
        shape: course of the loudness, ``gated`` (off for most of a cycle) or ``modulated`` (by ``depth``).
        envelope_hz: cycles of the loudness a second.
        depth: depth of the modulation.
    """

    tone_hz: float
    wander: float
    shape: Literal["gated", "modulated"]
    envelope_hz: float
    depth: float = 1.0

    def sound(self, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
        """Return the tone: float64 (n,)."""
        time_s = np.arange(n) / rate_hz
        stray = 1.0 + self.wander * np.sin(2 * np.pi * (1.3 * time_s + rng.uniform()))
        phase = np.cumsum(jittered(self.tone_hz, rng) * stray) / rate_hz
        wave = np.sin(2 * np.pi * (jittered(self.envelope_hz, rng) * time_s + rng.uniform()))
        envelope = 0.5 * (1.0 + np.tanh(30.0 * (wave - 0.3))) if self.shape == "gated" else 1.0 + self.depth * wave
        tone: Float64 = envelope * np.sin(2 * np.pi * phase)
        return tone


@dataclass(frozen=True, kw_only=True)
class Rub(AddedSound):
    """Noise in a band, modulated by a shaft."""

    low_hz: float
    high_hz: float
    shaft_hz: float
    depth: float

    def sound(self, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
        """Return the noise: float64 (n,)."""
        place = jittered(1.0, rng)
        edges = [self.low_hz * place, self.high_hz * place]
        band = scipy.signal.butter(4, edges, "bandpass", fs=rate_hz, output="sos")
        noise = scipy.signal.sosfilt(band, rng.normal(size=n + rate_hz // 10))[-n:]
        turns = jittered(self.shaft_hz, rng) * np.arange(n) / rate_hz + rng.uniform()
        rub: Float64 = noise * (1.0 + self.depth * np.sin(2 * np.pi * turns))
        return rub
