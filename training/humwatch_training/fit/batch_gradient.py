"""Gradient of a batch on the CPU: in parts, each on a thread of its own from the first layer back to it.

The threads meet once a step. Threads inside each operation (torch's way) meet some hundred times, which wins as much on
a still machine; beside other programs each meeting waits for whoever has no processor, and a step takes seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from humwatch_training.networks.masks import Partition
from humwatch_training.networks.network import Network, NeuralProcess

SMALLEST_PART = 32
"""Number of windows that a thread is worth: what does not depend on the windows is computed once a part."""

PartGradient = tuple[Tensor, tuple[Tensor, ...]]
"""Loss of a part, times its share of the batch, and its gradient by parameter."""


@dataclass(frozen=True)
class BatchParts:
    """Number of parts of a batch, each a thread, and of threads inside the operations of a part."""

    parts: int
    threads: int

    @classmethod
    def of(cls, batch: int, threads: int) -> BatchParts:
        """Divide ``threads`` over a batch of windows."""
        parts = max(1, min(threads, batch // SMALLEST_PART))
        return cls(parts, max(1, threads // parts))


class BatchGradient:
    """Gradient of a network's loss in parts.

    Sums over the parts have one order, so a seed and a number of threads give the same to the bit; another number
    gives other last digits. The threads end with the object.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._pool: ThreadPoolExecutor | None = None
        self._workers = 0

    def compute(
        self, windows_db: Tensor, generator: torch.Generator, context_points: int | None, division: BatchParts
    ) -> Tensor:
        """Set every parameter's gradient of ``Network.training_loss`` of windows (B, L, F) in dB; return the loss.

        Raises TypeError for a network that is no neural process: batch norms see the whole batch.
        """
        network = self._network
        if not isinstance(network, NeuralProcess):
            raise TypeError(f"a batch of a {type(network).__name__} cannot be divided")
        masks = network.draw_masks(len(windows_db), generator, context_points)
        parts = zip(windows_db.tensor_split(division.parts), masks.split(division.parts), strict=True)
        tasks = [
            partial(self._part, network, windows, part, len(windows) / len(windows_db), division.threads)
            for windows, part in parts
        ]
        losses, gradients = zip(*self._run(tasks), strict=True)
        for parameter, total, *others in zip(self._parameters, *gradients, strict=True):
            for other in others:
                total += other
            parameter.grad = total
        return torch.stack(losses).sum()

    def _part(
        self, network: NeuralProcess, windows_db: Tensor, masks: Partition, share: float, threads: int
    ) -> PartGradient:
        torch.set_num_threads(threads)  # OpenMP keeps the number a thread
        loss = network.masked_loss(windows_db, masks) * share
        return loss.detach(), torch.autograd.grad(loss, self._parameters)

    def _run(self, tasks: list[partial[PartGradient]]) -> list[PartGradient]:
        """Run the first task here and each other one on a thread; return their results in order."""
        workers = max(1, len(tasks) - 1)
        if self._pool is None or self._workers < workers:
            self._workers = workers
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="gradient")
        others = [self._pool.submit(task) for task in tasks[1:]]
        return [tasks[0](), *(other.result() for other in others)]
