"""Baselines of DCASE 2020 task 2: an autoencoder of a window, and one that interpolates its middle frame.

Fully connected, L*F - 128 x 4 - 8 - 128 x 4 - output, batch norm and ReLU on every hidden layer, the bottleneck's
too. They predict no standard deviation and have no choice of mask: it is fixed when they are trained.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from humwatch_training.networks.network import Network, WindowConfig


class BottleneckConfig(WindowConfig):
    """Configuration of the layers: ``depth`` of ``width`` before the bottleneck and as many after it."""

    loss_label: ClassVar[str] = "mean squared error, dB^2"

    width: int = Field(default=128, ge=1)
    depth: int = Field(default=4, ge=1)
    bottleneck: int = Field(default=8, ge=1)


class AutoencoderConfig(BottleneckConfig):
    """Configuration of the autoencoder: all frames in, all frames out."""

    kind: Literal["autoencoder"] = "autoencoder"


class IdnnConfig(BottleneckConfig):
    """Configuration of the interpolation network (Suefusa et al., ICASSP 2020): the middle frame from the others."""

    kind: Literal["idnn"] = "idnn"

    @model_validator(mode="after")
    def _there_is_a_middle(self) -> Self:
        if self.n_frames % 2 == 0:
            raise ValueError(f"a window of {self.n_frames} frames has no middle frame")
        return self


def bottleneck_layers(config: BottleneckConfig, n_in: int, n_out: int) -> nn.Sequential:
    """Return the layers from ``n_in`` to ``n_out`` values; the last one is linear."""
    hidden = [*[config.width] * config.depth, config.bottleneck, *[config.width] * config.depth]
    modules: list[nn.Module] = []
    for size_in, size_out in zip([n_in, *hidden], hidden, strict=False):
        modules += [nn.Linear(size_in, size_out), nn.BatchNorm1d(size_out), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(hidden[-1], n_out))


class Autoencoder(Network):
    """Network that reconstructs the whole window through a bottleneck."""

    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        bins = config.n_frames * config.n_mels
        self.layers = bottleneck_layers(config, bins, bins)

    def forward(self, windows_db: Tensor) -> Tensor:
        """Map windows (B, L, F) in dB to their reconstructions (B, L*F) in dB."""
        return self.in_db(self.layers(self.standardised(windows_db.flatten(1))).float())

    def training_loss(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None = None
    ) -> Tensor:
        """Return the mean squared error of windows (B, L, F), in dB^2."""
        return torch.square(windows_db.flatten(1) - self(windows_db)).mean()


class InterpolatingNetwork(Network):
    """Network that predicts the middle frame through a bottleneck from the frames around it."""

    config: IdnnConfig

    def __init__(self, config: IdnnConfig) -> None:
        super().__init__(config)
        self.middle = config.n_frames // 2
        self.layers = bottleneck_layers(config, (config.n_frames - 1) * config.n_mels, config.n_mels)

    def forward(self, windows_db: Tensor) -> Tensor:
        """Map windows (B, L, F) in dB to their middle frames (B, F) in dB."""
        around = torch.cat([windows_db[:, : self.middle], windows_db[:, self.middle + 1 :]], dim=1)
        return self.in_db(self.layers(self.standardised(around.flatten(1))).float())

    def training_loss(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None = None
    ) -> Tensor:
        """Return the mean squared error of the middle frames of windows (B, L, F), in dB^2."""
        return torch.square(windows_db[:, self.middle] - self(windows_db)).mean()
