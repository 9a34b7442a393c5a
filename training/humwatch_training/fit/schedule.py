"""Learning rate over the steps."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["inverse_sqrt", "constant", "cosine"]

FULL_WARMUP_STEPS = 4000
FULL_BUDGET_STEPS = 30_000
COSINE_FLOOR = 0.02
"""Rate at the end of the cosine, relative to the peak: the last steps are small, not lost."""


def warmup_steps(steps: int) -> int:
    """Return the paper's 4000 warm-up steps, shortened in proportion for a budget under 30,000 steps."""
    if steps >= FULL_BUDGET_STEPS:
        return FULL_WARMUP_STEPS
    return max(1, round(FULL_WARMUP_STEPS * steps / FULL_BUDGET_STEPS))


def learning_rate(step: int, *, peak: float, warmup: int) -> float:
    """Return ``peak * min(step / warmup, sqrt(warmup / step))`` (Vaswani et al., 2017, section 5.3, scaled to a peak).

    Steps count from 1.
    """
    return peak * min(step / warmup, math.sqrt(warmup / step))


def scheduled_rate(schedule: Schedule, step: int, *, peak: float, warmup: int | None, steps: int) -> float:
    """Return the rate of a step (from 1) in a budget of ``steps``; ``warmup`` None takes the schedule's own.

    "constant" has no warm-up of its own. "cosine" falls over the whole budget to ``COSINE_FLOOR`` of the peak.
    """
    if schedule == "inverse_sqrt":
        return learning_rate(step, peak=peak, warmup=warmup or warmup_steps(steps))
    if schedule == "constant":
        return peak * min(1.0, step / (warmup or 1))
    fallen = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))
    return peak * min(1.0, step / (warmup or warmup_steps(steps))) * max(COSINE_FLOOR, fallen)
