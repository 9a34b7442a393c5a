"""Networks by the kind that their configuration names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from humwatch_training.networks.attentive import AnpConfig, AttentiveNeuralProcess
from humwatch_training.networks.autoencoder import Autoencoder, AutoencoderConfig, IdnnConfig, InterpolatingNetwork
from humwatch_training.networks.constant import ConstantConfig, ConstantSpectrum
from humwatch_training.networks.latent import LatentAnpConfig, LatentNeuralProcess
from humwatch_training.networks.network import Network

NetworkConfig = Annotated[
    AnpConfig | LatentAnpConfig | AutoencoderConfig | IdnnConfig | ConstantConfig, Field(discriminator="kind")
]

_NETWORK_CONFIG: TypeAdapter[NetworkConfig] = TypeAdapter(NetworkConfig)


def build_network(config: NetworkConfig) -> Network:
    """Return an untrained network; its first weights come from torch's global generator."""
    match config:
        case AnpConfig():
            return AttentiveNeuralProcess(config)
        case LatentAnpConfig():
            return LatentNeuralProcess(config)
        case AutoencoderConfig():
            return Autoencoder(config)
        case IdnnConfig():
            return InterpolatingNetwork(config)
        case ConstantConfig():
            return ConstantSpectrum(config)


def parse_network_config(text: str) -> NetworkConfig:
    """Read the JSON of a network configuration; raise ValueError for any other text."""
    return _NETWORK_CONFIG.validate_json(text)
