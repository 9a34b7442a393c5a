"""Every system of the paper's tables, and the product's own: what is trained, how, and what it is then asked.

The mask is chosen at export, not at training: one trained ANP stands behind three systems.
"""

from dataclasses import dataclass

from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.schedule import Schedule
from humwatch_training.networks.attentive import AnpConfig
from humwatch_training.networks.autoencoder import AutoencoderConfig, IdnnConfig
from humwatch_training.networks.constant import ConstantConfig
from humwatch_training.networks.kinds import NetworkConfig
from humwatch_training.networks.latent import LatentAnpConfig
from humwatch_training.networks.strategy_choice import StrategyConfig


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. `steps` is a budget on which it is known to settle, not a limit."""

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
        """Return the recipe as a specification; without `steps` or `minutes` among the overrides, on its own budget."""
        budget = {} if {"steps", "minutes"} & overrides.keys() else {"steps": self.steps}
        return TrainingSpec.model_validate({**self.settings(), **budget, **overrides})


@dataclass(frozen=True, slots=True)
class System:
    """A row of the tables: `trains` names the recipe of its network, `strategy` what the network is asked.

    `hop_frames` is the distance of the windows that it is measured on: what two cores have time for.
    """

    name: str
    title: str
    trains: str
    strategy: StrategyConfig
    hop_frames: int

    @property
    def recipe(self) -> Recipe:
        """How its network is trained."""
        return RECIPES[self.trains]


def _baseline(name: str, network: NetworkConfig) -> Recipe:
    """As the DCASE 2020 baseline trains: Adam at 1e-3 throughout, batches of 512, nothing clipped."""
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
"""The system of new bundles: what `fit` trains and `export` asks where nothing else is chosen."""

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
