"""Systems of the paper's tables, and the product's own: recipe of the training, and mask of the predictions.

The mask is chosen at export, not at training: one trained ANP stands behind three systems.
"""

from __future__ import annotations

from dataclasses import dataclass

from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.schedule import Schedule
from humwatch_training.networks.attentive import AnpConfig
from humwatch_training.networks.autoencoder import AutoencoderConfig, IdnnConfig
from humwatch_training.networks.constant import ConstantConfig
from humwatch_training.networks.kinds import NetworkConfig
from humwatch_training.networks.latent import LatentAnpConfig
from humwatch_training.networks.strategy_choice import StrategyConfig


@dataclass(frozen=True)
class Recipe:
    """Recipe of a network's training. ``steps`` is a budget on which it is known to settle, not a limit."""

    name: str
    network: NetworkConfig
    steps: int
    batch_windows: int = 64
    learning_rate: float = 1e-3
    schedule: Schedule = "inverse_sqrt"
    warmup_steps: int | None = None
    autoclip_percentile: float | None = 10.0
    context_points: int | None = None

    def settings(self) -> dict[str, object]:
        """Return the fields of a TrainingSpec that the recipe sets, without the budget."""
        return {
            "network": self.network,
            "batch_windows": self.batch_windows,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "warmup_steps": self.warmup_steps,
            "autoclip_percentile": self.autoclip_percentile,
            "context_points": self.context_points,
        }

    def spec(self, **overrides: object) -> TrainingSpec:
        """Return the recipe as a specification, on its own budget unless ``steps`` or ``minutes`` override it."""
        budget = {} if {"steps", "minutes"} & overrides.keys() else {"steps": self.steps}
        return TrainingSpec.model_validate({**self.settings(), **budget, **overrides})


@dataclass(frozen=True)
class System:
    """A row of the tables: ``trains`` names the recipe of its network, ``strategy`` is the choice of its masks.

    ``hop_frames`` is the distance of the windows that it is measured on, one that two cores have time for.
    """

    name: str
    title: str
    trains: str
    strategy: StrategyConfig
    hop_frames: int

    @property
    def recipe(self) -> Recipe:
        """Recipe of the system's network."""
        return RECIPES[self.trains]


def _baseline(name: str, network: NetworkConfig) -> Recipe:
    """Return the recipe of a DCASE 2020 baseline: Adam at 1e-3 throughout, batches of 512, nothing clipped."""
    return Recipe(name, network, steps=20_000, batch_windows=512, schedule="constant", autoclip_percentile=None)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("network-free", ConstantConfig(), steps=1),
        _baseline("ae", AutoencoderConfig()),
        _baseline("idnn", IdnnConfig()),
        Recipe("anp", AnpConfig(), steps=30_000, context_points=192),
        Recipe(
            "latent-anp",
            LatentAnpConfig(),
            steps=20_000,
            batch_windows=256,
            learning_rate=2e-3,
            schedule="cosine",
            warmup_steps=100,
            autoclip_percentile=90.0,
        ),
    )
}

DEFAULT_SYSTEM = "latent-anp"
"""System of new bundles: the default of ``fit`` and ``export``."""

DEFAULT_RECIPE = DEFAULT_SYSTEM

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System("network-free", "Spectrum profile, no network", "network-free", StrategyConfig(name="constant"), 5),
        System("ae", "AE", "ae", StrategyConfig(name="reconstruct"), 1),
        System("idnn", "IDNN", "idnn", StrategyConfig(name="interpolate"), 1),
        System("anp-idnn", "ANP-IDNN", "anp", StrategyConfig(name="idnn"), 16),
        System("anp-rrc", "ANP-RRC", "anp", StrategyConfig(name="rrc"), 16),
        System("anp-boot", "ANP-Boot", "anp", StrategyConfig(name="boot"), 16),
        System("latent-anp", "Latent ANP, bands from bands", "latent-anp", StrategyConfig(name="bands"), 5),
    )
}
