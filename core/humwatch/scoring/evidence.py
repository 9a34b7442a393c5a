"""Evidence: from predictions to a score, per window and band, pooled over time, measured against normal.

Every score goes the same way. The evidence of a window is, for each mel band, a sum over its targets
and a count (:class:`Evidence`). Windows of a clip are pooled to one value a band, or to one value, the raw score.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar, Final

import numpy as np

from humwatch.arrays import Float32, Float64, Int64
from humwatch.detectors.rhythm import rhythm_sums
from humwatch.predictor import Prediction
from humwatch.scoring.spec import Pooling, ScoreKind

JOINED_JOBS: Final = 8
"""Most callers whose windows are worked on together: their arrays stay in a core's own cache."""


@dataclass(frozen=True)
class ProfileEvidence:
    """Evidence of windows for the consensus of profiles and for rhythm, whatever the score is.

    Attributes:
        slope: float64 (windows, bands), sum of the likelihood's slope over the window's targets, 1/dB.
        level: float64 (windows, bands), sum of their levels, dB.
        surprise: float64 (windows,), mean negative log-likelihood of all targets.
        rhythm: float64 (windows, groups, powers), sums of powers of the level over the window's own frames
            (:func:`humwatch.detectors.rhythm.rhythm_sums`).
    """

    slope: Float64
    level: Float64
    surprise: Float64
    rhythm: Float64

    def __getitem__(self, windows: slice) -> ProfileEvidence:
        return ProfileEvidence(self.slope[windows], self.level[windows], self.surprise[windows], self.rhythm[windows])

    def copied(self) -> ProfileEvidence:
        """Copy the arrays, laid out as they are: matrix products round differently over another layout."""
        return ProfileEvidence(
            self.slope.copy(order="K"),
            self.level.copy(order="K"),
            self.surprise.copy(order="K"),
            self.rhythm.copy(order="K"),
        )

    @staticmethod
    def concatenate(parts: Sequence[ProfileEvidence]) -> ProfileEvidence:
        """Join evidence in time."""
        names = [part.name for part in fields(ProfileEvidence)]
        return ProfileEvidence(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Evidence:
    """Evidence of windows. Its arrays may share memory, and some cannot be written to.

    Attributes:
        sums: float64 (windows, bands), sum over the window's targets in each band that counts.
        counts: float64 (windows, bands), number of these targets.
        signed: float64 (windows, bands), sum of their values with a sign, dB: of the level for ``consensus`` and
            ``spectrum_profile``, of the residual for every other score. It separates louder from quieter.
        profiles: evidence for the consensus; None where that was not asked for.
    """

    sums: Float64
    counts: Float64
    signed: Float64
    profiles: ProfileEvidence | None = None

    def __len__(self) -> int:
        return len(self.sums)

    def __getitem__(self, windows: slice) -> Evidence:
        if self.profiles is None:
            return Evidence(self.sums[windows], self.counts[windows], self.signed[windows])
        profiles = self.profiles[windows]
        sums = profiles.slope if self.sums is self.profiles.slope else self.sums[windows]
        signed = profiles.level if self.signed is self.profiles.level else self.signed[windows]
        return Evidence(sums, self.counts[windows], signed, profiles)

    def split(self, sizes: Sequence[int]) -> list[Evidence]:
        """Return the evidence of successive windows, so many each, none of which keeps the memory of the others."""
        if len(sizes) == 1:
            return [self]
        ends = accumulate(sizes)
        return [self[end - size : end].owned() for end, size in zip(ends, sizes, strict=True)]

    def owned(self) -> Evidence:
        """Copy the arrays, laid out as they are, but for counts, which are those of all windows."""
        if self.profiles is None:
            return Evidence(self.sums.copy(order="K"), self.counts, self.signed.copy(order="K"))
        profiles = self.profiles.copied()
        sums = profiles.slope if self.sums is self.profiles.slope else self.sums.copy(order="K")
        signed = profiles.level if self.signed is self.profiles.level else self.signed.copy(order="K")
        return Evidence(sums, self.counts, signed, profiles)

    @staticmethod
    def concatenate(parts: list[Evidence]) -> Evidence:
        """Join evidence in time; profiles only where all parts have them."""
        profiles = [part.profiles for part in parts if part.profiles is not None]
        return Evidence(
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.signed for part in parts]),
            ProfileEvidence.concatenate(profiles) if len(profiles) == len(parts) else None,
        )

    @staticmethod
    def nothing(bands: int) -> Evidence:
        """Return the evidence of no windows."""
        return Evidence(np.zeros((0, bands)), np.zeros((0, bands)), np.zeros((0, bands)))

    def window_scores(self) -> Float64:
        """Return the mean over each window's targets: float64 (windows,)."""
        scores: Float64 = self.sums.sum(axis=1) / np.maximum(self.counts.sum(axis=1), 1.0)
        return scores

    def ranking(self, pooling: Pooling) -> Float64:
        """Return the values by which windows are ranked when they are pooled: float64 (windows,).

        Their surprise for ``trimmed``, so that an odd moment does not stand for the whole clip; else the score.
        """
        if pooling.kind == "trimmed" and self.profiles is not None:
            return self.profiles.surprise
        return self.window_scores()

    def pooled(self, pooling: Pooling) -> Float64:
        """Return the value of each band over all windows: float64 (bands,); NaN in a band without a target."""
        return self._pooled(self.sums, pooling)

    def pooled_signed(self, pooling: Pooling) -> Float64:
        """Return level or residual of each band over all windows, weighted as the score: float64 (bands,), dB."""
        return self._pooled(self.signed, pooling)

    def _pooled(self, sums: Float64, pooling: Pooling) -> Float64:
        weights = pooling.weights(self.ranking(pooling))
        counts = weights @ self.counts
        means: Float64 = np.divide(weights @ sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means

    def scalar(self, pooling: Pooling) -> float:
        """Return one value over all windows and bands."""
        scores = self.window_scores()
        return float(pooling.weights(scores) @ scores)


def evidence_of(
    windows: Float32, prediction: Prediction, kind: ScoreKind, bands: Int64, *, profiles_hop: int | None = None
) -> Evidence:
    """Return the evidence of ``windows``, float32 (B, L, F) in dB, by :class:`EvidenceExtractor`."""
    return EvidenceExtractor(kind, bands, profiles_hop=profiles_hop).evidence(windows, prediction)


class EvidenceExtractor:
    """Windows and predictions in, evidence out.

    The evidence of a window does not depend on the windows beside it: targets are added in their own order.
    """

    def __init__(self, kind: ScoreKind, bands: Int64, *, profiles_hop: int | None = None) -> None:
        """Extract evidence for one kind of score.

        Args:
            kind: kind of the score.
            bands: int64 (n,), indices of the mel bands that count.
            profiles_hop: distance of windows, frames, to extract evidence for the consensus as well; None extracts
                it for the consensus alone, whose windows then must not overlap.
        """
        self._kind = kind
        self._bands = bands
        self._hop_frames = profiles_hop
        self.company: Hashable = kind, bands.tobytes(), profiles_hop

    def evidence(self, windows: Float32, prediction: Prediction) -> Evidence:
        """Return the evidence of ``windows``, float32 (B, L, F) in dB."""
        n, length, n_mels = windows.shape
        if prediction.target_index.ndim > 1:
            level = np.take_along_axis(windows.reshape(n, -1), prediction.target_index, axis=1)  # (B, T)
            by_band = _BandsOfWindows(prediction.target_index, n_mels, self._bands)
            counts = by_band.counts
            added = by_band.sums
        else:
            places = target_places(prediction.target_index, n_mels, self._bands)
            level = windows.reshape(n, -1)[:, places.targets]  # (B, T)
            counts = np.broadcast_to(places.counts, (n, len(places.counts)))
            added = places.sums
        if self._kind == "consensus" or self._hop_frames is not None:
            profiles = self._profiles(windows, level, prediction, added, self._hop_frames or length)
        else:
            profiles = None
        if self._kind == "consensus" and profiles is not None:
            return Evidence(profiles.slope, counts, profiles.level, profiles)
        signed = _signed(level, prediction, self._kind)
        values = _target_values(signed, prediction, self._kind)
        signed_sums = added(signed)
        sums = signed_sums if values is signed else added(values)
        return Evidence(sums, counts, signed_sums, profiles)

    def _profiles(
        self,
        windows: Float32,
        level: Float32,
        prediction: Prediction,
        added: Callable[[Float64], Float64],
        hop_frames: int,
    ) -> ProfileEvidence:
        std = prediction.std.astype(np.float64)
        residual = np.subtract(level, prediction.mean, dtype=np.float64)
        slope = residual / std**2
        surprise = np.log(std, out=std)
        residual *= 0.5
        residual *= slope
        surprise += residual
        return ProfileEvidence(
            slope=added(slope),
            level=added(level.astype(np.float64)),
            surprise=surprise.mean(axis=1),
            rhythm=rhythm_sums(windows, self._bands, hop_frames),
        )


class EvidenceJob:
    """Evidence of one caller's windows, beside those of others whose targets are in the same places."""

    leaves_python: ClassVar[bool] = False

    def __init__(self, extractor: EvidenceExtractor, windows: Float32, prediction: Prediction) -> None:
        """Ask for the evidence of ``windows``, float32 (B, L, F) in dB."""
        self._extractor = extractor
        self._windows = windows
        self._prediction = prediction
        index = prediction.target_index
        places = index.tobytes() if index.ndim == 1 else index.shape[1]
        self.company: Hashable = extractor.company, windows.shape[1:], places

    @classmethod
    def results(cls, jobs: Sequence[EvidenceJob]) -> list[Evidence]:
        """Return the evidence of each."""
        found: list[Evidence] = []
        for start in range(0, len(jobs), JOINED_JOBS):
            found += cls._joined(jobs[start : start + JOINED_JOBS])
        return found

    @classmethod
    def _joined(cls, jobs: Sequence[EvidenceJob]) -> list[Evidence]:
        windows = [job._windows for job in jobs]
        prediction = Prediction.concatenate([job._prediction for job in jobs])
        joined = windows[0] if len(jobs) == 1 else np.concatenate(windows)
        evidence = jobs[0]._extractor.evidence(joined, prediction)
        return evidence.split([len(some) for some in windows])


class TargetPlaces:
    """Places of the targets of each band in a ``target_index`` that all windows share.

    Attributes:
        targets: index that picks the targets, (B, T), from bins, (B, L * F).
        counts: float64 (bands,), number of targets in each band that counts.
    """

    def __init__(self, target_index: Int64, n_mels: int, bands: Int64) -> None:
        self.targets = _columns(target_index)
        band_of = target_index % n_mels
        by_band = np.append(np.argsort(band_of, kind="stable"), len(target_index))
        counts = np.bincount(band_of, minlength=n_mels)
        first = (np.cumsum(counts) - counts)[bands]
        nth = np.arange(counts[bands].max(initial=0))[:, None]
        there = nth < counts[bands]  # (most, bands)
        # Row i has the i-th target of each band, or the place behind all targets, which holds 0.
        places = by_band[np.where(there, first + nth, -1)]
        self.counts = counts[bands].astype(np.float64)
        self._places = places
        columns = [_columns(row) for row in places]
        self._slices = [column for column in columns if isinstance(column, slice)]
        self._regular = bool(there.all()) and len(self._slices) == len(columns)

    def sums(self, values: Float64) -> Float64:
        """Return the sum of the values, float64 (B, T), of each band's targets, in order: float64 (B, bands)."""
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


def target_places(target_index: Int64, n_mels: int, bands: Int64) -> TargetPlaces:
    """Return the places of the targets in an index, int64 (T,): the same object for the same places."""
    return _places_of(target_index.tobytes(), n_mels, bands.tobytes())


@lru_cache(maxsize=64)
def _places_of(target_index: bytes, n_mels: int, bands: bytes) -> TargetPlaces:
    return TargetPlaces(np.frombuffer(target_index, np.int64), n_mels, np.frombuffer(bands, np.int64))


def _columns(index: Int64) -> slice | Int64:
    """Return an index into columns; as a slice, which needs no copy, where they follow one another."""
    if not len(index) or not (np.diff(index) == 1).all():
        return index
    return slice(int(index[0]), int(index[0]) + len(index))


class _BandsOfWindows:
    """Places of the targets of each band where each window has targets of its own: ``target_index`` is (B, T)."""

    def __init__(self, target_index: Int64, n_mels: int, bands: Int64) -> None:
        self._shape = (len(target_index), n_mels)
        self._bands = bands
        self._flat = (np.arange(len(target_index))[:, None] * n_mels + target_index % n_mels).ravel()
        self.counts = self._by_band(None)

    def sums(self, values: Float64) -> Float64:
        """Return the sum of the values, float64 (B, T), of each band's targets: float64 (B, bands)."""
        return self._by_band(values.ravel())

    def _by_band(self, weights: Float64 | None) -> Float64:
        n, n_mels = self._shape
        counted = np.bincount(self._flat, weights, n * n_mels).astype(np.float64)
        return counted.reshape(n, n_mels)[:, self._bands]


def _signed(level: Float32, prediction: Prediction, kind: ScoreKind) -> Float64:
    """Return the levels of the targets, (B, T) in dB, or for most scores their residuals."""
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
