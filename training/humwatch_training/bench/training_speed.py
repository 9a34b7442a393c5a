"""Speed of training in windows a second: the Trainer beside a straightforward loop that learns the same.

The straightforward loop is the first that one would write: a Dataset that gives a window an item, a DataLoader that
stacks them, every window with a mask of its own whose parameters are gathered for it, the layers as torch has them,
Adam as it is, clipping by the public function. Both draw the same windows and masks from the same seed, so the losses
of their steps must agree up to rounding; by how much they do is part of the result.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.synthetic import SyntheticMachine
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.schedule import scheduled_rate
from humwatch_training.fit.systems import RECIPES, Recipe
from humwatch_training.fit.threads import torch_threads
from humwatch_training.fit.trainer import Trainer
from humwatch_training.networks.attentive import AttentiveNeuralProcess, gaussian_nll
from humwatch_training.networks.latent import LatentNeuralProcess
from humwatch_training.networks.masks import Partition, sample_rrc
from humwatch_training.networks.network import Network, NeuralProcess

MEASURED_RECIPES = ("latent-anp", "anp", "ae", "idnn")
WARMUP_STEPS = 3
"""Steps that are compared, but not timed."""

LOSS_TOLERANCE = 1e-4
"""Largest ``loss_difference`` over 30 steps of a neural process under its recipe. One step differs by the last digit of
float32, 1e-7, and the next ones learn from the difference. Through the nine batch norms of the autoencoders, at their
full rate from the first step, it grows to 1e-2 in as many steps. In float64 it is below 1e-12 for all of them.
"""


@dataclass(frozen=True)
class TrainingSpeed:
    """Speed of one recipe trained by both loops, a step each in turn.

    Windows a second are those of a batch over the median step. ``loss_difference`` is the largest of all steps,
    relative to the straightforward loop's loss, or to 1 where that is smaller.
    """

    recipe: str
    batch_windows: int
    steps: int
    threads: int
    plain_windows_per_s: float
    trainer_windows_per_s: float
    loss_difference: float

    @property
    def ratio(self) -> float:
        """Ratio of the Trainer's windows a second to the straightforward loop's."""
        return self.trainer_windows_per_s / self.plain_windows_per_s


def synthetic_clips(seed: int = 0, recordings: int = 4, seconds: float = 10.0) -> list[Clip]:
    """Return synthetic recordings of a machine as the real front end gives them; repeatable."""
    machine, spec = SyntheticMachine(seed), FeatureSpec()
    return [
        Clip(f"synthetic-{number}", 0, log_mel(machine.clip(number, seconds), spec)) for number in range(recordings)
    ]


class WindowItems(Dataset[Tensor]):
    """The windows of ``WindowSet``, in its order, one an item: float32 (L, F) in dB."""

    def __init__(self, clips: Iterable[Clip], n_frames: int) -> None:
        self._clips = [torch.from_numpy(clip.frames_db) for clip in clips]
        self._n_frames = n_frames
        self._places = [
            (number, start) for number, frames in enumerate(self._clips) for start in range(len(frames) - n_frames + 1)
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Tensor:
        """Return one window."""
        number, start = self._places[index]
        return self._clips[number][start : start + self._n_frames]


class RandomBatches(Sampler[list[int]]):
    """Batches of indices drawn with replacement, without end, each when it is needed."""

    def __init__(self, items: int, batch: int, generator: torch.Generator) -> None:
        self._items, self._batch, self._generator = items, batch, generator

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield torch.randint(self._items, (self._batch,), generator=self._generator).tolist()


def plain_latent_output(network: LatentNeuralProcess, mask: Partition, context_y_db: Tensor) -> Tensor:
    """Return two numbers a target bin (B, T, 2) of masks (B, C), (B, T): ``LatentNeuralProcess`` window by window."""
    context, target, reader, target_reader = mask.context, mask.target, network.context_reader, network.target_reader
    values = (context_y_db - network.usual(context)) / network.std_db
    weights = torch.softmax(reader.scores[context], dim=1) * context.shape[1]  # (B, C, M, H)
    contributions = reader.place[context] + reader.value[context] * values[..., None, None]  # (B, C, H, D)
    read = torch.einsum("bcmh,bchd->bmhd", weights, contributions).flatten(2)  # (B, M, W)
    latents = network.norm(network.latents + network.output(read))
    for layer in network.layers:
        latents = layer(latents)
    query = target_reader.query[target]  # (B, T, K)
    attention = torch.softmax(query @ target_reader.key(latents).transpose(1, 2) / math.sqrt(query.shape[-1]), dim=-1)
    readouts = attention @ target_reader.readout(latents)  # (B, T, R)
    return torch.einsum("btr,btkr->btk", readouts, target_reader.vectors[target]) + target_reader.bias[target]


def plain_latent(network: LatentNeuralProcess, mask: Partition, context_y_db: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (B, T) in dB of masks (B, C), (B, T)."""
    output = plain_latent_output(network, mask, context_y_db) * network.std_db
    std_db = network.config.std_floor + network.config.std_scale * functional.softplus(output[..., 1])
    return network.usual(mask.target) + output[..., 0], std_db


def plain_attentive(network: AttentiveNeuralProcess, mask: Partition, context_y_db: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (B, T) in dB of masks (B, C), (B, T): equations 3 to 5 as they stand."""
    context_x, target_x = network.coordinates[mask.context], network.coordinates[mask.target]  # (B, n, 2)
    points = torch.cat([context_x, network.standardised(context_y_db).unsqueeze(-1)], dim=-1)  # (B, C, 3)
    encodings = network.encoder.embedding(points)
    for layer in network.encoder.layers:
        encodings = layer(encodings)
    cross = network.cross_attention
    queries = cross.position(target_x)
    attended, _ = cross.attention(queries, cross.position(context_x), encodings, need_weights=False)
    summary = cross.attention_norm(queries + attended)
    summary = cross.feed_forward_norm(summary + cross.feed_forward(summary))
    output = network.decoder(torch.cat([target_x, summary], dim=-1))
    std_db = network.config.std_floor + network.config.std_scale * functional.softplus(output[..., 1])
    return network.in_db(output[..., 0]), std_db


def plain_loss(network: Network, windows_db: Tensor, generator: torch.Generator, context_points: int | None) -> Tensor:
    """Return the loss of ``Network.training_loss`` of windows (B, L, F) in dB, from the same random draws."""
    if not isinstance(network, NeuralProcess):
        return network.training_loss(windows_db, generator, context_points)
    batch, n_frames, n_mels = windows_db.shape
    values = windows_db.flatten(1)
    if isinstance(network, LatentNeuralProcess):
        one = network.draw_masks(batch, generator, context_points)
        mask = Partition(one.context.expand(batch, -1), one.target.expand(batch, -1))
        mean_db, std_db = plain_latent(network, mask, values.gather(1, mask.context))
    elif isinstance(network, AttentiveNeuralProcess):
        mask = sample_rrc(batch, n_frames, n_mels, generator, context_points)
        mean_db, std_db = plain_attentive(network, mask, values.gather(1, mask.context))
    else:
        raise TypeError(f"there is no straightforward form of {type(network).__name__}")
    return gaussian_nll(values.gather(1, mask.target), mean_db, std_db).mean()


class PlainLoop:
    """The straightforward loop. ``network`` is trained in place; the first batch is drawn at the first step."""

    def __init__(self, spec: TrainingSpec, clips: Sequence[Clip], network: Network) -> None:
        self.spec, self.network = spec, network.train()
        items = WindowItems(clips, network.config.n_frames)
        self.network.solve([torch.stack([items[index] for index in range(len(items))])])
        self.generator = torch.Generator().manual_seed(spec.seed)
        batches = RandomBatches(len(items), spec.batch_windows, self.generator)
        self._batches = iter(DataLoader(items, batch_sampler=batches))
        self.optimiser = torch.optim.Adam(network.parameters(), lr=spec.learning_rate)
        self._norms: list[float] = []
        self._step = 0

    def step(self) -> float:
        """Take one step and return its loss."""
        self._step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.optimiser.zero_grad()
        loss = plain_loss(self.network, next(self._batches), self.generator, self.spec.context_points)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.spec.autoclip_percentile is not None:
            self._norms.append(float(nn.utils.clip_grad_norm_(self.network.parameters(), math.inf)))
            limit = float(np.percentile(self._norms, self.spec.autoclip_percentile))
            nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.optimiser.step()
        return loss.item()

    def _learning_rate(self) -> float:
        spec = self.spec
        return scheduled_rate(
            spec.schedule, self._step, peak=spec.learning_rate, warmup=spec.warmup_steps, steps=spec.steps or 1
        )


def compare_loops(
    recipe: Recipe,
    clips: Sequence[Clip],
    *,
    steps: int = 30,
    seed: int = 0,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> TrainingSpeed:
    """Train a recipe's network on clips by both loops, a step each in turn, so that a busy machine slows both.

    ``steps`` are timed, after a few that are not. Raises ValueError for a recipe that takes no steps.
    """
    if steps < 1 or recipe.steps == 1:
        raise ValueError(f"recipe {recipe.name}, {steps} steps: there is nothing to time")
    spec = recipe.spec(seed=seed, device="cpu", features=FeatureSpec(n_mels=recipe.network.n_mels))
    seconds: list[tuple[float, float]] = []
    difference = 0.0
    with torch_threads(threads):
        trainer = Trainer.start(spec, WindowSet(clips, recipe.network.n_frames), Normalisation.of(clips))
        trainer.network.train()
        plain = PlainLoop(spec, clips, copy.deepcopy(trainer.network))
        for _ in range(WARMUP_STEPS + steps):
            begun = clock()
            plain_loss_value = plain.step()
            between = clock()
            loss = trainer.step().loss
            seconds.append((between - begun, clock() - between))
            difference = max(difference, abs(loss - plain_loss_value) / max(1.0, abs(plain_loss_value)))
    plain_s, trainer_s = (median(times) for times in zip(*seconds[WARMUP_STEPS:], strict=True))
    batch = spec.batch_windows
    return TrainingSpeed(recipe.name, batch, steps, threads, batch / plain_s, batch / trainer_s, difference)


def measure_training_speed(
    recipes: Iterable[str] = MEASURED_RECIPES,
    clips: Sequence[Clip] | None = None,
    *,
    steps: int = 30,
    seed: int = 0,
    threads: int = 1,
) -> list[TrainingSpeed]:
    """Return one comparison a recipe, on the given clips of 128 bands, or on seeded synthetic ones."""
    known = synthetic_clips(seed) if clips is None else clips
    return [compare_loops(RECIPES[name], known, steps=steps, seed=seed, threads=threads) for name in recipes]
