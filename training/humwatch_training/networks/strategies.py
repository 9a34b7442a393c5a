"""Predictors from a trained network: the choice of context and target bins, after training.

A strategy maps windows (B, L, F) in dB to the outputs of a predictor graph (``humwatch.predictor``): ``target_index``
int64 (T,) or (B, T), ``mean`` and ``std`` float32 (B, T) in dB. It predicts the same for a window in any batch, in any
order and in every runtime, so random choices (RRC) are drawn from the window's own values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor, nn

from humwatch_training.networks.attentive import gaussian_nll
from humwatch_training.networks.autoencoder import Autoencoder, InterpolatingNetwork
from humwatch_training.networks.constant import ConstantSpectrum
from humwatch_training.networks.masks import (
    MAX_TARGET_COLUMNS,
    MAX_TARGET_ROWS,
    Partition,
    boot_lattice_partition,
    idnn_partition,
)
from humwatch_training.networks.network import Network, NeuralProcess

Predicted = tuple[Tensor, Tensor, Tensor]
"""``target_index`` (T,) or (B, T), ``mean`` (B, T), ``std`` (B, T)."""

RRC_PASSES = 3
RRC_PLACES = 64
RRC_SEED = 20211017
STEPS_A_DB = 1024
"""Steps of a window's key in a dB: a power of two, so that scaling by it is exact."""

BOOT_ROWS = 2


class Strategy(nn.Module, ABC):
    """A network with the choice of its context and target bins."""

    network: Network

    @abstractmethod
    def forward(self, windows: Tensor) -> Predicted:
        """Map windows (B, L, F) in dB to target_index, mean and std."""


class WholeWindow(Strategy):
    """Prediction of the autoencoder: every bin, with std 1."""

    target_index: Tensor

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("target_index", torch.arange(network.config.n_frames * network.config.n_mels))

    def forward(self, windows: Tensor) -> Predicted:
        """Reconstruct windows (B, L, F) in dB."""
        mean = self.network(windows)
        return self.target_index.clone(), mean, torch.ones_like(mean)


class MiddleFrame(Strategy):
    """Prediction of the interpolation network: the middle frame, with std 1."""

    target_index: Tensor

    def __init__(self, network: InterpolatingNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("target_index", idnn_partition(network.config.n_frames, network.config.n_mels).target)

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the middle frames of windows (B, L, F) in dB."""
        mean = self.network(windows)
        return self.target_index.clone(), mean, torch.ones_like(mean)


class ConstantAnswer(Strategy):
    """Network-free prediction: every bin, the same for every window."""

    target_index: Tensor

    def __init__(self, network: ConstantSpectrum) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("target_index", torch.arange(network.config.n_frames * network.config.n_mels))

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the training set's spectrum for windows (B, L, F) in dB."""
        mean, std = self.network(windows)
        return self.target_index.clone(), mean.clone(), std.clone()


class FixedMasks(Strategy):
    """A neural process with the same masks for every window, in one pass or several."""

    target_index: Tensor

    def __init__(self, network: NeuralProcess, passes: Sequence[Partition]) -> None:
        super().__init__()
        self.network: NeuralProcess = network
        self.passes = len(passes)
        for number, partition in enumerate(passes):
            self.register_buffer(f"context_{number}", partition.context)
            self.register_buffer(f"target_{number}", partition.target)
        self.register_buffer("target_index", torch.cat([partition.target for partition in passes]))

    @property
    def partitions(self) -> list[Partition]:
        """Masks of the passes."""
        return [Partition(self.get_buffer(f"context_{n}"), self.get_buffer(f"target_{n}")) for n in range(self.passes)]

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the targets of every pass over windows (B, L, F) in dB, one pass after the other."""
        values = windows.flatten(1)  # (B, L*F)
        means, stds = zip(*self.network.predict_passes(values, self.partitions), strict=True)
        return self.target_index.clone(), torch.cat(means, dim=1), torch.cat(stds, dim=1)


class RandomRowsAndColumns(Strategy):
    """ANP-RRC: three random partitions of each window, drawn by a key that the window's own values give.

    The key, a sum of integers, picks one of 64 sets of places that were drawn once, with a fixed seed. The numbers
    of columns (1 or 2) and rows (0 to 2) that each of the three passes hides were drawn with them: the outputs have one
    size.
    """

    def __init__(self, network: NeuralProcess, seed: int = RRC_SEED) -> None:
        super().__init__()
        self.network: NeuralProcess = network
        self.bins = network.config.n_frames * network.config.n_mels
        # int32: the places are most of what the graph weighs beside the network
        for number, places in enumerate(rrc_places(network.config.n_frames, network.config.n_mels, Random(seed))):
            self.register_buffer(f"context_{number}", places.context.int())
            self.register_buffer(f"target_{number}", places.target.int())

    def key(self, values_db: Tensor) -> Tensor:
        """Return the number of a window's places from its values (B, L*F) in dB: int64 (B,) in [0, 64).

        Exact in any runtime and any batch: floats are scaled by a power of two, then all is integer.
        """
        steps = torch.floor(values_db * STEPS_A_DB).long()
        return torch.remainder(steps.sum(dim=1), RRC_PLACES)

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the targets of three partitions of windows (B, L, F) in dB."""
        values = windows.flatten(1)  # (B, L*F)
        key = self.key(values)
        parts = [self._pass(number, key, values) for number in range(RRC_PASSES)]
        target, mean, std = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        return target, mean, std

    def _pass(self, number: int, key: Tensor, values: Tensor) -> Predicted:
        context = self.get_buffer(f"context_{number}")[key].long()  # (B, C)
        target = self.get_buffer(f"target_{number}")[key].long()  # (B, T)
        mean, std = self.network.predict(context, values.gather(1, context), target)
        return target, mean, std


def rrc_places(n_frames: int, n_mels: int, random: Random) -> list[Partition]:
    """Return the partitions of each pass, context (64, C) and target (64, T); counts are drawn once a pass.

    Only ``random.random()`` is used, the one method whose sequence Python promises to keep.
    """
    passes = []
    for _ in range(RRC_PASSES):
        columns = 1 + int(random.random() * MAX_TARGET_COLUMNS)
        rows = int(random.random() * (MAX_TARGET_ROWS + 1))
        target = torch.zeros(RRC_PLACES, n_frames, n_mels, dtype=torch.bool)
        for place in target:
            place[_some(n_frames, columns, random)] = True
            place[:, _some(n_mels, rows, random)] = True
        flat = target.flatten(1)
        passes.append(Partition(*(mask.nonzero()[:, 1].view(RRC_PLACES, -1) for mask in (~flat, flat))))
    return passes


def _some(choices: int, count: int, random: Random) -> list[int]:
    return sorted(range(choices), key=lambda _: random.random())[:count]


class LikelihoodBootstrap(Strategy):
    """ANP-Boot: a first pass over a lattice finds the bins that are hard to predict; the second predicts those alone.

    The two bands and the one frame of the highest mean NLL become the target, all else the context. Indices are
    computed from the chosen places by arithmetic, so every size is fixed.
    """

    lattice_context: Tensor
    lattice_target: Tensor
    band_means: Tensor
    frame_means: Tensor
    frames: Tensor
    bands: Tensor

    def __init__(self, network: NeuralProcess) -> None:
        super().__init__()
        self.network: NeuralProcess = network
        n_frames, n_mels = network.config.n_frames, network.config.n_mels
        lattice = boot_lattice_partition(n_frames, n_mels)
        self.n_mels = n_mels
        self.register_buffer("lattice_context", lattice.context)
        self.register_buffer("lattice_target", lattice.target)
        self.register_buffer("band_means", _averaging(lattice.target % n_mels, n_mels))
        self.register_buffer("frame_means", _averaging(lattice.target // n_mels, n_frames))
        self.register_buffer("frames", torch.arange(n_frames))
        self.register_buffer("bands", torch.arange(n_mels))

    def hardest(self, values_db: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hardest frame (B, 1) and the two hardest bands (B, 2), ascending, of values (B, L*F) in dB."""
        mean, std = self.network.predict(self.lattice_context, values_db[:, self.lattice_context], self.lattice_target)
        nll = gaussian_nll(values_db[:, self.lattice_target], mean, std)  # (B, 240)
        frame = (nll @ self.frame_means).topk(1, dim=1).indices
        bands = (nll @ self.band_means).topk(BOOT_ROWS, dim=1).indices
        return frame, torch.cat([bands.amin(dim=1, keepdim=True), bands.amax(dim=1, keepdim=True)], dim=1)

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the hardest bins of windows (B, L, F) in dB: 136 of each."""
        values = windows.flatten(1)
        frame, bands = self.hardest(values)
        others = _without(self.frames, frame)  # (B, L-1)
        column = frame * self.n_mels + self.bands  # (B, F)
        rows = _bins_at(others, bands, self.n_mels)  # (B, (L-1)*2)
        target = torch.cat([column, rows], dim=1)
        context = _bins_at(others, _without(self.bands, bands), self.n_mels)
        mean, std = self.network.predict(context, values.gather(1, context), target)
        return target, mean, std


def _averaging(place: Tensor, places: int) -> Tensor:
    """Return the matrix (T, places) that averages targets by their place, int64 (T,)."""
    member = nn.functional.one_hot(place, places).float()
    return member / member.sum(dim=0).clamp(min=1.0)


def _without(places: Tensor, left_out: Tensor) -> Tensor:
    """Return the places 0 to N-1 but the ascending, distinct (B, n) that are left out: (B, N-n), ascending."""
    n = left_out.shape[1]
    kept = places[: len(places) - n].expand(left_out.shape[0], -1)
    for number in range(n):
        kept = kept + (kept >= left_out[:, number : number + 1]).long()
    return kept


def _bins_at(frames: Tensor, bands: Tensor, n_mels: int) -> Tensor:
    """Return the flat indices of every frame (B, l) with every band (B, f): (B, l*f)."""
    return (frames.unsqueeze(2) * n_mels + bands.unsqueeze(1)).flatten(1)
