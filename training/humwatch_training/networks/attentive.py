"""Attentive neural process of Wichern et al., WASPAA 2021, section 2.1, bottom-up.

Shapes: B windows, C context points, T target points, W the width. There is no latent path: equations 3 to 6
are deterministic. No branch of ``predict`` depends on values, so it exports with fixed or dynamic C and T.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from humwatch_training.networks.masks import Partition, sample_rrc
from humwatch_training.networks.network import NeuralProcess, WindowConfig, rows


class AnpConfig(WindowConfig):
    """Configuration of the network's shape and its scale.

    ``std_floor`` and ``std_scale`` are in dB: ``std_db = std_floor + std_scale * softplus(z)`` (section 2.1).
    """

    kind: Literal["anp"] = "anp"
    width: int = Field(default=128, ge=1)
    heads: int = Field(default=8, ge=1)
    encoder_layers: int = Field(default=2, ge=0)
    feed_forward: int = Field(default=128, ge=1)
    std_floor: float = Field(default=0.1, gt=0)
    std_scale: float = Field(default=0.9, gt=0)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> AnpConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


def grid_coordinates(n_frames: int, n_mels: int) -> Tensor:
    """Return the coordinates (time, band) of every bin, float32 (n_frames * n_mels, 2), each in [-1, 1].

    The flat index is l * n_mels + f. Coordinates are relative to the window, not to the recording.
    """
    time = torch.linspace(-1.0, 1.0, n_frames)
    band = torch.linspace(-1.0, 1.0, n_mels)
    return torch.cartesian_prod(time, band)  # (n_frames * n_mels, 2)


def gaussian_nll(y: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return ``log std + (y - mean)^2 / (2 std^2)`` element by element (equation 7, without its constant).

    All three have one shape and one unit (dB here). With std = 1 it is half the squared error.
    """
    return torch.log(std) + 0.5 * torch.square((y - mean) / std)


def inverse_softplus(value: float) -> float:
    """Return z with ``softplus(z) = value``, for value > 0."""
    return value + math.log(-math.expm1(-value))


def start_at_data_std(decoder: nn.Sequential, excess: float) -> None:
    """Set the last bias so that ``softplus(z) = excess`` at first: the predicted std begins at the data's own.

    z is in dB while the network's inputs are standardised: from z = 0 (std 0.7 dB) the first errors, of about the
    data's std (some 10 dB), would cost (10 / 0.7)^2 / 2 nats, and AutoClip's history would fill with norms that
    never occur again. Starting at the data's own std costs log std + 1/2.
    """
    last = decoder[-1]
    if isinstance(last, nn.Linear):
        with torch.no_grad():
            last.bias[1] = inverse_softplus(max(excess, 1e-3))


def fully_connected(n_in: int, width: int, n_out: int, layers: int) -> nn.Sequential:
    """Return ``layers`` linear layers with ReLU between them; the last one is linear."""
    sizes = [n_in, *[width] * (layers - 1), n_out]
    modules: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        modules += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def projections(attention: nn.MultiheadAttention) -> list[tuple[Tensor, Tensor]]:
    """Return weight (W, W) and bias (W,) of queries, keys and values."""
    weights, biases = cast(Tensor, attention.in_proj_weight), cast(Tensor, attention.in_proj_bias)
    return list(zip(weights.chunk(3), biases.chunk(3), strict=True))


def attend(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return multi-head attention (B, T, W) of projected queries (.., T, W), keys (.., C, W) and values (B, C, W).

    It equals ``attention`` itself after its projections, without its copies of all three with the batch second.
    """
    batch, heads, depth = values.shape[0], attention.num_heads, attention.head_dim
    query, key, value = (
        x.expand(batch, -1, -1).view(batch, -1, heads, depth).transpose(1, 2) for x in (queries, keys, values)
    )
    attended = functional.scaled_dot_product_attention(query, key, value)  # (B, H, T, D)
    result: Tensor = attention.out_proj(attended.transpose(1, 2).flatten(2))
    return result


def self_attention(layer: nn.TransformerEncoderLayer, points: Tensor) -> Tensor:
    """Map points (B, C, W) as a post-norm ``layer`` with ReLU and without dropout does, faster in training."""
    attention = layer.self_attn
    queries, keys, values = (functional.linear(points, *projection) for projection in projections(attention))
    points = layer.norm1(points + attend(attention, queries, keys, values))
    result: Tensor = layer.norm2(points + layer.linear2(functional.relu(layer.linear1(points))))
    return result


class Encoder(nn.Module):
    """Encoder of context points to r_C (equation 3): three layers, then self-attention among the points."""

    def __init__(self, config: AnpConfig) -> None:
        super().__init__()
        self.embedding = fully_connected(3, config.width, config.width, layers=3)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                config.feed_forward,
                dropout=0.0,
                batch_first=True,
                norm_first=False,
            )
            for _ in range(config.encoder_layers)
        )

    def forward(self, points: Tensor) -> Tensor:
        """Map (B, C, 3), each [time, band, standardised value], to encodings (B, C, W)."""
        encodings: Tensor = self.embedding(points)  # (B, C, W)
        for layer in self.layers:
            encodings = self_attention(cast(nn.TransformerEncoderLayer, layer), encodings)
        return encodings


class CrossAttention(nn.Module):
    """Summary of the context for each target point, r_T (equation 4).

    Queries and keys are positions only, through one shared network; values are the encodings.
    """

    def __init__(self, config: AnpConfig) -> None:
        super().__init__()
        self.position = fully_connected(2, config.width, config.width, layers=2)
        self.attention = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(config.width)
        self.feed_forward = fully_connected(config.width, config.feed_forward, config.width, layers=2)
        self.feed_forward_norm = nn.LayerNorm(config.width)

    def forward(self, coordinates: Tensor, target: Tensor, context: Tensor, encodings: Tensor) -> Tensor:
        """Map target bins (T,) or (B, T), context bins (C,) or (B, C) and encodings (B, C, W) to summaries (B, T, W).

        There are far fewer bins, with ``coordinates`` (N, 2), than targets in a batch: the part of positions
        alone is computed once a bin.
        """
        position = self.position(coordinates)  # (N, W)
        query, key, value = projections(self.attention)
        queries = rows(functional.linear(position, *query), target)  # (.., T, W)
        keys = rows(functional.linear(position, *key), context)  # (.., C, W)
        attended = attend(self.attention, queries, keys, functional.linear(encodings, *value))
        summary = self.attention_norm(rows(position, target) + attended)
        result: Tensor = self.feed_forward_norm(summary + self.feed_forward(summary))
        return result


class AttentiveNeuralProcess(NeuralProcess):
    """Network that predicts a Gaussian for every target bin of a window from its context bins (equations 1 to 5)."""

    config: AnpConfig
    coordinates: Tensor

    def __init__(self, config: AnpConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.cross_attention = CrossAttention(config)
        self.decoder = fully_connected(2 + config.width, config.width, 2, layers=3)
        coordinates = grid_coordinates(config.n_frames, config.n_mels)
        self.register_buffer("coordinates", coordinates, persistent=False)
        start_at_data_std(self.decoder, (config.std_db - config.std_floor) / config.std_scale)

    def predict(self, context: Tensor, context_y_db: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, both (B, T) in dB, of target bins."""
        batch = context_y_db.shape[0]
        context_x, target_x = (rows(self.coordinates, bins).expand(batch, -1, -1) for bins in (context, target))
        values = self.standardised(context_y_db)  # (B, C)
        points = torch.cat([context_x, values.unsqueeze(-1)], dim=-1)  # (B, C, 3)
        summary = self.cross_attention(self.coordinates, target, context, self.encoder(points))  # (B, T, W)
        output = self.decoder(torch.cat([target_x, summary], dim=-1)).float()  # (B, T, 2)
        std_db = self.config.std_floor + self.config.std_scale * functional.softplus(output[..., 1])
        return self.in_db(output[..., 0]), std_db

    def draw_masks(self, batch: int, generator: torch.Generator, context_points: int | None = None) -> Partition:
        """Return random rows and columns (ANP-RRC) of each of ``batch`` windows."""
        return sample_rrc(batch, self.config.n_frames, self.config.n_mels, generator, context_points)

    def masked_loss(self, windows_db: Tensor, masks: Partition) -> Tensor:
        """Return the mean NLL of masks (B, C), (B, T) of windows (B, L, F) in dB."""
        values = windows_db.flatten(1)  # (B, L*F)
        mean_db, std_db = self.predict(masks.context, values.gather(1, masks.context), masks.target)
        return gaussian_nll(values.gather(1, masks.target), mean_db, std_db).mean()
