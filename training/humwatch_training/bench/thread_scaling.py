"""Speed of a training on several threads of the CPU beside one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from humwatch.audio.features import FeatureSpec
from humwatch_training.bench.training_speed import MEASURED_RECIPES, synthetic_clips
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.fit.systems import RECIPES, Recipe
from humwatch_training.fit.threads import torch_threads
from humwatch_training.fit.trainer import Trainer

WARMUP_STEPS = 10
"""Steps that are not timed: the first product of each size is slower, as its kernel is made."""
STEPS = 40


@dataclass(frozen=True)
class ThreadScaling:
    """Speed of one recipe's steps on one thread and on ``threads``: a step over the median of all steps."""

    recipe: str
    batch_windows: int
    threads: int
    steps_per_s_alone: float
    steps_per_s: float

    @property
    def ratio(self) -> float:
        """Ratio of the steps a second on ``threads`` to those on one."""
        return self.steps_per_s / self.steps_per_s_alone


def scale_threads(
    recipe: Recipe,
    clips: Sequence[Clip],
    threads: int,
    *,
    steps: int = STEPS,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> ThreadScaling:
    """Train a recipe's network twice, on one thread and on ``threads``, a step each in turn.

    Both draw the same windows and masks, and a busy machine slows both. Raises ValueError for a recipe that takes no
    steps, and for fewer than two threads.
    """
    if steps < 1 or threads < 2 or recipe.steps == 1:
        raise ValueError(f"recipe {recipe.name}, {steps} steps, {threads} threads: there is nothing to compare")
    spec = recipe.spec(seed=seed, device="cpu", features=FeatureSpec(n_mels=recipe.network.n_mels))
    windows, normalisation = WindowSet(clips, recipe.network.n_frames), Normalisation.of(clips)
    trainers = {count: Trainer.start(spec, windows, normalisation) for count in (1, threads)}
    seconds: dict[int, list[float]] = {count: [] for count in trainers}
    for _ in range(WARMUP_STEPS + steps):
        for count, trainer in trainers.items():
            with torch_threads(count):
                begun = clock()
                trainer.step()
                seconds[count].append(clock() - begun)
    alone_s, together_s = (median(seconds[count][WARMUP_STEPS:]) for count in (1, threads))
    return ThreadScaling(recipe.name, spec.batch_windows, threads, 1.0 / alone_s, 1.0 / together_s)


def measure_thread_scaling(
    threads: int,
    recipes: Iterable[str] = MEASURED_RECIPES,
    clips: Sequence[Clip] | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> list[ThreadScaling]:
    """Return one comparison a recipe, on the given clips of 128 bands, or on seeded synthetic ones."""
    known = synthetic_clips(seed) if clips is None else clips
    return [scale_threads(RECIPES[name], known, threads, steps=steps, seed=seed) for name in recipes]
