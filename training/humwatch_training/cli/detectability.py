"""``humwatch-train detectability``: faults that a machine's model detects, mixed into held-out normal sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from humwatch.bundle.repository import ModelRepository
from humwatch_training.console import failures, say, show, stage_progress
from humwatch_training.datasets.recordings import find_recordings
from humwatch_training.detectability.catalogue import CATALOGUE
from humwatch_training.detectability.fault import SimulatedFault
from humwatch_training.detectability.held_out import digests_seen, held_out_clips
from humwatch_training.detectability.measure import (
    At,
    ScoreCache,
    SystemUnderTest,
    common_clip_and_channel,
    measure_systems,
)
from humwatch_training.detectability.report import AT_WORDS, Report, write_report

MAX_LEVELS = 100


def detectability(
    normal: Annotated[list[Path], typer.Option("--normal", help="Normal recordings that trained nothing.")],
    machine: Annotated[list[str], typer.Option("--machine", help="Machine id, or ID@VERSION; several are compared.")],
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")] = Path("models"),
    split: Annotated[
        list[Path] | None,
        typer.Option("--split", help="A run's split.json: leave out what it trained and calibrated on."),
    ] = None,
    channel: Annotated[int | None, typer.Option(help="0-based. [default: the model's]", min=0)] = None,
    clips: Annotated[
        int, typer.Option(help="Clips to mix faults into, from as many recordings as can be.", min=1)
    ] = 10,
    faults: Annotated[str | None, typer.Option(help="Names, comma-separated. [default: all]")] = None,
    levels: Annotated[str, typer.Option(help="LOWEST:HIGHEST:STEP of faults that have a level, dB.")] = "-30:10:5",
    at: Annotated[str, typer.Option(help="Detected is: alarm, or matched, at one false-alarm rate.")] = "alarm",
    seed: Annotated[int, typer.Option(help="Of the faults and of the intervals.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of the predictor.", min=1)] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report. [default: runs/detectability/MACHINE]")
    ] = None,
    with_bundle: Annotated[
        bool, typer.Option("--with-bundle", help="Also put the report beside the versions of each machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Mix faults into held-out normal sound and report from which level on they are detected."""
    chosen, level = parse_faults(faults, parse_levels(levels)), parse_at(at)
    folder = out or Path("runs", "detectability", machine[0].partition("@")[0])
    with failures(as_json=as_json):
        read = (SystemUnderTest.read(ModelRepository(models), name, threads=threads) for name in machine)
        systems = list({system.name: system for system in read}.values())
        clip_s, default = common_clip_and_channel(systems, channel)
        files, known = find_recordings(normal), digests_seen(split or [])
        held_out = held_out_clips(
            files, clip_s=clip_s, count=clips, channel=channel, default_channel=default, known=known
        )
        with stage_progress() as progress:
            cache = ScoreCache(folder / "scores.jsonl")
            measured = measure_systems(systems, held_out, chosen, cache, seed=seed, progress=progress)
        report = Report(measured, chosen, held_out, seed, level)
        for place in (folder, *(version_report_folder(models, system) for system in systems if with_bundle)):
            write_report(report, place)
            say(f"written: {place}")
    show(report.as_json(), report.table(), as_json=as_json)


def version_report_folder(models: Path, system: SystemUnderTest) -> Path:
    """Return the folder of a version's report, beside the version's own, which is never changed."""
    manifest = system.bundle.manifest
    return models / manifest.machine_id / "detectability" / manifest.version


def parse_levels(text: str) -> tuple[float, ...]:
    """Parse levels "lowest:highest:step", dB; raise typer.BadParameter (exit code 2) for anything else."""
    try:
        lowest, highest, step = (float(part) for part in text.split(":"))
    except ValueError:
        lowest = highest = step = np.nan
    count = (highest - lowest) / step + 1e-9 if step > 0 else np.nan
    if not 1 <= count < MAX_LEVELS or not np.isfinite([lowest, highest, step]).all():
        raise typer.BadParameter(
            f"{text!r} is not lowest:highest:step in dB with 2 to {MAX_LEVELS} levels", param_hint="--levels"
        )
    return tuple(round(lowest + step * i, 6) for i in range(int(count) + 1))


def parse_faults(names: str | None, levels_db: tuple[float, ...]) -> tuple[SimulatedFault, ...]:
    """Return faults of the catalogue by name, those with a level at ``levels_db``.

    Raises typer.BadParameter for a name that is unknown.
    """
    known = {fault.name: fault for fault in CATALOGUE}
    wanted = list(known) if names is None else list(dict.fromkeys(name.strip() for name in names.split(",")))
    if unknown := [name for name in wanted if name not in known]:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(known)}", param_hint="--faults")
    chosen = (known[name] for name in wanted)
    return tuple(replace(fault, severities=levels_db) if fault.unit == "dB" else fault for fault in chosen)


def parse_at(text: str) -> At:
    """Parse the level of a detection; raise typer.BadParameter (exit code 2) for anything else."""
    for at in AT_WORDS:
        if text == at:
            return at
    raise typer.BadParameter(f"{text!r} is neither {' nor '.join(AT_WORDS)}", param_hint="--at")
