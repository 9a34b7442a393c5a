"""The learning rate over the steps (Vaswani et al., 2017, section 5.3, scaled to a peak)."""

import math

FULL_WARMUP_STEPS = 4000
FULL_BUDGET_STEPS = 30_000


def warmup_steps(steps: int) -> int:
    """Return the paper's 4000 warm-up steps, shortened in proportion for a budget under 30,000 steps."""
    if steps >= FULL_BUDGET_STEPS:
        return FULL_WARMUP_STEPS
    return max(1, round(FULL_WARMUP_STEPS * steps / FULL_BUDGET_STEPS))


def learning_rate(step: int, *, peak: float, warmup: int) -> float:
    """Return `peak * min(step / warmup, sqrt(warmup / step))`; steps count from 1."""
    return peak * min(step / warmup, math.sqrt(warmup / step))
