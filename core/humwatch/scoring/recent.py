"""Last clip of a stream, as sums of its blocks: each window is added up once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

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
        self._blocks: deque[EvidenceBlock] = deque()
        self._windows = 0

    def push(self, evidence: Evidence) -> None:
        """Take the windows that come next; forget those that lie further back than a clip."""
        self._blocks.append(EvidenceBlock(evidence))
        self._windows += len(evidence)
        while self._windows > self._clip_windows:
            oldest = self._blocks.popleft()
            kept = min(oldest.windows, self._clip_windows - (self._windows - oldest.windows))
            self._windows -= oldest.windows
            if kept > 0:
                self._blocks.appendleft(oldest.newest(kept))
                self._windows += kept

    def last(self, n_windows: int) -> list[EvidenceBlock]:
        """Return the last ``n_windows`` windows, of which as many are held, in blocks, the oldest first."""
        blocks: list[EvidenceBlock] = []
        missing = n_windows
        for block in reversed(self._blocks):
            if not missing:
                break
            blocks.append(block if block.windows <= missing else block.newest(missing))
            missing -= blocks[-1].windows
        return blocks[::-1]

    def pooled(self, n_windows: int) -> Pooled:
        """Pool the last ``n_windows`` windows, of which as many are held."""
        return pooled(self._scoring, [self.last(n_windows)])[0]

    def rhythm(self, n_windows: int) -> Float64 | None:
        """Return the sums of powers of the level, float64 (windows, groups, powers), of the last windows, if kept."""
        parts = [block.profiles.rhythm for block in self._blocks if block.profiles is not None]
        return np.concatenate(parts)[-n_windows:] if len(parts) == len(self._blocks) else None


class EvidenceBlock:
    """Windows that came together, and their sums, computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.windows = len(evidence)

    @property
    def layout(self) -> Hashable:
        """Where the arrays lie: blocks of one layout go through the same matrix products, which round alike."""
        of = self._evidence
        shared = id(of.counts.base) if of.counts.strides[0] == 0 else None
        return self.windows, shared, of.sums.strides, of.signed.strides, of.counts.strides

    def newest(self, windows: int) -> EvidenceBlock:
        """Return the last windows alone."""
        last = self._evidence[self.windows - windows :]
        return EvidenceBlock(Evidence(last.sums.copy(), last.counts.copy(), last.signed.copy(), last.profiles))

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

    @property
    def evidence(self) -> Evidence:
        """Evidence of the windows."""
        return self._evidence


class RecentLines:
    """Line spectra of blocks in, those of the blocks that lie whole in the last clip out."""

    def __init__(self, clip_windows: int) -> None:
        self._clip_windows = clip_windows
        self.reset()

    def reset(self) -> None:
        """Forget all blocks."""
        self._blocks: deque[tuple[int, LinePower]] = deque()

    def push(self, first_window: int, power: LinePower) -> None:
        """Take the spectra of the block that begins at ``first_window``; forget those that no clip holds any more."""
        while self._blocks and self._blocks[0][0] <= first_window - self._clip_windows:
            self._blocks.popleft()
        self._blocks.append((first_window, power))

    def clip(self, end_window: int) -> ClipLines:
        """Return the line spectra of the clip that ends before ``end_window``; forget those before it."""
        while self._blocks and self._blocks[0][0] < end_window - self._clip_windows:
            self._blocks.popleft()
        return ClipLines.of([power for _, power in self._blocks])


def pooled(scoring: ScoringSpec, many: Sequence[Sequence[EvidenceBlock]]) -> list[Pooled]:
    """Pool the windows of several streams, each by itself.

    Args:
        scoring: score that they are pooled for.
        many: blocks of each stream, the oldest first.
    """
    found: dict[int, Pooled] = {}
    alike: dict[Hashable, list[int]] = {}
    for number, blocks in enumerate(many):
        alike.setdefault(tuple(block.layout for block in blocks), []).append(number)
    for numbers in alike.values():
        some = [many[number] for number in numbers]
        if scoring.pooling.kind == "mean":
            sums = np.stack([_added([block.totals for block in blocks[::-1]]) for blocks in some], axis=1)
        else:
            sums = _weighted(scoring, some)
        values, counts, signed = sums  # (streams, bands) each
        means = np.full((2, *counts.shape), np.nan)
        np.divide([values, signed], counts, out=means, where=counts > 0)
        for number, blocks, value, sign in zip(numbers, some, *means, strict=True):
            found[number] = Pooled(value, sign, _mean_error(scoring, blocks))
    return [found[number] for number in range(len(many))]


def _weighted(scoring: ScoringSpec, some: Sequence[Sequence[EvidenceBlock]]) -> Float64:
    """Return sums, counts and signed sums of blocks of one layout, by their weights: float64 (3, streams, bands)."""
    ranking = np.stack([np.concatenate([block.ranking(scoring) for block in blocks]) for blocks in some])
    weights = scoring.pooling.weights(ranking)  # (streams, windows)
    parts: list[Float64] = []
    start = 0
    for layout, run in groupby(zip(*some, strict=True), lambda blocks: blocks[0].layout):
        together = list(run)  # (blocks, streams)
        end = start + sum(blocks[0].windows for blocks in together)
        shape = len(some), len(together), 1, together[0][0].windows
        parts.append(_products(weights[:, start:end].reshape(shape), [block.evidence for block in chain(*together)]))
        start = end
    return np.add.reduce(np.concatenate(parts, axis=2), axis=2)


def _products(weights: Float64, evidence: Sequence[Evidence]) -> Float64:
    """Return the products of weights and evidence: float64 (3, streams, blocks, bands).

    Each is a product of its own, of the same shapes and layouts whatever is computed beside it.

    Args:
        weights: float64 (streams, blocks, 1, windows).
        evidence: evidence of one layout, all streams of the first block, then of the next.
    """
    streams, blocks, _, windows = weights.shape
    first = evidence[0]
    found = np.empty((3, streams, blocks, 1, first.sums.shape[1]))
    for place, name in enumerate(("sums", "counts", "signed")):
        arrays = [getattr(some, name) for some in evidence]
        if arrays[0].strides[0] == 0 or len(arrays) == 1:
            np.matmul(weights, arrays[0], out=found[place])  # the same counts for all windows
        elif arrays[0].flags.c_contiguous:
            matrices = np.concatenate(arrays).reshape(blocks, streams, windows, -1).swapaxes(0, 1)
            np.matmul(weights, matrices, out=found[place])
        else:
            for number, array in enumerate(arrays):
                block, stream = divmod(number, streams)
                np.matmul(weights[stream, block], array, out=found[place, stream, block])
    return found[:, :, :, 0]


def _mean_error(scoring: ScoringSpec, blocks: Sequence[EvidenceBlock]) -> float:
    if scoring.is_profile or scoring.kind == "consensus":
        return float("nan")
    scores = np.concatenate([block.scores for block in blocks])
    return float(scoring.pooling.weights(scores) @ scores)


def _added(parts: list[Float64]) -> Float64:
    total = np.zeros_like(parts[0])
    for part in parts:
        total += part
    return total
