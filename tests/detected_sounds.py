"""Sounds of a synthetic machine that each of the detectors hears first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.signal

from humwatch.arrays import Float32
from humwatch.synthetic import SyntheticMachine

RATE_HZ = 16_000
KNOCK_S = 0.15


def knocked(sound: Float32, at_s: Sequence[float]) -> Float32:
    """A few loud knocks in a sound: irregular in time, and hardly a change of its spectrum."""
    rng = np.random.default_rng(1)
    time_s = np.arange(round(KNOCK_S * RATE_HZ)) / RATE_HZ
    heard = sound.copy()
    for start_s in at_s:
        first = round(start_s * RATE_HZ)
        knock = 0.5 * np.exp(-time_s / 0.03) * rng.normal(0.0, 1.0, len(time_s))
        heard[first : first + len(knock)] += knock.astype(np.float32)
    return np.clip(heard, -1.0, 1.0)


def faster(machine: SyntheticMachine, number: int, seconds: float, by: float = 0.03) -> Float32:
    """A recording of the machine at a higher speed, all of whose lines move by the same share."""
    heard = scipy.signal.resample(machine.clip(number, seconds * (1.0 + by)), round(seconds * RATE_HZ))
    return np.asarray(heard, np.float32)
