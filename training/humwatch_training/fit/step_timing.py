"""Time of a training's steps, and how many of them a budget of minutes is planned for."""

from __future__ import annotations

import time
from collections.abc import Callable

WARMUP_STEPS = 2
COUNTED_STEPS = 12
"""Number of steps timed for a minutes budget: about two of each combination of target columns and rows."""
TIMED_STEPS = WARMUP_STEPS + COUNTED_STEPS

PLANNED_SHARE = 0.85
"""Share of a minutes budget that is planned in steps of the timed speed: a machine slows down when it is warm or busy,
and a schedule that time cuts off has not come down to its small last steps."""


def seconds_per_step(step: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return seconds a step over ``COUNTED_STEPS`` of them, after a few that are not counted."""
    for _ in range(WARMUP_STEPS):
        step()
    begun = clock()
    for _ in range(COUNTED_STEPS):
        step()
    return max((clock() - begun) / COUNTED_STEPS, 1e-9)


def steps_within(budget_s: float, step_s: float) -> int:
    """Return the number of steps, at least one, that a budget is planned for."""
    return max(1, int(PLANNED_SHARE * budget_s / step_s))
