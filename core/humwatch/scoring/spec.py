"""Settings of the score: its kind, its bands, and the pooling of windows over time."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from humwatch.arrays import Float64, Int64
from humwatch.audio.features import FeatureSpec

ScoreKind = Literal["consensus", "likelihood_profile", "residual_profile", "spectrum_profile", "mse", "nll"]
PoolingKind = Literal["mean", "max", "gwrp", "trimmed"]

DEFAULT_SCORE: Final[ScoreKind] = "consensus"
"""Score of new bundles, whatever the number of recordings."""

TRIMMED_SHARE: Final = 0.2
"""Share of a clip's windows that trimming leaves out: that of the customary trimmed mean (Wilcox, 2012)."""


class Pooling(BaseModel):
    """How the windows of a clip become one value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PoolingKind = "mean"
    decay: float = Field(0.9, gt=0, lt=1, description="gwrp: weight of each next lower score, relative")

    def weights(self, scores: Float64) -> Float64:
        """Return the weights of windows with these scores, float64 (..., n): float64 of the same shape, sum 1.

        ``gwrp`` is global weighted rank pooling (Kolesnikov and Lampert, 2016): the k-th highest score weighs
        ``decay**k``; ``mean`` and ``max`` are its limits. ``trimmed`` is the mean without the ``TRIMMED_SHARE`` of
        the windows with the highest scores.
        """
        n = scores.shape[-1]
        if self.kind == "mean":
            return np.full(scores.shape, 1.0 / n)
        rank = np.empty(scores.shape, np.int64)
        np.put_along_axis(rank, np.argsort(-scores, axis=-1, kind="stable"), np.arange(n), axis=-1)
        match self.kind:
            case "max":
                weights = (rank == 0).astype(np.float64)
            case "trimmed":
                weights = (rank >= int(TRIMMED_SHARE * n)).astype(np.float64)
            case _:
                weights = self.decay**rank
        normalised: Float64 = weights / weights.sum(axis=-1, keepdims=True)
        return normalised


class ScoringSpec(BaseModel):
    """Which score a bundle uses.

    ``mse`` and ``nll`` are eq. 7 of the paper with std 1 and with the predicted std. ``residual_profile`` is the
    Mahalanobis distance of the clip's mean signed residual per band from the machine's own normal clips;
    ``likelihood_profile`` is the same for the residual over its predicted variance, the slope of the log-likelihood
    (Rao's score, 1948): where the network is sure of a bin, a departure counts for more. With std 1 they are one.
    ``spectrum_profile`` is the same for the level itself, which needs no network and is the honest opponent.
    ``consensus`` weighs the likelihood's and the spectrum's profile (:mod:`humwatch.detectors.consensus`), each over
    the windows that surprise the network least, and has detectors for what is irregular in time and for narrow lines
    beside it (:mod:`humwatch.detectors.detector_set`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ScoreKind = DEFAULT_SCORE
    pooling: Pooling = Pooling()
    low_hz: float = Field(0.0, ge=0, description="bands that reach below this are left out, Hz")
    high_hz: float = Field(
        7_600.0,
        gt=0,
        description="bands that reach above this are left out, Hz: there a resampler's roll-off, not the machine,"
        " sets the level (the passband of soxr's VHQ ends at 0.95 of the Nyquist frequency)",
    )

    @model_validator(mode="before")
    @classmethod
    def _consensus_is_trimmed(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("kind", DEFAULT_SCORE) == "consensus" and "pooling" not in given:
            return {**given, "pooling": Pooling(kind="trimmed")}
        return given

    @model_validator(mode="after")
    def _kinds_have_their_pooling(self) -> ScoringSpec:
        wanted = "trimmed" if self.kind == "consensus" else "mean" if self.is_profile else self.pooling.kind
        if self.pooling.kind != wanted or (wanted == "trimmed") != (self.kind == "consensus"):
            raise ValueError(f"{self.kind} is not defined on {self.pooling.kind} over time")
        return self

    def of_kind(self, kind: ScoreKind) -> ScoringSpec:
        """Return another score of the same bands; an error keeps how it is pooled."""
        if kind == self.kind:
            return self
        pooling = {"pooling": self.pooling} if {kind, self.kind} <= {"mse", "nll"} else {}
        return ScoringSpec.model_validate({"kind": kind, "low_hz": self.low_hz, "high_hz": self.high_hz, **pooling})

    @property
    def is_profile(self) -> bool:
        """True if the score is the distance of one band profile."""
        return self.kind in ("likelihood_profile", "residual_profile", "spectrum_profile")

    @property
    def signed_is_score(self) -> bool:
        """True if the normal mean of a band's score is that of its level or residual in dB."""
        return self.kind in ("consensus", "residual_profile", "spectrum_profile")

    def bands(self, features: FeatureSpec) -> Int64:
        """Return the indices of the mel bands that count: int64 (n,)."""
        low, high = features.band_edges_hz.T
        return np.flatnonzero((low >= self.low_hz) & (high <= self.high_hz))
