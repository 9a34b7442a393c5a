"""Network-free baseline: a predictor whose mean is constant.

Under the residual profile the mean cancels, so its score is the distance of the clip-mean log-mel spectrum from
that of normal clips, with no network at all. The worth of a network is the gain over that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from humwatch_training.networks.attentive import gaussian_nll
from humwatch_training.networks.network import Network, WindowConfig, band_moments

SMALLEST_STD_DB = 0.1


class ConstantConfig(WindowConfig):
    """Configuration of the mean and standard deviation of each band, in dB, that the training windows give."""

    kind: Literal["constant"] = "constant"


class ConstantSpectrum(Network):
    """Predictor of the training set's mean spectrum for every window."""

    config: ConstantConfig
    closed_form: ClassVar[bool] = True

    def __init__(self, config: ConstantConfig) -> None:
        super().__init__(config)
        self.band_mean_db = nn.Parameter(torch.full((config.n_mels,), config.mean_db), requires_grad=False)
        self.band_std_db = nn.Parameter(torch.full((config.n_mels,), config.std_db), requires_grad=False)

    def solve(self, batches: Iterable[Tensor]) -> None:
        """Measure mean and standard deviation of each band over windows, batches of (B, L, F) in dB."""
        mean, variance = band_moments(batches, self.config.n_mels)
        self.band_mean_db.copy_(mean)
        self.band_std_db.copy_(torch.sqrt(torch.clamp(variance, min=SMALLEST_STD_DB**2)))

    def forward(self, windows_db: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, both (B, L*F) in dB, for windows (B, L, F)."""
        expected = (band.expand_as(windows_db).flatten(1) for band in (self.band_mean_db, self.band_std_db))
        mean_db, std_db = expected
        return mean_db, std_db

    def training_loss(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None = None
    ) -> Tensor:
        """Return the mean NLL of all bins of windows (B, L, F) in dB."""
        return gaussian_nll(windows_db.flatten(1), *self(windows_db)).mean()
