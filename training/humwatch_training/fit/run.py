"""One run on recordings of normal sound: begun, or resumed from its checkpoint, and trained to its end."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from humwatch_training.console import say
from humwatch_training.datasets.recordings import Split, find_recordings, sha256_of, split_recordings
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet, load_clips
from humwatch_training.errors import ResumeMismatch, TrainingInterrupted
from humwatch_training.fit.config import FitConfig, fit_config
from humwatch_training.fit.progress import RunObserver, StopSignal, display_for
from humwatch_training.fit.run_folder import RunFolder, stored_config
from humwatch_training.fit.trainer import Trainer, resolve_device


def train_clips(config: FitConfig, split: Split, files: dict[str, Path]) -> list[Clip]:
    """Read the train recordings, printing a line for each tenth of them."""
    names = [entry.path for entry in split.train]
    read = 0

    def on_read() -> None:
        nonlocal read
        read += 1
        if read % max(1, len(names) // 10) == 0:
            say(f"read {read}/{len(names)} recordings")

    return load_clips(
        names, files, config.features, channel=config.channel, n_frames=config.network.n_frames, on_read=on_read
    )


def begin_run(config: FitConfig, folder: RunFolder) -> Trainer:
    """Start a new run in an empty folder."""
    folder.refuse_existing_run()
    use_threads(config)
    device = resolve_device(config)
    files = find_recordings([Path(root) for root in config.data])
    split = split_recordings(files, config.split, config.seed)
    clips = train_clips(config, split, files)
    folder.create(config, split)
    windows = WindowSet(clips, config.network.n_frames, device)
    return Trainer.start(config, windows, Normalisation.of(clips), split=split.model_dump_json())


def continue_run(settings: dict[str, object], folder: RunFolder) -> Trainer:
    """Resume a run from its checkpoint; raise ResumeMismatch where settings or recordings are not those it had."""
    checkpoint = folder.load()
    stored = stored_config(checkpoint)
    config = fit_config({**stored.model_dump(), **settings})
    if differences := stored.differences(config):
        raise ResumeMismatch(f"{folder.path}: was begun with other settings: {', '.join(differences)}")
    split = Split.from_json(checkpoint.split)
    files = find_recordings([Path(root) for root in config.data])
    for entry in split.train:
        if entry.path not in files:
            raise ResumeMismatch(f"{entry.path}: this train recording is no longer among the data")
        if sha256_of(files[entry.path]) != entry.sha256:
            raise ResumeMismatch(f"{entry.path}: this train recording has changed since the run began")
    use_threads(config)
    windows = WindowSet(train_clips(config, split, files), config.network.n_frames, resolve_device(config))
    return Trainer.resume(checkpoint, config, windows)


def use_threads(config: FitConfig) -> None:
    """Set torch's CPU threads for this process where the run names their number."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)


def run_to_end(trainer: Trainer, folder: RunFolder) -> dict[str, object]:
    """Train until a budget ends and return the result; raise TrainingInterrupted where a signal came first."""
    stop = StopSignal()
    with stop.installed(), display_for(Console(stderr=True), say) as display:
        trainer.run(RunObserver(folder, display, stop))
    if stop.name is not None and not trainer.finished:
        raise TrainingInterrupted(
            f"{stop.name} after step {trainer.step_number} of {trainer.planned_steps}; the checkpoint is "
            f"saved. Resume with: humwatch-train fit --run {folder.path} --resume"
        )
    return {
        "run": str(folder.path),
        "checkpoint": str(folder.checkpoint_path),
        "step": trainer.step_number,
        "planned_steps": trainer.planned_steps,
        "skipped_steps": trainer.skipped_steps,
        "loss": trainer.log[-1]["loss"] if trainer.log else None,
        "elapsed_s": trainer.elapsed_s,
        "data_digest": Split.from_json(trainer.split).digest(),
    }
