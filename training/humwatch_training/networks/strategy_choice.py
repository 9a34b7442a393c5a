"""Choice of strategies: those of each kind of network, its default, and their names in a bundle."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from humwatch_training.errors import StrategyError
from humwatch_training.networks.autoencoder import Autoencoder, InterpolatingNetwork
from humwatch_training.networks.constant import ConstantSpectrum
from humwatch_training.networks.kinds import NetworkConfig
from humwatch_training.networks.masks import Partition, block_partitions, comb_partitions, idnn_partition
from humwatch_training.networks.network import Network, NeuralProcess
from humwatch_training.networks.strategies import (
    ConstantAnswer,
    FixedMasks,
    LikelihoodBootstrap,
    MiddleFrame,
    RandomRowsAndColumns,
    Strategy,
    WholeWindow,
)

StrategyName = Literal["idnn", "rrc", "boot", "combs", "blocks", "bands", "reconstruct", "interpolate", "constant"]

_MASKS: tuple[StrategyName, ...] = ("idnn", "rrc", "boot", "combs", "blocks", "bands")
_GROUPED = ("combs", "blocks", "bands")

STRATEGIES_OF: dict[str, tuple[StrategyName, ...]] = {
    "anp": _MASKS,
    "latent_anp": ("bands", "combs", "blocks", "idnn", "rrc", "boot"),
    "autoencoder": ("reconstruct",),
    "idnn": ("interpolate",),
    "constant": ("constant",),
}
"""Strategies of each kind of network; the first is its default."""

_TITLE_OF = {
    "anp": "anp",
    "latent_anp": "latent-anp",
    "autoencoder": "ae",
    "idnn": "idnn",
    "constant": "network-free",
}


class StrategyConfig(BaseModel):
    """Configuration of a strategy.

    ``groups`` is for the strategies that hide bands: "combs" hides every ``groups``-th band, in as many passes;
    "blocks" one of ``groups`` blocks of adjacent bands; "bands" does both, in combs and in twice as many blocks, so
    that every bin is predicted once from bands beside it and once from bands further off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrategyName
    groups: int = Field(default=2, ge=2)


def default_strategy(network: NetworkConfig) -> StrategyConfig:
    """Return the strategy of a kind of network where nothing else is chosen."""
    return StrategyConfig(name=STRATEGIES_OF[network.kind][0])


def default_hop(config: StrategyConfig, n_frames: int) -> int:
    """Return the hop of windows of ``n_frames`` at which a strategy predicts every frame: of all of them, or of one."""
    return n_frames if config.name in (*_GROUPED, "reconstruct", "constant") else 1


def strategy_title(network: NetworkConfig, config: StrategyConfig) -> str:
    """Return the name that a bundle gives: "anp-boot", "ae", "latent-anp-bands2"."""
    title = _TITLE_OF[network.kind]
    if config.name not in _MASKS:
        return title
    return f"{title}-{config.name}{config.groups}" if config.name in _GROUPED else f"{title}-{config.name}"


def strategy_of_title(network: NetworkConfig, title: str) -> StrategyConfig:
    """Parse a bundle's title of this network; raise StrategyError where it is of another."""
    name = title.removeprefix(_TITLE_OF[network.kind]).removeprefix("-")
    stem = name.rstrip("0123456789")
    try:
        found = StrategyConfig.model_validate(
            {"name": stem or STRATEGIES_OF[network.kind][0], "groups": int(name[len(stem) :] or 2)}
        )
    except ValueError:
        found = default_strategy(network)
    if strategy_title(network, found) != title or found.name not in STRATEGIES_OF[network.kind]:
        raise StrategyError(f"{title!r} is no strategy of a network of kind {network.kind}")
    return found


def build_strategy(network: Network, config: StrategyConfig | None = None) -> Strategy:
    """Return a network with its strategy, ready to predict; the kind's default where none is named.

    Raises StrategyError where a network of this kind, or for such windows, cannot follow it.
    """
    chosen = config or default_strategy(cast(NetworkConfig, network.config))
    try:
        return _strategy(network, chosen).eval()
    except ValueError as error:
        raise StrategyError(str(error)) from error


def _strategy(network: Network, config: StrategyConfig) -> Strategy:
    match network, config.name:
        case Autoencoder(), "reconstruct":
            return WholeWindow(network)
        case InterpolatingNetwork(), "interpolate":
            return MiddleFrame(network)
        case ConstantSpectrum(), "constant":
            return ConstantAnswer(network)
        case NeuralProcess(), "rrc":
            return RandomRowsAndColumns(network)
        case NeuralProcess(), "boot":
            return LikelihoodBootstrap(network)
        case NeuralProcess(), "idnn" | "combs" | "blocks" | "bands":
            return FixedMasks(network, _passes(network, config))
    raise ValueError(f"a {type(network).__name__} cannot be asked by the strategy {config.name!r}")


def _passes(network: NeuralProcess, config: StrategyConfig) -> list[Partition]:
    n_frames, n_mels = network.config.n_frames, network.config.n_mels
    if config.name == "idnn":
        return [idnn_partition(n_frames, n_mels)]
    combs = comb_partitions(n_frames, n_mels, config.groups) if config.name != "blocks" else []
    blocks = {"combs": 0, "blocks": config.groups, "bands": 2 * config.groups}[config.name]
    return [*combs, *(block_partitions(n_frames, n_mels, blocks) if blocks else [])]
