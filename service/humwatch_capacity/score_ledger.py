"""Ledger of scores: due times, arrivals and latencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from humwatch.bundle.manifest import Manifest


@dataclass(frozen=True)
class StepGrid:
    """The ends of the steps of a stream, in samples from where the service began to listen.

    Attributes:
        first_end: one past the last sample that the first score depends on.
        step_samples: samples from one end to the next.
    """

    first_end: int
    step_samples: int

    @classmethod
    def of(cls, manifest: Manifest) -> StepGrid:
        """Return the grid of a model, for sound at the model's rate."""
        windows, features = manifest.windows, manifest.features
        step_windows = windows.step_windows(features)
        _, first_end = windows.sample_bounds(features, 0, step_windows)
        return cls(first_end, step_windows * windows.hop_frames * features.hop_samples)


@dataclass(frozen=True)
class Latencies:
    """Latencies of the scores of some time; a lost one counts as infinitely late.

    Attributes:
        scores: number of scores that came.
        lost: number of scores that did not.
        p50_s: median; None where so many are lost, and without any.
        p99_s: the 99th percentile, the same.
        max_s: the latest that came; None without any.
    """

    scores: int
    lost: int
    p50_s: float | None
    p99_s: float | None
    max_s: float | None

    @classmethod
    def of(cls, latencies_s: Sequence[float]) -> Latencies:
        """Summarise; infinity stands for a lost score."""
        ordered = sorted(latencies_s)
        came = [latency for latency in ordered if math.isfinite(latency)]
        return cls(
            scores=len(came),
            lost=len(ordered) - len(came),
            p50_s=percentile(ordered, 0.5),
            p99_s=percentile(ordered, 0.99),
            max_s=came[-1] if came else None,
        )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the least value with at least such a share at or below it (nearest rank); None if infinite or of none."""
    if not ordered:
        return None
    value = ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]
    return value if math.isfinite(value) else None


class Tally:
    """The scores of all streams: when each was due, and how late it was."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float]] = []

    def came(self, due_s: float, now_s: float) -> None:
        """Note a score."""
        self._rows.append((due_s, now_s - due_s))

    def lost(self, due_s: float) -> None:
        """Note a score that does not come any more."""
        self._rows.append((due_s, math.inf))

    def between(self, from_s: float, to_s: float) -> Latencies:
        """Return the scores that were due from one moment to another, the second not included."""
        return Latencies.of([latency_s for due_s, latency_s in self._rows if from_s <= due_s < to_s])

    def forget(self, before_s: float) -> None:
        """Forget what was due before a moment."""
        self._rows = [row for row in self._rows if row[0] >= before_s]


class ScoreLedger:
    """The scores of one stream. Without :meth:`begin` none are expected."""

    def __init__(self, grid: StepGrid, tally: Tally, *, rate_hz: int, chunk_samples: int) -> None:
        """Expect nothing yet.

        Args:
            grid: steps at which scores are due.
            tally: tally that they are added to.
            rate_hz: sample rate, Hz.
            chunk_samples: samples of a chunk; chunks are counted from sample 0.
        """
        self._grid = grid
        self._tally = tally
        self._rate_hz = rate_hz
        self._chunk = chunk_samples
        self._next_end: int | None = None
        self._epoch_s = 0.0

    def begin(self, first_sample: int, epoch_s: float) -> None:
        """Expect scores from ``first_sample`` on; ``epoch_s`` is the moment of sample 0.

        What was due before and did not come is lost: nothing is left to score it from.
        """
        while self._next_end is not None and self._next_end <= first_sample:
            self._lose()
        self._epoch_s = epoch_s
        self._next_end = first_sample + self._grid.first_end

    def due_s(self, sample: int) -> float:
        """Return the time at which the chunk that holds the sample before ``sample`` is full, and due to be sent."""
        return self._epoch_s + -(-sample // self._chunk) * self._chunk / self._rate_hz

    @property
    def next_due_s(self) -> float:
        """Time at which the next score is due; infinity while none is expected."""
        return math.inf if self._next_end is None else self.due_s(self._next_end)

    def came(self, end_sample: int, now_s: float) -> None:
        """Take a score; those between it and the last are lost, and one that is repeated after a break is ignored."""
        if self._next_end is None or end_sample < self._next_end:
            return
        while self._next_end + self._grid.step_samples <= end_sample:
            self._lose()
        self._tally.came(self.due_s(end_sample), now_s)
        self._next_end = end_sample + self._grid.step_samples

    def give_up(self, due_before_s: float) -> None:
        """Count what was due before this moment and is not here as lost."""
        while self._next_end is not None and self.due_s(self._next_end) < due_before_s:
            self._lose()

    def _lose(self) -> None:
        assert self._next_end is not None  # callers look
        self._tally.lost(self.due_s(self._next_end))
        self._next_end += self._grid.step_samples
