"""Synthetic machine from a seed: for tests, and for a first try without recordings.

A shaft with harmonics whose speed wanders a little, broadband flow noise with a formant, and an impact a turn; the
room adds hiss. Every clip is a new realisation of the same machine. Faults are those that condition monitoring
looks for, at a level relative to the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.signal

from humwatch.arrays import Float32, Float64, Int64

FaultKind = Literal["impacts", "squeal", "rub", "imbalance", "missing_strokes", "slow"]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(frozen=True)
class Fault:
    """A fault of the machine.

    Attributes:
        kind: ``impacts`` (a damaged bearing: short ringing knocks at 7.3 times the shaft's rate), ``squeal`` (a tone
            of 3.1 kHz that comes and goes), ``rub`` (noise of 1.5 to 2.5 kHz, modulated by the shaft),
            ``imbalance`` (the first harmonic grows), ``missing_strokes`` (half of the impacts are gone), ``slow``
            (8 % below its speed).
        level_db: power of the added sound, relative to the machine's own, dB; unused by the last two.
    """

    kind: FaultKind
    level_db: float = 0.0


@dataclass(frozen=True)
class SyntheticMachine:
    """Machine that makes sound; the same ``seed`` is the same machine.

    Attributes:
        seed: seed of its own features: speed, harmonics, resonances.
        rate_hz: sample rate, Hz.
        level_dbfs: level of a normal clip.
    """

    seed: int = 0
    rate_hz: int = 16_000
    level_dbfs: float = -26.0

    def clip(self, number: int, seconds: float = 10.0, fault: Fault | None = None) -> Float32:
        """Return the ``number``-th recording of the machine: float32 (n,), full scale [-1, 1]; repeatable."""
        own = np.random.default_rng([self.seed, 0])
        moment = np.random.default_rng([self.seed, 1, number])
        speed_hz = own.uniform(22.0, 32.0) * (0.92 if fault is not None and fault.kind == "slow" else 1.0)
        n = round(seconds * self.rate_hz)
        turns = self._turns(n, speed_hz, moment)
        strokes = self._strokes(turns, own, moment, missing=fault is not None and fault.kind == "missing_strokes")
        sound = self._harmonics(turns, own) + self._flow(n, own, moment) + strokes
        power = float(np.mean(sound**2))
        if fault is not None:
            sound = sound + _added(fault, turns, self.rate_hz, moment) * np.sqrt(power * 10 ** (fault.level_db / 10))
        gain = 10 ** (self.level_dbfs / 20) / np.sqrt(power) * 10 ** (moment.normal(0.0, 0.3) / 20)
        hiss = moment.normal(0.0, 10 ** (-70 / 20), n)
        clip: Float32 = np.clip(sound * gain + hiss, -1.0, 1.0).astype(np.float32)
        return clip

    def _turns(self, n: int, speed_hz: float, moment: np.random.Generator) -> Float64:
        """Return the angle of the shaft in turns, float64 (n,); its speed wanders by half a percent over seconds."""
        knots = moment.normal(0.0, 0.005, max(4, n // self.rate_hz + 4))
        wander = np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)
        turns: Float64 = np.cumsum(speed_hz * (1.0 + wander)) / self.rate_hz + moment.uniform()
        return turns

    def _harmonics(self, turns: Float64, own: np.random.Generator) -> Float64:
        orders = np.concatenate([np.arange(1, 13), own.choice(np.arange(14, 60), 6, replace=False)])
        amplitudes = own.uniform(0.4, 1.0, len(orders)) / np.sqrt(orders)
        phases = own.uniform(0, 2 * np.pi, len(orders))
        sound = np.zeros_like(turns)
        for order, amplitude, phase in zip(orders, amplitudes, phases, strict=True):
            sound += amplitude * np.sin(2 * np.pi * order * turns + phase)
        return sound

    def _flow(self, n: int, own: np.random.Generator, moment: np.random.Generator) -> Float64:
        centre_hz = own.uniform(700.0, 1800.0)
        noise = moment.normal(0.0, 1.0, n + 512)
        pink = scipy.signal.lfilter([0.05], [1.0, -0.95], noise)[512:]
        formant = scipy.signal.sosfilt(_band(centre_hz * 0.8, centre_hz * 1.25, self.rate_hz), noise)[512:]
        flow: Float64 = 2.0 * pink / pink.std() + 0.8 * formant / formant.std() + 0.15 * noise[512:]
        return flow

    def _strokes(
        self, turns: Float64, own: np.random.Generator, moment: np.random.Generator, *, missing: bool
    ) -> Float64:
        ring_hz = own.uniform(2_200.0, 3_800.0)
        hits = np.flatnonzero(np.diff(np.floor(turns / 4.0)) > 0)
        if missing:
            hits = hits[moment.random(len(hits)) < 0.5]
        return _knocks(hits, ring_hz, 0.006, len(turns), self.rate_hz, moment) * 3.0


def _added(fault: Fault, turns: Float64, rate_hz: int, moment: np.random.Generator) -> Float64:
    """Return the sound that the fault adds, float64 (n,), of unit power; zeros where it only changes the machine."""
    n = len(turns)
    time_s = np.arange(n) / rate_hz
    if fault.kind == "impacts":
        added = _knocks(np.flatnonzero(np.diff(np.floor(turns * 7.3)) > 0), 4_300.0, 0.002, n, rate_hz, moment)
    elif fault.kind == "squeal":
        added = np.sin(2 * np.pi * 3_100.0 * time_s) * (np.sin(2 * np.pi * 0.7 * time_s) > 0.3)
    elif fault.kind == "rub":
        noise = scipy.signal.sosfilt(_band(1_500.0, 2_500.0, rate_hz), moment.normal(0.0, 1.0, n))
        added = noise * (1.0 + 0.9 * np.sin(2 * np.pi * turns))
    elif fault.kind == "imbalance":
        added = np.sin(2 * np.pi * turns)
    else:
        return np.zeros(n)
    unit: Float64 = added / np.sqrt(np.mean(added**2) + 1e-12)
    return unit


def _knocks(hits: Int64, ring_hz: float, decay_s: float, n: int, rate_hz: int, moment: np.random.Generator) -> Float64:
    """Return ringing knocks that start at ``hits``: float64 (n,), amplitude about 1."""
    train = np.zeros(n)
    train[hits] = moment.normal(1.0, 0.1, len(hits))
    length = np.arange(round(8 * decay_s * rate_hz)) / rate_hz
    ring = np.exp(-length / decay_s) * np.sin(2 * np.pi * ring_hz * length)
    knocks: Float64 = scipy.signal.fftconvolve(train, ring)[:n]
    return knocks


def _band(low_hz: float, high_hz: float, rate_hz: int) -> Float64:
    sos: Float64 = scipy.signal.butter(2, [low_hz, high_hz], "bandpass", fs=rate_hz, output="sos")
    return sos
