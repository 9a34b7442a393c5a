"""Specification of an evaluation: the systems that are compared, and the means to do so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from humwatch.audio.windows import WindowSpec
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.few_recordings import FEW_DRAWS
from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.systems import Recipe, System

DRAWS: Final = 1000


@dataclass(frozen=True)
class EvaluationSpec:
    """Systems to compare, and the means to do so.

    ``threads`` are CPU threads, torch's choice where None. ``steps`` and ``minutes`` are the budget of each network,
    the recipe's own steps where both are None; ``hop_frames`` None takes each system's own. ``draws`` are those of
    bootstrap intervals, ``few_draws`` those of few recordings, 0 to leave them out.
    """

    systems: tuple[System, ...]
    out: Path
    threads: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    hop_frames: int | None = None
    retrain: bool = False
    draws: int = DRAWS
    few_draws: int = FEW_DRAWS

    @property
    def cpu_threads(self) -> int:
        """Number of CPU threads in use."""
        return self.threads or torch.get_num_threads()

    def training_spec(self, recipe: Recipe, reader: ClipReader) -> TrainingSpec:
        """Return the specification of a recipe's training on a data set."""
        settings = {**recipe.network.model_dump(), "n_mels": reader.features.n_mels}
        budget = {"steps": self.steps, "minutes": self.minutes}
        return recipe.spec(
            network=type(recipe.network).model_validate(settings),
            features=reader.features,
            seed=self.seed,
            threads=self.threads,
            **({} if recipe.steps == 1 else {name: value for name, value in budget.items() if value is not None}),
        )

    def windows(self, system: System) -> WindowSpec:
        """Return the windows that a system is measured on."""
        return WindowSpec(length_frames=system.recipe.network.n_frames, hop_frames=self.hop_frames or system.hop_frames)
