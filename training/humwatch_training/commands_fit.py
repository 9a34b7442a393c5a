"""`humwatch-train fit`: train a network on recordings of normal sound."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console

from humwatch_training.config import FitConfig, SplitFractions, fit_config
from humwatch_training.console import failures, say, show
from humwatch_training.data import Clip, Normalisation, WindowSet, load_clips
from humwatch_training.errors import ResumeMismatch, TrainingInterrupted
from humwatch_training.progress import RunWatcher, StopSignal, display_for
from humwatch_training.recordings import Split, find_recordings, sha256_of, split_recordings
from humwatch_training.run_folder import RunFolder, stored_config
from humwatch_training.systems import DEFAULT_RECIPE, RECIPES, Recipe
from humwatch_training.trainer import Trainer, resolve_device


def parse_channel(text: str) -> int | Literal["all"]:
    """Return a 0-based channel or "all"; typer.BadParameter (exit code 2) for anything else."""
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"{text!r} is neither a channel number (from 0) nor 'all'", param_hint="--channel")
    return int(text)


def parse_system(text: str | None) -> Recipe:
    """Return how a system is trained, by its name; typer.BadParameter (exit code 2) for a name that is none."""
    if text is not None and text not in RECIPES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(RECIPES)}", param_hint="--system")
    return RECIPES[text or DEFAULT_RECIPE]


def parse_split(text: str) -> SplitFractions:
    """Return three fractions "train,calibration,test"; typer.BadParameter (exit code 2) for anything else."""
    try:
        train, calibration, test = (float(part) for part in text.split(","))
        return SplitFractions(train=train, calibration=calibration, test=test)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not three fractions train,calibration,test that sum to 1", param_hint="--split"
        ) from error


def train_clips(config: FitConfig, split: Split, files: dict[str, Path]) -> list[Clip]:
    """Read the train recordings, a line for each tenth of them."""
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
    """Take up a run from its checkpoint; ResumeMismatch where settings or recordings are not those it had."""
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
    """Train until a budget ends and return the result; TrainingInterrupted where a signal came first."""
    stop = StopSignal()
    with stop.listening(), display_for(Console(stderr=True), say) as display:
        trainer.run(RunWatcher(folder, display, stop))
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


def fit(
    run: Annotated[Path, typer.Option("--run", help="Folder of the run: settings, split, log, checkpoint.")],
    data: Annotated[list[Path] | None, typer.Argument(help="Folders of normal recordings (plain or MIMII).")] = None,
    system: Annotated[
        str | None, typer.Option(help=f"What is trained: {', '.join(RECIPES)}. [default: {DEFAULT_RECIPE}]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Step budget.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget; whichever ends first.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    channel: Annotated[str | None, typer.Option(help="0-based channel, or 'all'. [default: 0]")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows a step. [default: the system's]", min=1)] = None,
    context_points: Annotated[int | None, typer.Option(help="Random subset of the context a window.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, start and batches. [default: 0]", min=0)] = None,
    split: Annotated[
        str | None, typer.Option(help="Shares of the recordings: train,calibration,test. [default: 0.4,0.4,0.2]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bf16. [default: float32]")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of torch.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on recordings of normal sound."""
    if not resume and not data:
        raise typer.BadParameter("name at least one folder of normal recordings", param_hint="DATA")
    recipe = parse_system(system)
    if not resume and steps is None and minutes is None and recipe.steps > 1:
        raise typer.BadParameter("give a budget: --steps, --minutes or both", param_hint="--steps")
    given: dict[str, object] = {
        "data": tuple(str(root.absolute()) for root in data) if data else None,
        "steps": 1 if recipe.steps == 1 else steps,
        "minutes": minutes,
        "channel": None if channel is None else parse_channel(channel),
        "batch_windows": batch,
        "context_points": context_points,
        "seed": seed,
        "split": None if split is None else parse_split(split),
        "device": device,
        "precision": precision,
        "threads": threads,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    if not resume:
        settings = {**recipe.settings(), **settings}
    elif system is not None:
        settings["network"] = recipe.network
    folder = RunFolder(run)
    with failures(as_json=as_json):
        trainer = continue_run(settings, folder) if resume else begin_run(fit_config(settings), folder)
        result = run_to_end(trainer, folder)
        text = f"{run}: {result['step']} of {result['planned_steps']} steps, loss {result['loss']}"
        show(result, text, as_json=as_json)
