"""From predictions to a score: evidence per window and band, pooled over time, measured against normal.

Every score goes the same way. A window leaves, for each mel band, a sum over its targets and a count
(:class:`Evidence`). Windows of a clip are pooled to one value a band, or to one value, which is the raw score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from humwatch.features import FeatureSpec
from humwatch.predictor import Prediction

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

ScoreKind = Literal["likelihood_profile", "residual_profile", "spectrum_profile", "mse", "nll"]
PoolingKind = Literal["mean", "max", "gwrp"]

PROFILE_RECORDINGS: Final = 40
"""Independent normal recordings from which a profile's statistics have settled (ADR 0003). With fewer, a clip that
they have not seen lies twice as far out as those that they have, and thresholds measure that instead."""


DEFAULT_PROFILE: Final[ScoreKind] = "likelihood_profile"


def default_score(recordings: int) -> ScoreKind:
    """The score for a machine with so many normal recordings: a profile, or the plain error, which needs none."""
    return DEFAULT_PROFILE if recordings >= PROFILE_RECORDINGS else "mse"


class Pooling(BaseModel):
    """How the windows of a clip become one value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PoolingKind = "mean"
    decay: float = Field(0.9, gt=0, lt=1, description="gwrp: weight of each next lower score, relative")

    def weights(self, scores: Float64) -> Float64:
        """Weights of windows with these scores: float64 (n,), sum 1.

        ``gwrp`` is global weighted rank pooling (Kolesnikov and Lampert, 2016): the k-th highest score weighs
        ``decay**k``; ``mean`` and ``max`` are its limits.
        """
        n = len(scores)
        if self.kind == "mean":
            return np.full(n, 1.0 / n)
        rank = np.empty(n, np.int64)
        rank[np.argsort(-scores, kind="stable")] = np.arange(n)
        weights = (rank == 0).astype(np.float64) if self.kind == "max" else self.decay**rank
        normalised: Float64 = weights / weights.sum()
        return normalised


class ScoringSpec(BaseModel):
    """Which score a bundle uses.

    ``mse`` and ``nll`` are eq. 7 of the paper with std 1 and with the predicted std. ``residual_profile`` is the
    Mahalanobis distance of the clip's mean signed residual per band from the machine's own normal clips;
    ``likelihood_profile`` is the same for the residual over its predicted variance, the slope of the log-likelihood
    (Rao's score, 1948): where the network is sure of a bin, a departure counts for more. With std 1 they are one.
    ``spectrum_profile`` is the same for the level itself, which needs no network and is the honest opponent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ScoreKind = DEFAULT_PROFILE
    pooling: Pooling = Pooling()
    low_hz: float = Field(0.0, ge=0, description="bands that reach below this are left out, Hz")
    high_hz: float = Field(
        7_600.0,
        gt=0,
        description="bands that reach above this are left out, Hz: there a resampler's roll-off, not the machine,"
        " sets the level (the passband of soxr's VHQ ends at 0.95 of the Nyquist frequency)",
    )

    @model_validator(mode="after")
    def _profiles_take_the_mean(self) -> ScoringSpec:
        if self.is_profile and self.pooling.kind != "mean":
            raise ValueError(f"{self.kind} is defined on the mean over time, not on {self.pooling.kind}")
        return self

    @property
    def is_profile(self) -> bool:
        """Whether the score is a distance between band profiles."""
        return self.kind in ("likelihood_profile", "residual_profile", "spectrum_profile")

    @property
    def signed_is_score(self) -> bool:
        """Whether the normal mean of a band's score is that of its level or residual in dB."""
        return self.kind in ("residual_profile", "spectrum_profile")

    def bands(self, features: FeatureSpec) -> Int64:
        """Indices of the mel bands that count: int64 (n,)."""
        low, high = features.band_edges_hz.T
        return np.flatnonzero((low >= self.low_hz) & (high <= self.high_hz))


@dataclass(frozen=True)
class Evidence:
    """What windows leave for scoring. Its arrays may share memory, and some cannot be written to.

    Attributes:
        sums: float64 (windows, bands), sum over the window's targets in each band that counts.
        counts: float64 (windows, bands), how many targets that was.
        signed: float64 (windows, bands), the same sum of what has a sign, dB: the level for ``spectrum_profile``, the
            residual for every other score. It scores nothing and tells louder from quieter.
    """

    sums: Float64
    counts: Float64
    signed: Float64

    def __len__(self) -> int:
        return len(self.sums)

    def __getitem__(self, windows: slice) -> Evidence:
        return Evidence(self.sums[windows], self.counts[windows], self.signed[windows])

    @staticmethod
    def concatenate(parts: list[Evidence]) -> Evidence:
        """Join in time."""
        return Evidence(
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.signed for part in parts]),
        )

    @staticmethod
    def nothing(bands: int) -> Evidence:
        """Of no windows."""
        return Evidence(*(np.zeros((0, bands)) for _ in range(3)))

    def window_scores(self) -> Float64:
        """Mean over each window's targets: float64 (windows,)."""
        scores: Float64 = self.sums.sum(axis=1) / np.maximum(self.counts.sum(axis=1), 1.0)
        return scores

    def pooled(self, pooling: Pooling) -> Float64:
        """Value of each band over all windows: float64 (bands,); NaN in a band that no target fell into."""
        return self._pooled(self.sums, pooling)

    def pooled_signed(self, pooling: Pooling) -> Float64:
        """Level or residual of each band over all windows, weighted as the score is: float64 (bands,), dB."""
        return self._pooled(self.signed, pooling)

    def _pooled(self, sums: Float64, pooling: Pooling) -> Float64:
        weights = pooling.weights(self.window_scores())
        counts = weights @ self.counts
        means: Float64 = np.divide(weights @ sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means

    def scalar(self, pooling: Pooling) -> float:
        """One value over all windows and bands."""
        scores = self.window_scores()
        return float(pooling.weights(scores) @ scores)


def evidence_of(windows: Float32, prediction: Prediction, kind: ScoreKind, bands: Int64) -> Evidence:
    """Evidence of ``windows``, float32 (B, L, F) in dB, of which ``bands`` count."""
    return Assessor(kind, bands).evidence(windows, prediction)


class Assessor:
    """Windows and predictions in, evidence out; remembers where the targets lay, which few predictors change.

    What a window leaves does not depend on the windows beside it: targets are added in their own order.
    """

    def __init__(self, kind: ScoreKind, bands: Int64) -> None:
        """Judge by a score of this kind, on ``bands``, int64 (n,)."""
        self._kind = kind
        self._bands = bands
        self._places: TargetPlaces | None = None

    def evidence(self, windows: Float32, prediction: Prediction) -> Evidence:
        """Evidence of ``windows``, float32 (B, L, F) in dB."""
        if prediction.target_index.ndim > 1:
            return _evidence_by_window(windows, prediction, self._kind, self._bands)
        n, _, n_mels = windows.shape
        places = self._places
        if places is None or not places.are_of(prediction.target_index, n_mels):
            places = self._places = TargetPlaces(prediction.target_index, n_mels, self._bands)
        level = windows.reshape(n, -1)[:, places.targets]  # (B, T)
        signed = _signed(level, prediction, self._kind)
        values = _target_values(signed, prediction, self._kind)
        signed_sums = places.sums(signed)
        sums = signed_sums if values is signed else places.sums(values)
        return Evidence(sums, np.broadcast_to(places.counts, sums.shape), signed_sums)


class TargetPlaces:
    """Where the targets of each band stand in a ``target_index`` that all windows share.

    Attributes:
        targets: picks the targets, (B, T), from bins, (B, L * F).
        counts: float64 (bands,), targets in each band that counts.
    """

    def __init__(self, target_index: Int64, n_mels: int, bands: Int64) -> None:
        self._index = target_index
        self._n_mels = n_mels
        self.targets = _columns(target_index)
        band_of = target_index % n_mels
        by_band = np.append(np.argsort(band_of, kind="stable"), len(target_index))
        counts = np.bincount(band_of, minlength=n_mels)
        first = (np.cumsum(counts) - counts)[bands]
        turns = np.arange(counts[bands].max(initial=0))[:, None]
        there = turns < counts[bands]  # (most, bands)
        # Row i has the i-th target of each band, or what stands behind all targets: nothing.
        places = by_band[np.where(there, first + turns, -1)]
        self.counts = counts[bands].astype(np.float64)
        self._places = places
        columns = [_columns(row) for row in places]
        self._slices = [column for column in columns if isinstance(column, slice)]
        self._regular = bool(there.all()) and len(self._slices) == len(columns)

    def are_of(self, target_index: Int64, n_mels: int) -> bool:
        """Whether these are the places of that index."""
        return n_mels == self._n_mels and np.array_equal(target_index, self._index)

    def sums(self, values: Float64) -> Float64:
        """Sum of the values, float64 (B, T), of each band's targets, in their order: float64 (B, bands)."""
        sums = np.zeros((len(values), len(self.counts)))
        if self._regular:  # each frame has a target in each band
            for columns in self._slices:
                sums += values[:, columns]
            return sums
        padded = np.zeros((len(values), values.shape[1] + 1))
        padded[:, :-1] = values
        for row in self._places:
            sums += padded.take(row, axis=1)
        return sums


def _columns(index: Int64) -> slice | Int64:
    """An index into columns; as a slice, which needs no copy, where they follow one another."""
    if not len(index) or not (np.diff(index) == 1).all():
        return index
    return slice(int(index[0]), int(index[0]) + len(index))


def _evidence_by_window(windows: Float32, prediction: Prediction, kind: ScoreKind, bands: Int64) -> Evidence:
    """Evidence where each window has targets of its own: ``target_index`` is (B, T)."""
    n, _, n_mels = windows.shape
    index = prediction.target_index
    level = np.take_along_axis(windows.reshape(n, -1), index, axis=1)  # (B, T)
    signed = _signed(level, prediction, kind)
    flat = (np.arange(n)[:, None] * n_mels + index % n_mels).ravel()

    def by_band(values: Float64 | None) -> Float64:
        weights = None if values is None else values.ravel()
        counted = np.bincount(flat, weights, n * n_mels).astype(np.float64)
        return counted.reshape(n, n_mels)[:, bands]

    return Evidence(by_band(_target_values(signed, prediction, kind)), by_band(None), by_band(signed))


def _signed(level: Float32, prediction: Prediction, kind: ScoreKind) -> Float64:
    """Levels of the targets, float32 (B, T) in dB, or for most scores what the prediction leaves of them."""
    if kind == "spectrum_profile":
        return level.astype(np.float64)
    return np.subtract(level, prediction.mean, dtype=np.float64)


def _target_values(signed: Float64, prediction: Prediction, kind: ScoreKind) -> Float64:
    if kind in ("spectrum_profile", "residual_profile"):
        return signed
    if kind == "mse":
        return signed**2
    std = prediction.std.astype(np.float64)
    if kind == "likelihood_profile":
        slope: Float64 = signed / std**2
        return slope
    nll: Float64 = np.log(std) + signed**2 / (2.0 * std**2)
    return nll
