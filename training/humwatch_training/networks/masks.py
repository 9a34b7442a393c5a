"""Masks of a window: context and target bins (section 2.2 of the paper).

Bins are flat indices l * F + f of a window of L frames and F bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TrainingMasks = Literal["rrc", "mixed"]
"""Masks of a neural process's training: random rows and columns, or these and hidden bands in turn."""

MAX_TARGET_COLUMNS = 2
MAX_TARGET_ROWS = 2


@dataclass(frozen=True)
class Partition:
    """Context and target bins: int64 flat indices (C,) and (T,), or (B, C) and (B, T) for a batch."""

    context: Tensor
    target: Tensor

    def to(self, device: torch.device) -> Partition:
        """Return the same bins on a device."""
        return Partition(self.context.to(device), self.target.to(device))

    def split(self, parts: int) -> list[Partition]:
        """Divide the masks as ``Tensor.tensor_split`` does their windows; one mask over a batch serves every part."""
        if self.context.ndim == 1:
            return [self] * parts
        pairs = zip(self.context.tensor_split(parts), self.target.tensor_split(parts), strict=True)
        return [Partition(context, target) for context, target in pairs]


def rrc_target_count(n_frames: int, n_mels: int, columns: int, rows: int) -> int:
    """Return the number of bins in the union of ``columns`` frames and ``rows`` bands."""
    return columns * n_mels + rows * (n_frames - columns)


def _distinct_places(count: int, choices: int, batch: int, generator: torch.Generator) -> Tensor:
    return torch.rand(batch, choices, generator=generator).topk(count, dim=1).indices  # (B, count)


def _bins(mask: Tensor) -> Tensor:
    # every row of `mask` (B, L*F) has as many true bins, so the flat list of bins folds into (B, n)
    return mask.nonzero()[:, 1].view(mask.shape[0], -1)  # (B, n)


def rrc_mask(batch: int, n_frames: int, n_mels: int, columns: int, rows: int, generator: torch.Generator) -> Tensor:
    """Return a mask (batch, n_frames * n_mels) that hides random distinct frames and bands of each window."""
    target = torch.zeros(batch, n_frames, n_mels, dtype=torch.bool)
    sample = torch.arange(batch).unsqueeze(1)  # (B, 1)
    target[sample, _distinct_places(columns, n_frames, batch, generator)] = True
    bands = _distinct_places(rows, n_mels, batch, generator)
    target.transpose(1, 2)[sample, bands] = True
    return target.flatten(1)  # (B, L*F)


def rrc_partition(
    batch: int, n_frames: int, n_mels: int, columns: int, rows: int, generator: torch.Generator
) -> Partition:
    """Return random distinct frames and bands as target, the rest as context, for each of ``batch`` windows."""
    target = rrc_mask(batch, n_frames, n_mels, columns, rows, generator)
    return Partition(context=_bins(~target), target=_bins(target))


def draw_rrc_counts(generator: torch.Generator) -> tuple[int, int]:
    """Draw the numbers of hidden columns ~ U{1, 2} and rows ~ U{0, 1, 2}."""
    columns = int(torch.randint(1, MAX_TARGET_COLUMNS + 1, (), generator=generator))
    rows = int(torch.randint(0, MAX_TARGET_ROWS + 1, (), generator=generator))
    return columns, rows


def sample_rrc(
    batch: int, n_frames: int, n_mels: int, generator: torch.Generator, context_points: int | None = None
) -> Partition:
    """Draw the training partition of ANP-RRC: counts once for the batch, places for each window.

    Columns ~ U{1, 2}, rows ~ U{0, 1, 2}; context (B, C) and target (B, T) have one size over the batch. With
    ``context_points``, a random subset of that many context bins is kept (or all, where there are not more).
    """
    columns, rows = draw_rrc_counts(generator)
    partition = rrc_partition(batch, n_frames, n_mels, columns, rows, generator)
    available = partition.context.shape[1]
    if context_points is None or context_points >= available:
        return partition
    kept = _distinct_places(context_points, available, batch, generator)
    return Partition(context=partition.context.gather(1, kept), target=partition.target)


def _draw_band_count(n_mels: int, generator: torch.Generator) -> int:
    # 8 to 64 of 128 bands
    return int(torch.randint(max(1, n_mels // 16), n_mels // 2 + 1, (), generator=generator))


def hidden_bands(batch: int, n_mels: int, count: int, generator: torch.Generator) -> Tensor:
    """Return a mask (batch, n_mels) that hides ``count`` random bands of each window."""
    places = _distinct_places(count, n_mels, batch, generator)
    return torch.zeros(batch, n_mels, dtype=torch.bool).scatter(1, places, True)


def hidden_block(batch: int, n_mels: int, count: int, generator: torch.Generator) -> Tensor:
    """Return a mask (batch, n_mels) that hides ``count`` adjacent bands; the last band is followed by the first.

    So every band is hidden as often as any other.
    """
    start = torch.randint(n_mels, (batch, 1), generator=generator)
    return (torch.arange(n_mels) - start) % n_mels < count


def sample_hidden(kind: TrainingMasks, batch: int, n_frames: int, n_mels: int, generator: torch.Generator) -> Tensor:
    """Draw a mask (batch, n_frames * n_mels) of hidden bins: its form and size once, its places for each window.

    "mixed" draws one of three forms: random rows and columns, random bands over all frames, a block of adjacent
    bands over all frames; of the last two an 16th to a half of the bands. Every window hides as many bins.
    """
    form = 0 if kind == "rrc" else int(torch.randint(3, (), generator=generator))
    if form == 0:
        columns, rows = draw_rrc_counts(generator)
        return rrc_mask(batch, n_frames, n_mels, columns, rows, generator)
    count = _draw_band_count(n_mels, generator)
    bands = (hidden_bands if form == 1 else hidden_block)(batch, n_mels, count, generator)  # (B, F)
    return bands.unsqueeze(1).expand(-1, n_frames, -1).flatten(1)


def _partition_of(target: Tensor) -> Partition:
    flat = target.flatten()
    return Partition(context=(~flat).nonzero().squeeze(1), target=flat.nonzero().squeeze(1))


def idnn_partition(n_frames: int, n_mels: int) -> Partition:
    """Return ANP-IDNN's mask: the middle frame as target (n_mels,), the others as context.

    Raises ValueError where there is no middle frame.
    """
    if n_frames % 2 == 0:
        raise ValueError(f"a window of {n_frames} frames has no middle frame")
    target = torch.zeros(n_frames, n_mels, dtype=torch.bool)
    target[n_frames // 2] = True
    return _partition_of(target)


def boot_lattice_partition(n_frames: int, n_mels: int) -> Partition:
    """Return ANP-Boot's first mask: bin (l, f) is target where (3 f + 3 l) mod 8 < 3 (37.5 % of the bins)."""
    frame = torch.arange(n_frames).unsqueeze(1)
    band = torch.arange(n_mels).unsqueeze(0)
    return _partition_of((3 * band + 3 * frame) % 8 < 3)


def comb_partitions(n_frames: int, n_mels: int, groups: int) -> list[Partition]:
    """Return a mask a pass: pass g predicts every ``groups``-th band from offset g, all frames, from the others."""
    return _band_partitions(n_frames, torch.arange(n_mels) % groups, groups)


def block_partitions(n_frames: int, n_mels: int, groups: int) -> list[Partition]:
    """Return a mask a pass: pass g predicts the g-th of ``groups`` blocks of adjacent bands from the others."""
    return _band_partitions(n_frames, torch.arange(n_mels) * groups // n_mels, groups)


def _band_partitions(n_frames: int, group_of_band: Tensor, groups: int) -> list[Partition]:
    """Return a mask a pass; raise ValueError where one would predict nothing, or predict from nothing."""
    if not 2 <= groups <= len(group_of_band):
        raise ValueError(f"{len(group_of_band)} bands cannot be predicted in {groups} passes")
    return [_partition_of((group_of_band == g).expand(n_frames, -1)) for g in range(groups)]
