"""Adaptive gradient clipping (Seetharaman et al., MLSP 2020)."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class AutoClip:
    """Gradient clipping at a percentile of all the norms seen so far, the present one included.

    The history is kept sorted, so a step costs one insertion, not a sort; its order carries no information.
    ``percentile`` None clips nothing, and still detects a gradient that is not finite.
    """

    def __init__(self, percentile: float | None = 10.0) -> None:
        self._percentile = percentile
        self._norms: list[float] = []

    def __len__(self) -> int:
        return len(self._norms)

    def threshold(self) -> float:
        """Return the percentile of the history, with linear interpolation; infinite for an empty one."""
        if not self._norms or self._percentile is None:
            return math.inf
        position = (len(self._norms) - 1) * self._percentile / 100.0
        below = math.floor(position)
        above = min(below + 1, len(self._norms) - 1)
        return self._norms[below] + (position - below) * (self._norms[above] - self._norms[below])

    def push(self, norm: float) -> float | None:
        """Append a gradient norm and return the norm to clip at; None, without an entry, if not finite."""
        if not math.isfinite(norm):
            return None
        if self._percentile is None:
            return norm
        insort(self._norms, norm)
        return self.threshold()

    def clip(self, parameters: Iterable[nn.Parameter]) -> tuple[float, float | None]:
        """Clip the gradients in place; return their norm before, and the threshold, or None to skip the step."""
        clipped = [parameter for parameter in parameters if parameter.grad is not None]
        total = nn.utils.get_total_norm([p.grad for p in clipped if p.grad is not None], foreach=True)
        threshold = self.push(float(total))
        if threshold is not None and self._percentile is not None:
            nn.utils.clip_grads_with_norm_(clipped, threshold, total, foreach=True)
        return float(total), threshold

    def state_dict(self) -> dict[str, Tensor]:
        """Return the history, float64 (n,), ascending."""
        return {"norms": torch.tensor(self._norms, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the history of a ``state_dict``."""
        self._norms = state["norms"].tolist()
