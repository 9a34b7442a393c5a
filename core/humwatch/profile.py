"""Distance of a band profile from a machine's normal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from humwatch.errors import CalibrationError

Float64 = npt.NDArray[np.float64]

MIN_STD = 1e-3
"""A band that never moves in calibration (dB) would make any rounding an anomaly."""


def ledoit_wolf(samples: Float64) -> tuple[Float64, float]:
    """Covariance shrunk to a scaled identity, and the shrinkage in [0, 1].

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004), as
    scikit-learn computes it. ``samples``: float64 (n, d); the mean is taken out.
    """
    n, d = samples.shape
    centred = samples - samples.mean(axis=0)
    empirical = centred.T @ centred / n
    scale = float(np.trace(empirical)) / d
    if scale == 0.0:
        return empirical, 0.0
    squares = centred**2
    beta = (float((squares.T @ squares).sum()) / n - float((empirical**2).sum())) / (d * n)
    delta = (float((empirical**2).sum()) - 2.0 * scale * float(np.trace(empirical)) + d * scale**2) / d
    shrinkage = 0.0 if beta <= 0 or delta <= 0 else min(beta, delta) / delta
    shrunk = (1.0 - shrinkage) * empirical
    shrunk.flat[:: d + 1] += shrinkage * scale
    return shrunk, shrinkage


@dataclass(frozen=True)
class NormalProfile:
    """Where a machine's normal profiles lie.

    Each band is standardised before the covariance is shrunk (measured: 0.956 against 0.940 AUC).

    Attributes:
        mean: float64 (bands,), mean of each band.
        std: float64 (bands,), standard deviation of each band.
        whitening: float64 (bands, bands), symmetric square root of the shrunk correlation's inverse.
        weight: how many normal clips it rests on, those of a prior included.
    """

    mean: Float64
    std: Float64
    whitening: Float64
    weight: float

    @staticmethod
    def fit(profiles: Float64, prior: NormalProfile | None = None) -> NormalProfile:
        """Fit to normal profiles, float64 (n, bands).

        With a ``prior``, the profile of other machines of the type, the mean is this machine's own, and the
        covariance is the average of the two, each weighted by its clips: the posterior mean under an inverse Wishart
        prior (Murphy, "Machine Learning: A Probabilistic Perspective", 4.6.2). Machines of a type differ in
        where their normal sound lies more than in how it varies, and a spread of so many bands takes hundreds of
        clips to learn (ADR 0006).

        Raises:
            CalibrationError: fewer than two profiles, or one with a band that was never observed.
        """
        if len(profiles) < 2:
            raise CalibrationError(f"{len(profiles)} normal profile(s); two at least are needed for a spread")
        if not np.isfinite(profiles).all():
            raise CalibrationError("a band was never observed in one of the clips")
        mean = profiles.mean(axis=0)
        std = np.maximum(profiles.std(axis=0), MIN_STD)
        correlation, _ = ledoit_wolf((profiles - mean) / std)
        weight = float(len(profiles))
        if prior is None:
            return _profile(mean, std, correlation, weight)
        total = weight + prior.weight
        covariance = (weight * correlation * np.outer(std, std) + prior.weight * prior.covariance) / total
        return _of_covariance(mean, covariance, total)

    @staticmethod
    def pooled(machines: Sequence[NormalProfile]) -> NormalProfile:
        """The profile of a type, from those of its machines: the prior of the next machine.

        Its mean is the machines' mean, its covariance that within a machine; what lies between machines is left
        out.

        Raises:
            CalibrationError: there is no machine.
        """
        if not machines:
            raise CalibrationError("no machine to pool")
        weights = np.array([machine.weight for machine in machines])
        mean = np.mean([machine.mean for machine in machines], axis=0)
        covariance = np.average([machine.covariance for machine in machines], axis=0, weights=weights)
        return _of_covariance(mean, covariance, float(weights.sum()))

    @property
    def covariance(self) -> Float64:
        """Covariance of the bands, float64 (bands, bands), in the square of the profile's unit."""
        inverse = np.linalg.inv(self.whitening)
        covariance: Float64 = inverse @ inverse * np.outer(self.std, self.std)
        return covariance

    def contributions(self, profile: Float64) -> Float64:
        """Share of each band in the squared distance over the number of bands: float64 (bands,), >= 0.

        The complete decomposition of Alcala and Qin (2009); the sum is the squared :meth:`distance`. A band
        that was not observed (NaN) counts as normal.
        """
        standardised = np.nan_to_num((profile - self.mean) / self.std, nan=0.0)
        shares: Float64 = (self.whitening @ standardised) ** 2 / len(profile)
        return shares

    def distance(self, profile: Float64) -> float:
        """Mahalanobis distance over the root of the number of bands: near 1 for a normal profile."""
        return float(np.sqrt(self.contributions(profile).sum()))


def _of_covariance(mean: Float64, covariance: Float64, weight: float) -> NormalProfile:
    std = np.sqrt(np.diag(covariance))
    return _profile(mean, std, covariance / np.outer(std, std), weight)


def _profile(mean: Float64, std: Float64, correlation: Float64, weight: float) -> NormalProfile:
    values, vectors = np.linalg.eigh(correlation)
    whitening = (vectors / np.sqrt(np.maximum(values, 1e-6))) @ vectors.T
    return NormalProfile(mean, std, whitening, weight)
