"""Last clip of a stream, as sums of its blocks: each window is added up once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from humwatch.arrays import Float64
from humwatch.detectors.lines import ClipLines, LinePower
from humwatch.detectors.profile import NormalProfile
from humwatch.scoring.evidence import Evidence, ProfileEvidence
from humwatch.scoring.spec import ScoringSpec


@dataclass(frozen=True)
class Pooled:
    """Pooled evidence of some windows.

    Attributes:
        values: float64 (bands,), score of each band; NaN in a band without a target.
        signed: float64 (bands,), level or residual, dB; NaN as above.
        mean_error: mean over windows and bands, weighted by ``Pooling``; NaN for a profile, which has none.
    """

    values: Float64
    signed: Float64
    mean_error: float

    def judged(self, scoring: ScoringSpec, normal: NormalProfile) -> tuple[float, Float64]:
        """Return ``raw_score`` and ``band_contributions`` of a calibration: score, float64 (bands,)."""
        if scoring.is_profile:
            shares = normal.contributions(self.values)
            return float(np.sqrt(shares.sum())), shares
        return self.mean_error, np.maximum(0.0, np.nan_to_num(self.values - normal.mean, nan=0.0))


class RecentEvidence:
    """Evidence of blocks in, the pooled evidence of the last windows out; holds one clip at most.

    Sums are kept for each block and added anew for each result, newest first, so that nothing drifts, and nothing
    depends on sound before the clip.
    """

    def __init__(self, scoring: ScoringSpec, clip_windows: int) -> None:
        self._scoring = scoring
        self._clip_windows = clip_windows
        self.reset()

    def __len__(self) -> int:
        """Return the number of windows held."""
        return self._windows

    def reset(self) -> None:
        """Forget all windows."""
        self._blocks: deque[_Block] = deque()
        self._windows = 0

    def push(self, evidence: Evidence) -> None:
        """Take the windows that come next; forget those that lie further back than a clip."""
        self._blocks.append(_Block(evidence))
        self._windows += len(evidence)
        while self._windows > self._clip_windows:
            oldest = self._blocks.popleft()
            kept = min(oldest.windows, self._clip_windows - (self._windows - oldest.windows))
            self._windows -= oldest.windows
            if kept > 0:
                self._blocks.appendleft(oldest.newest(kept))
                self._windows += kept

    def pooled(self, n_windows: int) -> Pooled:
        """Pool the last ``n_windows`` windows, of which as many are held."""
        blocks: list[_Block] = []
        missing = n_windows
        for block in reversed(self._blocks):
            if not missing:
                break
            blocks.append(block if block.windows <= missing else block.newest(missing))
            missing -= blocks[-1].windows
        if self._scoring.pooling.kind == "mean":
            sums = _added([block.totals for block in blocks])
        else:
            sums = self._weighted(blocks[::-1])
        values, counts, signed = sums
        means = np.full((2, len(counts)), np.nan)
        np.divide([values, signed], counts, out=means, where=counts > 0)
        return Pooled(means[0], means[1], self._mean_error(blocks[::-1]))

    def rhythm(self, n_windows: int) -> Float64 | None:
        """Return the sums of powers of the level, float64 (windows, groups, powers), of the last windows, if kept."""
        parts = [block.profiles.rhythm for block in self._blocks if block.profiles is not None]
        return np.concatenate(parts)[-n_windows:] if len(parts) == len(self._blocks) else None

    def _weighted(self, blocks: list[_Block]) -> Float64:
        weights = self._scoring.pooling.weights(np.concatenate([block.ranking(self._scoring) for block in blocks]))
        ends = np.cumsum([block.windows for block in blocks])
        shares = np.split(weights, ends[:-1])
        return _added([block.weighted(share) for block, share in zip(blocks, shares, strict=True) if share.any()])

    def _mean_error(self, blocks: list[_Block]) -> float:
        if self._scoring.is_profile or self._scoring.kind == "consensus":
            return float("nan")
        scores = np.concatenate([block.scores for block in blocks])
        return float(self._scoring.pooling.weights(scores) @ scores)


class _Block:
    """Windows that came together, and their sums, computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.windows = len(evidence)

    def newest(self, windows: int) -> _Block:
        """Return the last windows alone."""
        last = self._evidence[self.windows - windows :]
        return _Block(Evidence(last.sums.copy(), last.counts.copy(), last.signed.copy(), last.profiles))

    @property
    def profiles(self) -> ProfileEvidence | None:
        """Evidence for the consensus, where that is kept."""
        return self._evidence.profiles

    def ranking(self, scoring: ScoringSpec) -> Float64:
        """Return the values by which windows are ranked: float64 (windows,)."""
        return self.scores if scoring.kind != "consensus" else self._evidence.ranking(scoring.pooling)

    @cached_property
    def totals(self) -> Float64:
        """Sums, counts and signed sums of all windows: float64 (3, bands)."""
        of = self._evidence
        return np.stack([of.sums.sum(axis=0), of.counts.sum(axis=0), of.signed.sum(axis=0)])

    @cached_property
    def scores(self) -> Float64:
        """Mean over each window's targets: float64 (windows,)."""
        return self._evidence.window_scores()

    def weighted(self, weights: Float64) -> Float64:
        """Return sums, counts and signed sums of the windows by weights, float64 (windows,): float64 (3, bands)."""
        of = self._evidence
        return np.stack([weights @ of.sums, weights @ of.counts, weights @ of.signed])


class RecentLines:
    """Line spectra of blocks in, those of the blocks that lie whole in the last clip out."""

    def __init__(self, clip_windows: int) -> None:
        self._clip_windows = clip_windows
        self.reset()

    def reset(self) -> None:
        """Forget all blocks."""
        self._blocks: deque[tuple[int, LinePower]] = deque()

    def push(self, first_window: int, power: LinePower) -> None:
        """Take the spectra of the block that begins at ``first_window``."""
        self._blocks.append((first_window, power))

    def clip(self, end_window: int) -> ClipLines:
        """Return the line spectra of the clip that ends before ``end_window``; forget those before it."""
        while self._blocks and self._blocks[0][0] < end_window - self._clip_windows:
            self._blocks.popleft()
        return ClipLines.of([power for _, power in self._blocks])


def _added(parts: list[Float64]) -> Float64:
    total = np.zeros_like(parts[0])
    for part in parts:
        total += part
    return total
