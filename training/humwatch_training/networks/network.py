"""Interface of every network: windows in dB in, expectation in dB out, and a training loss.

Shapes: B windows of L frames and F bands; C context bins and T target bins, flat indices ``l * F + f``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from humwatch_training.networks.masks import Partition


class WindowConfig(BaseModel):
    """Configuration of the windows that a network is made for, and their scale.

    ``mean_db`` and ``std_db`` are the scalar mean and standard deviation of the training set's log-mel values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss_label: ClassVar[str] = "mean NLL of a target bin, nats"

    n_frames: int = Field(default=5, ge=3)
    n_mels: int = Field(default=128, ge=3)
    mean_db: float = Field(default=0.0, allow_inf_nan=False)
    std_db: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Network(nn.Module, ABC):
    """A network over windows; values come and go in dB and are standardised inside by two buffers."""

    mean_db: Tensor
    std_db: Tensor

    closed_form: ClassVar[bool] = False
    """Training in one pass over the windows (``solve``), without steps along a gradient."""

    def __init__(self, config: WindowConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean_db", torch.tensor(config.mean_db, dtype=torch.float32))
        self.register_buffer("std_db", torch.tensor(config.std_db, dtype=torch.float32))

    @abstractmethod
    def training_loss(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None = None
    ) -> Tensor:
        """Return the scalar loss of windows (B, L, F) in dB; ``config.loss_label`` names it.

        Random choices come from ``generator``, on the CPU. ``context_points`` limits the context that a neural
        process sees of a window; None leaves the network's own choice.
        """

    def solve(self, batches: Iterable[Tensor]) -> None:
        """Learn the parts that need no gradient from windows (B, L, F) in dB, before the first step.

        A network of closed form learns everything here; most learn nothing.
        """

    def standardised(self, values_db: Tensor) -> Tensor:
        """Standardise values in dB."""
        return (values_db - self.mean_db) / self.std_db

    def in_db(self, values: Tensor) -> Tensor:
        """Return standardised values in dB."""
        return values * self.std_db + self.mean_db

    def parameter_count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


class NeuralProcess(Network):
    """Network that predicts any bins of a window from any others: the mask is an argument."""

    @abstractmethod
    def predict(self, context: Tensor, context_y_db: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, both (B, T) in dB, of the target bins.

        ``context`` and ``target`` are int64 flat indices, (C,) and (T,) for one mask over the batch or (B, C) and
        (B, T) for a mask a window; ``context_y_db`` (B, C) are the context's values in dB.
        """

    @abstractmethod
    def draw_masks(self, batch: int, generator: torch.Generator, context_points: int | None = None) -> Partition:
        """Draw the masks of a training step: (C,) and (T,) for all windows, or (B, C) and (B, T), on the CPU."""

    @abstractmethod
    def masked_loss(self, windows_db: Tensor, masks: Partition) -> Tensor:
        """Return the mean NLL of the target bins of windows (B, L, F) in dB, from their context: a scalar."""

    def training_loss(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None = None
    ) -> Tensor:
        """Return the mean NLL of the target bins of masks drawn for windows (B, L, F) in dB."""
        masks = self.draw_masks(len(windows_db), generator, context_points)
        return self.masked_loss(windows_db, masks.to(windows_db.device))

    def predict_passes(self, values_db: Tensor, passes: Sequence[Partition]) -> list[tuple[Tensor, Tensor]]:
        """Return mean and standard deviation of the targets of several masks (C,), (T,) over values (B, L*F) in dB."""
        return [self.predict(mask.context, values_db[:, mask.context], mask.target) for mask in passes]


def rows(table: Tensor, bins: Tensor) -> Tensor:
    """Return the rows of a table (N, ...) for bins (T,) or (B, T): (T, ...) or (B, T, ...).

    The same as ``table[bins]``, whose gradient is several times slower to add up.
    """
    taken = table.index_select(0, bins.flatten())
    return taken if bins.ndim == 1 else taken.view(*bins.shape, *table.shape[1:])


def band_moments(batches: Iterable[Tensor], n_mels: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each band over windows, batches of (B, L, F) in dB: float64 (F,) each."""
    count = 0
    total, squares = (torch.zeros(n_mels, dtype=torch.float64) for _ in range(2))
    for windows_db in batches:
        values = windows_db.detach().cpu().double().flatten(0, 1)  # (B*L, F)
        count += len(values)
        total += values.sum(dim=0)
        squares += torch.square(values).sum(dim=0)
    mean = total / count
    return mean, squares / count - torch.square(mean)
