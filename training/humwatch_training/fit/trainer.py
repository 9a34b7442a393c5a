"""Training loop: steps, budgets, and a state that can be saved and resumed bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from humwatch_training.datasets.windows import Normalisation, WindowSet
from humwatch_training.errors import CheckpointError, DeviceError, TrainingDiverged
from humwatch_training.fit.autoclip import AutoClip
from humwatch_training.fit.batch_gradient import BatchGradient, BatchParts
from humwatch_training.fit.checkpoint import Checkpoint
from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.matrix_products import fast_float32_products
from humwatch_training.fit.schedule import scheduled_rate
from humwatch_training.fit.step_timing import TIMED_STEPS, seconds_per_step, steps_within
from humwatch_training.fit.threads import torch_threads
from humwatch_training.networks.kinds import NetworkConfig, build_network, parse_network_config
from humwatch_training.networks.network import NeuralProcess

MAX_SKIPPED_IN_A_ROW = 50
SOLVED_AT_ONCE = 4096
"""Number of windows that a network of closed form gets at a time."""


@dataclass(frozen=True)
class StepResult:
    """Result of a step: its number from 1, loss (``config.network.loss_label``), rate, gradient norm and its limit.

    ``clip_norm`` is None where the norm was not finite and the step was skipped.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    clip_norm: float | None


@dataclass(frozen=True)
class Progress:
    """Progress of a run: steps of the planned budget, seconds of the time budget (None without one)."""

    step: int
    planned_steps: int
    loss: float
    steps_per_s: float
    elapsed_s: float
    budget_s: float | None

    @property
    def left_s(self) -> float:
        """Seconds until the first of the budgets ends, at the present speed."""
        by_steps = (self.planned_steps - self.step) / self.steps_per_s if self.steps_per_s > 0 else math.inf
        by_time = self.budget_s - self.elapsed_s if self.budget_s is not None else math.inf
        return max(0.0, min(by_steps, by_time))


class TrainingObserver(Protocol):
    """Observer of a run, which may end it."""

    def on_step(self, progress: Progress) -> None:
        """Handle a finished step."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Handle a state worth saving."""

    def stop_requested(self) -> bool:
        """Return whether to end after this step."""


def resolve_device(config: TrainingSpec) -> torch.device:
    """Return the device of a run; raise DeviceError where this machine does not offer it, or not that precision."""
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise DeviceError("device cuda was asked for, but torch sees no CUDA device")
    device = torch.device("cuda" if available and config.device != "cpu" else "cpu")
    if config.precision == "bf16" and device.type == "cpu":
        raise DeviceError("precision bf16 is for a GPU; on the CPU use float32")
    return device


class Trainer:
    """A network in training on a set of windows, under one TrainingSpec.

    ``network_config`` is the specification's network with the measured normalisation. All random choices come from
    one CPU generator, so a run is the same on every device up to rounding, and the same to the bit on one CPU
    with one number of threads.
    """

    def __init__(
        self, config: TrainingSpec, windows: WindowSet, network_config: NetworkConfig, *, split: str = "{}"
    ) -> None:
        self.config = config
        self.split = split
        self.windows = windows
        self.device = resolve_device(config)
        torch.manual_seed(config.seed)
        self.network = build_network(network_config).to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self._gradient = BatchGradient(self.network)
        self.autoclip = AutoClip(config.autoclip_percentile)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step_number = 0
        self.skipped_steps = 0
        self.elapsed_s = 0.0
        self.seconds_per_step: float | None = None
        self.planned_steps = 1 if self.network.closed_form else config.steps or 0
        self.log: list[dict[str, float]] = []
        self._pending_losses: list[float] = []
        self._skipped_in_a_row = 0

    @classmethod
    def start(
        cls, config: TrainingSpec, windows: WindowSet, normalisation: Normalisation, *, split: str = "{}"
    ) -> Trainer:
        """Begin a run; where only minutes are given, choose its steps by timing some on a copy."""
        network_config = config.network.model_copy(
            update={"mean_db": normalisation.mean_db, "std_db": normalisation.std_db}
        )
        trainer = cls(config, windows, network_config, split=split)
        if trainer.planned_steps == 0 and config.minutes is not None:
            timed = cls(config, windows, network_config)
            timed.planned_steps = TIMED_STEPS
            timed.network.train()
            seconds = seconds_per_step(timed.step)
            trainer = cls(config, windows, network_config, split=split)  # timing moved torch's generator
            trainer.seconds_per_step = seconds
            trainer.planned_steps = steps_within(config.minutes * 60.0, seconds)
        return trainer

    @property
    def budget_s(self) -> float | None:
        """Time budget in seconds, None without one."""
        return None if self.config.minutes is None else self.config.minutes * 60.0

    @property
    def finished(self) -> bool:
        """State of a budget that is used up."""
        out_of_time = self.budget_s is not None and self.elapsed_s >= self.budget_s
        return self.step_number >= self.planned_steps or out_of_time

    def loss_of(self, windows_db: Tensor) -> Tensor:
        """Return the network's loss of windows (B, L, F) in dB: a scalar."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return self.network.training_loss(windows_db, self.generator, self.config.context_points)

    def step(self) -> StepResult:
        """Draw a batch and take one step; a gradient that is not finite changes nothing but the count of skips.

        Parts that need no gradient are learnt at the first step; for a network of closed form that is all. Raises
        TrainingDiverged after 50 skips in a row.
        """
        division = BatchParts(1, torch.get_num_threads())
        if isinstance(self.network, NeuralProcess) and self.device.type == "cpu":
            division = BatchParts.of(self.config.batch_windows, torch.get_num_threads())
        with fast_float32_products(), torch_threads(division.threads):
            return self._step(division)

    def _step(self, division: BatchParts) -> StepResult:
        self.step_number += 1
        if self.step_number == 1:
            self._solve()
        if self.network.closed_form:
            loss = self.loss_of(self.windows.sample(self.config.batch_windows, self.generator))
            return StepResult(self.step_number, float(loss), 0.0, 0.0, 0.0)
        rate = self._learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        windows_db = self.windows.sample(self.config.batch_windows, self.generator)
        if division.parts > 1:
            loss = self._gradient.compute(windows_db, self.generator, self.config.context_points, division)
        else:
            loss = self.loss_of(windows_db)
            loss.backward()  # type: ignore[no-untyped-call]
        norm, clip_norm = self.autoclip.clip(self.network.parameters())
        if clip_norm is None:
            self._skip()
        else:
            self._skipped_in_a_row = 0
            self.optimiser.step()
        return StepResult(self.step_number, float(loss.detach()), rate, norm, clip_norm)

    def _solve(self) -> None:
        parts = torch.split(torch.arange(len(self.windows)), SOLVED_AT_ONCE)
        self.network.solve(self.windows.windows(part) for part in parts)

    def _learning_rate(self) -> float:
        return scheduled_rate(
            self.config.schedule,
            self.step_number,
            peak=self.config.learning_rate,
            warmup=self.config.warmup_steps,
            steps=self.planned_steps,
        )

    def _skip(self) -> None:
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingDiverged(
                f"the gradient was not finite in {MAX_SKIPPED_IN_A_ROW} steps in a row, up to step {self.step_number}"
            )

    def run(self, observer: TrainingObserver, clock: Callable[[], float] = time.monotonic) -> None:
        """Step until a budget ends or the observer stops it; a checkpoint from time to time and at the end."""
        self.network.train()
        begun = clock() - self.elapsed_s
        first_step, first_time = self.step_number, clock()
        saved_at = first_time
        while not self.finished and not observer.stop_requested():
            result = self.step()
            now = clock()
            self.elapsed_s = now - begun
            speed = (self.step_number - first_step) / max(now - first_time, 1e-9)
            self._record(result, speed)
            observer.on_step(
                Progress(self.step_number, self.planned_steps, result.loss, speed, self.elapsed_s, self.budget_s)
            )
            if now - saved_at >= self.config.checkpoint_every_s:
                observer.on_checkpoint(self)
                saved_at = now
        observer.on_checkpoint(self)

    def _record(self, result: StepResult, steps_per_s: float) -> None:
        self._pending_losses.append(result.loss)
        if self.step_number % self.config.log_every_steps and not self.finished:
            return
        self.log.append(
            {
                "step": self.step_number,
                "loss": sum(self._pending_losses) / len(self._pending_losses),
                "learning_rate": result.learning_rate,
                "grad_norm": result.grad_norm,
                "clip_norm": math.nan if result.clip_norm is None else result.clip_norm,
                "steps_per_s": steps_per_s,
                "elapsed_s": self.elapsed_s,
            }
        )
        self._pending_losses.clear()

    def state(self) -> Checkpoint:
        """Return everything that the next step depends on, and the run's history so far."""
        return Checkpoint(
            config=self.config.model_dump_json(),
            network_config=self.network.config.model_dump_json(),
            split=self.split,
            network=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            autoclip=self.autoclip.state_dict(),
            step=self.step_number,
            planned_steps=self.planned_steps,
            seconds_per_step=self.seconds_per_step,
            elapsed_s=self.elapsed_s,
            skipped_steps=self.skipped_steps,
            skipped_in_a_row=self._skipped_in_a_row,
            torch_rng=torch.get_rng_state(),
            generator=self.generator.get_state(),
            log=[dict(row) for row in self.log],
            pending_losses=list(self._pending_losses),
        )

    @classmethod
    def resume(cls, checkpoint: Checkpoint, config: TrainingSpec, windows: WindowSet) -> Trainer:
        """Resume a run from a checkpoint; raise CheckpointError where its parts do not fit together.

        ``config`` is the checkpoint's own, or one without differences that matter (``TrainingSpec.differences``).
        """
        try:
            trainer = cls(
                config,
                windows,
                parse_network_config(checkpoint.network_config),
                split=checkpoint.split,
            )
            trainer.network.load_state_dict(checkpoint.network)
            trainer.optimiser.load_state_dict(checkpoint.optimiser)
            trainer.autoclip.load_state_dict(checkpoint.autoclip)
            trainer.generator.set_state(checkpoint.generator)
            torch.set_rng_state(checkpoint.torch_rng)
        except (ValueError, KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"the checkpoint's parts do not fit together: {error}") from error
        trainer.step_number = checkpoint.step
        trainer.planned_steps = checkpoint.planned_steps
        trainer.seconds_per_step = checkpoint.seconds_per_step
        trainer.elapsed_s = checkpoint.elapsed_s
        trainer.skipped_steps = checkpoint.skipped_steps
        trainer._skipped_in_a_row = checkpoint.skipped_in_a_row
        trainer.log = [dict(row) for row in checkpoint.log]
        trainer._pending_losses = list(checkpoint.pending_losses)
        return trainer
