"""``humwatch-train fit``: training of a network on recordings of normal sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from humwatch_training.console import failures, show
from humwatch_training.datasets.recordings import SplitFractions
from humwatch_training.fit.config import fit_config
from humwatch_training.fit.run import begin_run, continue_run, run_to_end
from humwatch_training.fit.run_folder import RunFolder
from humwatch_training.fit.systems import DEFAULT_RECIPE, RECIPES, Recipe


def parse_channel(text: str) -> int | Literal["all"]:
    """Parse a 0-based channel or "all"; raise typer.BadParameter (exit code 2) for anything else."""
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"{text!r} is neither a channel number (from 0) nor 'all'", param_hint="--channel")
    return int(text)


def parse_system(text: str | None) -> Recipe:
    """Return the recipe of a system by its name; raise typer.BadParameter (exit code 2) for a name that is none."""
    if text is not None and text not in RECIPES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(RECIPES)}", param_hint="--system")
    return RECIPES[text or DEFAULT_RECIPE]


def parse_split(text: str) -> SplitFractions:
    """Parse fractions "train,calibration,test"; raise typer.BadParameter (exit code 2) for anything else."""
    try:
        train, calibration, test = (float(part) for part in text.split(","))
        return SplitFractions(train=train, calibration=calibration, test=test)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not three fractions train,calibration,test that sum to 1", param_hint="--split"
        ) from error


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
