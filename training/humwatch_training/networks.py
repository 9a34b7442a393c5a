"""The networks by the kind that their configuration names."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from humwatch_training.autoencoder import Autoencoder, AutoencoderConfig, IdnnConfig, InterpolatingNetwork
from humwatch_training.checkpoint import Checkpoint
from humwatch_training.constant import ConstantConfig, ConstantSpectrum
from humwatch_training.errors import CheckpointError
from humwatch_training.latent import LatentAnpConfig, LatentNeuralProcess
from humwatch_training.model import AnpConfig, AttentiveNeuralProcess
from humwatch_training.network import Network

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
    """Read what a network configuration's `model_dump_json` wrote; ValueError where it is something else."""
    return _NETWORK_CONFIG.validate_json(text)


def trained_network(checkpoint: Checkpoint) -> Network:
    """Return a checkpoint's network, ready to predict; CheckpointError where its parts do not fit together."""
    try:
        network = build_network(parse_network_config(checkpoint.network_config))
        network.load_state_dict(checkpoint.network)
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's parts do not fit together: {error}") from error
    return network.eval()
