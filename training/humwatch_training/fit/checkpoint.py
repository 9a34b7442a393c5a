"""Checkpoint of a training run in one file: all that is needed to go on bit for bit."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from humwatch.durable import replace_durably
from humwatch_training.errors import CheckpointError
from humwatch_training.networks.kinds import build_network, parse_network_config
from humwatch_training.networks.network import Network

FORMAT = "humwatch-training-checkpoint"
VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after ``step`` steps; tensors, numbers, strings, lists and dictionaries only.

    ``config`` is the run's TrainingSpec or FitConfig, ``network_config`` the network's configuration with the measured
    normalisation, both as JSON.
    ``planned_steps`` is the budget that the schedule follows, and ``seconds_per_step`` the time that it was derived
    from where only minutes were given. ``pending_losses`` are the losses since the last line of the log.
    """

    config: str
    network_config: str
    split: str
    network: dict[str, Tensor]
    optimiser: dict[str, Any]
    autoclip: dict[str, Tensor]
    step: int
    planned_steps: int
    seconds_per_step: float | None
    elapsed_s: float
    skipped_steps: int
    skipped_in_a_row: int
    torch_rng: Tensor
    generator: Tensor
    log: list[dict[str, float]]
    pending_losses: list[float]


_FIELDS = tuple(field.name for field in fields(Checkpoint))


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint in one piece; raise CheckpointError where the disk does not take it."""
    state = {name: getattr(checkpoint, name) for name in _FIELDS}
    try:
        replace_durably(path, lambda stream: torch.save({"format": FORMAT, "version": VERSION, **state}, stream))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, without running code from it.

    Raises CheckpointError where the file is missing, truncated, of another kind or of another version.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    try:
        with stream:
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: truncated, or not a checkpoint of humwatch-train") from error
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of humwatch-train")
    if (version := state.pop("version", None)) != VERSION:
        raise CheckpointError(f"{path}: checkpoint version {version}; this humwatch-train reads version {VERSION}")
    if missing := sorted(set(_FIELDS) ^ set(state)):
        raise CheckpointError(f"{path}: missing or unknown: {', '.join(missing)}")
    return Checkpoint(**state)


def trained_network(checkpoint: Checkpoint) -> Network:
    """Return a checkpoint's network, ready to predict; raise CheckpointError where its parts do not fit together."""
    try:
        network = build_network(parse_network_config(checkpoint.network_config))
        network.load_state_dict(checkpoint.network)
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's parts do not fit together: {error}") from error
    return network.eval()
