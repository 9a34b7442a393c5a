"""Folder of a run: ``config.json``, ``split.json``, ``log.jsonl``, ``loss.png``, ``checkpoint.pt``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from humwatch.durable import replace_durably
from humwatch_training.datasets.recordings import Split
from humwatch_training.errors import CheckpointError, RunFolderError
from humwatch_training.fit.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from humwatch_training.fit.config import FitConfig


class RunFolder:
    """Files of one run. Every file is replaced in one piece, so a crash leaves the last complete one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoint_path(self) -> Path:
        """File that a run is resumed from."""
        return self.path / "checkpoint.pt"

    def create(self, config: FitConfig, split: Split) -> None:
        """Begin a new run; raise RunFolderError where one is there already or the folder cannot be written."""
        self.refuse_existing_run()
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config.model_dump_json(indent=2) + "\n")
        self._write("split.json", split.model_dump_json(indent=2) + "\n")
        self._write("log.jsonl", "")

    def refuse_existing_run(self) -> None:
        """Raise RunFolderError where a checkpoint is there already."""
        if self.checkpoint_path.exists():
            raise RunFolderError(f"{self.path}: holds a run already; continue it with --resume, or name another folder")

    def load(self) -> Checkpoint:
        """Return the run's checkpoint; raise RunFolderError where there is none to resume."""
        if not self.checkpoint_path.is_file():
            raise RunFolderError(f"{self.path}: there is no checkpoint there")
        return load_checkpoint(self.checkpoint_path)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, then its log and its loss curve."""
        with self._writing():
            save_checkpoint(checkpoint, self.checkpoint_path)
        self._write("log.jsonl", "".join(_log_line(row) for row in checkpoint.log))
        if checkpoint.log:
            figure = loss_figure(checkpoint.log, stored_config(checkpoint).network.loss_label)
            with self._writing():
                replace_durably(self.path / "loss.png", lambda stream: figure.savefig(stream, format="png"))

    def _write(self, name: str, text: str) -> None:
        with self._writing():
            replace_durably(self.path / name, lambda stream: stream.write(text.encode("utf-8")))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written: {error}") from error


def _log_line(row: dict[str, float]) -> str:
    # JSON has no NaN: a skipped step has no norm to clip at
    return json.dumps({name: value if value == value else None for name, value in row.items()}) + "\n"


def loss_figure(log: Sequence[dict[str, float]], label: str) -> Figure:
    """Draw the loss over the steps; ``label`` is that of the loss."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([row["step"] for row in log], [row["loss"] for row in log], linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    return figure


def stored_config(checkpoint: Checkpoint) -> FitConfig:
    """Return the configuration of a checkpoint; raise CheckpointError where it is not one."""
    try:
        return FitConfig.model_validate_json(checkpoint.config)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's configuration is not valid: {error}") from error
