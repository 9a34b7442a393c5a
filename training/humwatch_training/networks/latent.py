"""Latent-bottlenecked attentive neural process (Feng et al., ICLR 2023), made small: M latents between the sets.

Latents read the context bins, attend to each other, and the target bins read the latents, so the cost is linear in
the bins. As in the paper's cross-attention, the weights of reading depend on places alone: a bin's place is not its two
coordinates but its own learned numbers, which learn sharp spectra in minutes where a network of coordinates takes
hours. The weights with which latents read therefore do not depend on the sound, and for one mask over a batch the
reading of all bins is one matrix product.

Shapes: B windows, N = L * F bins, C of them context and T target, W the width, M latents, H heads of D = W / H, K the
width of a key, R that of a readout.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from humwatch_training.networks.attentive import gaussian_nll, self_attention
from humwatch_training.networks.masks import Partition, TrainingMasks, sample_hidden
from humwatch_training.networks.network import NeuralProcess, WindowConfig, band_moments, rows


class LatentAnpConfig(WindowConfig):
    """Configuration of the network's shape, its scale, and the masks of its training.

    ``std_floor`` and ``std_scale`` are as in ``AnpConfig``.
    """

    kind: Literal["latent_anp"] = "latent_anp"
    latents: int = Field(default=8, ge=1)
    width: int = Field(default=64, ge=1)
    heads: int = Field(default=8, ge=1, description="with which a latent reads the context")
    layers: int = Field(default=1, ge=0, description="self-attention layers among the latents")
    latent_heads: int = Field(default=4, ge=1, description="of self-attention among the latents")
    key_width: int = Field(default=32, ge=1, description="numbers by which a bin finds its latents")
    readout_width: int = Field(default=192, ge=1, description="numbers of a latent that a bin reads")
    training_masks: TrainingMasks = "mixed"
    target_points: int = Field(default=256, ge=1, description="random hidden bins a mask, in training")
    std_floor: float = Field(default=0.1, gt=0)
    std_scale: float = Field(default=0.9, gt=0)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> LatentAnpConfig:
        for heads in (self.heads, self.latent_heads):
            if self.width % heads:
                raise ValueError(f"width {self.width} is not a multiple of heads {heads}")
        return self

    @property
    def bins(self) -> int:
        """Number of bins of a window."""
        return self.n_frames * self.n_mels


class ContextReader(nn.Module):
    """Reading of a context by M latents: for each head a weighted sum over its bins.

    A bin contributes ``place + value * y``, both its own (H, D). Its weights are a softmax over the context of the
    scores that the latents give its place, times C, so that they are 1 on average for a context of any size.
    """

    def __init__(self, config: LatentAnpConfig) -> None:
        super().__init__()
        self.latents, self.width = config.latents, config.width
        by_head = (config.bins, config.heads, config.width // config.heads)
        small = config.bins**-0.5
        self.scores = nn.Parameter(torch.randn(config.bins, config.latents, config.heads))
        self.place = nn.Parameter(small * torch.randn(by_head))
        self.value = nn.Parameter(small * torch.randn(by_head))

    def weights(self, context: Tensor) -> Tensor:
        """Return the weights of bins (C,) or (B, C) for each latent and head: (..., C, M, H)."""
        scores = rows(self.scores, context)
        return torch.softmax(scores, dim=-3) * scores.shape[-3]

    def forward(self, context: Tensor, values: Tensor) -> Tensor:
        """Map bins (C,) or (B, C) and their values (B, C) to the latents' readings (B, M, W)."""
        weights, place, value = self.weights(context), rows(self.place, context), rows(self.value, context)
        if context.ndim > 1:
            contributions = place + value * values[..., None, None]  # (B, C, H, D)
            return torch.einsum("bcmh,bchd->bmhd", weights, contributions).flatten(2)
        # a product with ones and zeros repeats a head's weight over its D numbers, exactly and faster than broadcasting
        ones = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
        by_number = weights @ ones.repeat_interleave(value.shape[-1], dim=1)
        matrix = (by_number * value.flatten(1).unsqueeze(1)).flatten(1)  # (C, M, W), then (C, M*W)
        offset = torch.einsum("cmh,chd->mhd", weights, place).flatten()  # (M*W,)
        read: Tensor = values @ matrix + offset  # (B, M*W)
        return read.view(-1, self.latents, self.width)


class TargetReader(nn.Module):
    """Outputs of target bins from M latents: each bin weighs the latents' readouts, by its own two vectors.

    The weights are a softmax over the latents of the products of the bin's query with the latents' keys.
    """

    def __init__(self, config: LatentAnpConfig) -> None:
        super().__init__()
        self.query = nn.Parameter(0.5 * torch.randn(config.bins, config.key_width))
        self.key = nn.Linear(config.width, config.key_width)
        self.readout = nn.Sequential(nn.Linear(config.width, config.readout_width), nn.ReLU())
        self.vectors = nn.Parameter(0.05 * torch.randn(config.bins, 2, config.readout_width))
        self.bias = nn.Parameter(torch.tensor([0.0, 1.0]).repeat(config.bins, 1))

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """Map latents (B, M, W) and bins (T,) or (B, T) to two numbers a bin (B, T, 2)."""
        query, vectors = rows(self.query, target), rows(self.vectors, target)  # (.., T, K), (.., T, 2, R)
        key = self.key(latents) * query.shape[-1] ** -0.5
        weights = torch.softmax(key @ query.transpose(-1, -2), dim=1)  # (B, M, T)
        readout = self.readout(latents)  # (B, M, R)
        # one number of all bins after the other: what has the bins innermost is computed several at a time
        read = [(weights * (readout @ own.transpose(-1, -2))).sum(dim=1) for own in vectors.unbind(-2)]
        return torch.stack(read, dim=1).transpose(1, 2) + rows(self.bias, target)  # (B, T, 2)


class LatentNeuralProcess(NeuralProcess):
    """Network that predicts a Gaussian for every target bin from M latents that have read the context bins.

    Values are counted from the training set's mean of their band, which ``solve`` learns before the first step.
    """

    config: LatentAnpConfig
    band_mean_db: Tensor

    def __init__(self, config: LatentAnpConfig) -> None:
        super().__init__(config)
        self.register_buffer("band_mean_db", torch.full((config.n_mels,), config.mean_db))
        self.context_reader = ContextReader(config)
        self.output = nn.Linear(config.width, config.width)
        self.latents = nn.Parameter(0.2 * torch.randn(config.latents, config.width))
        self.norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width, config.latent_heads, 2 * config.width, dropout=0.0, batch_first=True
            )
            for _ in range(config.layers)
        )
        self.target_reader = TargetReader(config)

    def solve(self, batches: Iterable[Tensor]) -> None:
        """Measure the mean of each band over windows, batches of (B, L, F) in dB."""
        mean, _ = band_moments(batches, self.config.n_mels)
        self.band_mean_db.copy_(mean)

    def usual(self, bins: Tensor) -> Tensor:
        """Return the mean of the bands of bins, in dB, in the shape of ``bins``."""
        return self.band_mean_db[bins % self.config.n_mels]

    def encode(self, context: Tensor, context_y_db: Tensor) -> Tensor:
        """Return the latents (B, M, W) that have read bins (C,) or (B, C) with their values (B, C) in dB."""
        values = (context_y_db - self.usual(context)) / self.std_db
        latents: Tensor = self.norm(self.latents + self.output(self.context_reader(context, values)))
        for layer in self.layers:
            latents = self_attention(cast(nn.TransformerEncoderLayer, layer), latents)
        return latents

    def predict(self, context: Tensor, context_y_db: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, both (B, T) in dB, of target bins."""
        output = self.target_reader(self.encode(context, context_y_db), target).float() * self.std_db  # (B, T, 2)
        std_db = self.config.std_floor + self.config.std_scale * functional.softplus(output[..., 1])
        return self.usual(target) + output[..., 0], std_db

    def draw_masks(self, batch: int, generator: torch.Generator, context_points: int | None = None) -> Partition:
        """Return one mask (C,), (T,) for the whole batch: random hidden bins, and bins that are not hidden.

        The matrix that reads it is then built once.
        """
        config = self.config
        hidden = sample_hidden(config.training_masks, 1, config.n_frames, config.n_mels, generator)[0]  # (L*F,)
        target = _some(hidden, config.target_points, generator)
        return Partition(context=_some(~hidden, context_points, generator), target=target)

    def masked_loss(self, windows_db: Tensor, masks: Partition) -> Tensor:
        """Return the mean NLL of one mask (C,), (T,) of windows (B, L, F) in dB."""
        values = windows_db.flatten(1)
        mean_db, std_db = self.predict(masks.context, values.index_select(1, masks.context), masks.target)
        return gaussian_nll(values.index_select(1, masks.target), mean_db, std_db).mean()


def _some(mask: Tensor, count: int | None, generator: torch.Generator) -> Tensor:
    """Return ``count`` random true bins of a mask (N,), or all of them: int64 (n,)."""
    bins = mask.nonzero().squeeze(1)
    return bins[torch.randperm(len(bins), generator=generator)[:count]]
