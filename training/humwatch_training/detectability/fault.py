"""A simulated fault: one clip of normal sound and a severity in, the faulty clip out.

It depends on nothing else but a seed and the clip's number, so that all monitors get the same sounds, and a fault is
the same event at every severity. Nothing is clipped to full scale: what is scored is float32.

The severity of most faults is a level: the power of the change (faulty minus normal, mean over the whole clip, also
of what comes and goes) over the power of the normal clip, both without their mean, dB.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np

from humwatch.arrays import Float32, Float64

Unit = Literal["dB", "dB of gain", "% of speed"]

LEVELS_DB: Final = tuple(float(level) for level in range(-30, 11, 5))
JITTER: Final = 0.1
"""Largest relative change of every frequency and rate, drawn for each clip."""
LOWEST_RATE_HZ: Final = 15_200
"""Lowest sampling rate of a clip that a monitor of bands up to 7.6 kHz can judge."""


@dataclass(frozen=True, kw_only=True)
class SimulatedFault(ABC):
    """A fault of a machine, to be mixed into normal sound.

    Attributes:
        name: name in commands and reports.
        imitates: mechanism that the fault stands for.
        unit: unit of the severity: dB relative to the clip, dB of gain at the clip's end, or per cent of speed there.
        severities: severities that are measured by default, ascending.
    """

    name: str
    imitates: str
    unit: Unit = "dB"
    severities: tuple[float, ...] = LEVELS_DB

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of this kind of fault, by name with unit."""
        common = ("name", "imitates", "unit", "severities")
        return {name: value for name, value in asdict(self).items() if name not in common}

    def mix(self, clean: Float32, rate_hz: int, severity: float, *, seed: int = 0, clip: int = 0) -> Float32:
        """Return the clip with the fault in it.

        Args:
            clean: normal sound, float32 (n,), full scale [-1, 1].
            rate_hz: sampling rate, 15,200 Hz at least.
            severity: severity in the fault's unit, :meth:`limit` at most.
            seed: seed of the catalogue.
            clip: number of the clip.

        Returns:
            Faulty sound, float32 (n,); may exceed full scale.

        Raises:
            ValueError: the rate is too low, or the clip cannot hold the fault at this severity.
        """
        if severity > self.limit(clean, rate_hz, seed=seed, clip=clip):
            raise ValueError(f"this clip cannot hold {self.name} at {severity:g} {self.unit}")
        centred, offset = _centred(clean)
        return (self._mixed(centred, rate_hz, severity, self._rng(rate_hz, seed, clip)) + offset).astype(np.float32)

    def limit(self, clean: Float32, rate_hz: int, *, seed: int = 0, clip: int = 0) -> float:
        """Return the highest severity that this clip can hold; infinite where nothing has to be taken from it."""
        return self._limit(_centred(clean)[0], rate_hz, self._rng(rate_hz, seed, clip))

    def _rng(self, rate_hz: int, seed: int, clip: int) -> np.random.Generator:
        if rate_hz < LOWEST_RATE_HZ:
            raise ValueError(f"{rate_hz} Hz; faults reach higher than that: {LOWEST_RATE_HZ} Hz at least are needed")
        return np.random.default_rng([seed, clip, zlib.crc32(self.name.encode())])

    def _limit(self, clean: Float64, rate_hz: int, rng: np.random.Generator) -> float:
        return np.inf

    @abstractmethod
    def _mixed(self, clean: Float64, rate_hz: int, severity: float, rng: np.random.Generator) -> Float64: ...


def _centred(clean: Float32) -> tuple[Float64, float]:
    wide = clean.astype(np.float64)
    offset = float(wide.mean())
    return wide - offset, offset


def jittered(value: float, rng: np.random.Generator) -> float:
    """Return ``value`` times a random factor of 1 +- ``JITTER``."""
    return value * rng.uniform(1.0 - JITTER, 1.0 + JITTER)


def power(sound: Float64) -> float:
    """Return the mean square of ``sound`` without its mean."""
    return float(np.var(sound))


def target_power(clean: Float64, level_db: float) -> float:
    """Return the power that lies ``level_db`` over that of ``clean``."""
    return power(clean) * 10 ** (level_db / 10)


def level_of(changed: float, clean: Float64) -> float:
    """Return the power ``changed`` over that of ``clean``, dB."""
    return float(10 * np.log10(changed / power(clean))) if changed > 0 else -np.inf
