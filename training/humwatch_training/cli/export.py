"""``humwatch-train export``: export of a run as a bundle that the service loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from humwatch.bundle.manifest import MACHINE_ID
from humwatch.bundle.repository import ModelRepository
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.cli.fit import parse_channel
from humwatch_training.console import failures, say, show, stage_progress
from humwatch_training.export.bundle import ExportSpec, TrainedRun, export_bundle
from humwatch_training.networks.strategy_choice import StrategyConfig, StrategyName


def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    machine: Annotated[str, typer.Option("--machine", help="Machine id: a-z, 0-9, '.', '_', '-'.")],
    machine_type: Annotated[str, typer.Option("--type", help="What kind of machine it is, e.g. fan.")] = "machine",
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")] = Path("models"),
    strategy: Annotated[
        str | None, typer.Option(help="What the network is asked: " + ", ".join(get_args(StrategyName)) + ".")
    ] = None,
    groups: Annotated[int, typer.Option(help="Groups of bands of the strategies combs, blocks and bands.", min=2)] = 2,
    data: Annotated[list[Path] | None, typer.Option("--data", help="Where the run's recordings are now.")] = None,
    channel: Annotated[str, typer.Option(help="Calibrate on this 0-based channel, or on 'all'.")] = "all",
    hop: Annotated[
        int | None, typer.Option(help="Frames from one window to the next. [default: so that each is predicted]", min=1)
    ] = None,
    clip_seconds: Annotated[float, typer.Option(help="Sound that a score listens to, s.", min=1.0)] = 10.0,
    score: Annotated[str, typer.Option(help=f"{', '.join(get_args(ScoreKind))}, or auto: consensus.")] = "auto",
    licence: Annotated[str, typer.Option(help="Licence of the model.")] = "unspecified",
    attribution: Annotated[str, typer.Option(help="Whose recordings it was trained on.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a network with its mask to ONNX, check it against torch, calibrate it, write the next version."""
    if not MACHINE_ID.fullmatch(machine):
        raise typer.BadParameter(f"{machine[:80]!r} is not 1 to 64 of a-z, 0-9, '.', '_', '-'", param_hint="--machine")
    try:
        spec = ExportSpec(
            machine_id=machine,
            machine_type=machine_type,
            licence=licence,
            attribution=attribution,
            strategy=None if strategy is None else StrategyConfig.model_validate({"name": strategy, "groups": groups}),
            score=None if score == "auto" else ScoringSpec.model_validate({"kind": score}).kind,
            hop_frames=hop,
            clip_seconds=clip_seconds,
            channel=parse_channel(channel),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with failures(as_json=as_json), stage_progress() as progress:
        trained = TrainedRun.read(run)
        done = export_bundle(trained, ModelRepository(models), spec, data=data or [], progress=progress)
        active = ModelRepository(models).active_version(machine)
    for warning in done.warnings:
        say(f"warning: {warning}")
    if active != done.version:
        say(f"version {active} stays in use; change with: humwatch models activate {machine} {done.version}")
    result: dict[str, object] = {
        "folder": str(done.folder),
        "machine_id": machine,
        "version": done.version,
        "active_version": active,
        "parity": done.parity.as_figures(),
        "warnings": done.warnings,
    }
    text = f"{done.folder}: torch and ONNX differ by at most {max(done.parity.mean, done.parity.std):.1e}"
    show(result, text, as_json=as_json)
