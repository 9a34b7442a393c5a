"""Small recordings, clips and settings for the tests of training."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets.windows import Clip
from humwatch_training.fit.config import FitConfig
from humwatch_training.networks.attentive import AnpConfig
from humwatch_training.networks.autoencoder import AutoencoderConfig, IdnnConfig
from humwatch_training.networks.constant import ConstantConfig
from humwatch_training.networks.kinds import NetworkConfig
from humwatch_training.networks.latent import LatentAnpConfig

SMALL_FEATURES = FeatureSpec(n_mels=8)
SMALL_NETWORKS: dict[str, NetworkConfig] = {
    config.kind: config
    for config in (
        AnpConfig(n_mels=8, width=16, heads=2, encoder_layers=1, feed_forward=16),
        LatentAnpConfig(n_mels=8, width=16, heads=2, latents=3, key_width=4, readout_width=8, target_points=8),
        AutoencoderConfig(n_mels=8, width=16, depth=2, bottleneck=4),
        IdnnConfig(n_mels=8, width=16, depth=2, bottleneck=4),
        ConstantConfig(n_mels=8),
    )
}
"""One of each kind."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def write_sound() -> Callable[..., Path]:
    """Write seeded noise as WAV or FLAC by the path's suffix."""

    def write(path: Path, seed: int, *, seconds: float = 0.5, channels: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).normal(0, 0.05, (round(seconds * 16_000), channels))
        soundfile.write(path, noise, 16_000, subtype="PCM_16")
        return path

    return write


@pytest.fixture
def humming_clip() -> Callable[..., Clip]:
    """Return a clip whose bands hum: a spectral slope and a common slow beat, with a little noise, in dB."""

    def clip(seed: int = 0, frames: int = 200) -> Clip:
        slope = np.linspace(-30.0, -60.0, 8)
        beat = 6.0 * np.sin(np.arange(frames) / 7.0 + seed)
        noise = np.random.default_rng(seed).normal(0.0, 0.3, (frames, 8))
        return Clip(f"hum-{seed}.wav", 0, (slope + beat[:, None] + noise).astype(np.float32))

    return clip


@pytest.fixture
def small_config() -> Callable[..., FitConfig]:
    """Return settings of a tiny, fast run."""

    def config(**settings: object) -> FitConfig:
        defaults: dict[str, object] = {
            "data": ("recordings",),
            "steps": 20,
            "batch_windows": 8,
            "features": SMALL_FEATURES,
            "network": SMALL_NETWORKS["anp"],
            "device": "cpu",
            "log_every_steps": 3,
        }
        return FitConfig.model_validate({**defaults, **settings})

    return config
