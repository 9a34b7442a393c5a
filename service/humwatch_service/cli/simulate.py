"""``humwatch simulate``: recordings of a machine that never was, for who has none yet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import soundfile
import typer

from humwatch.synthetic import FAULTS, Fault, FaultKind, SyntheticMachine
from humwatch_service.cli.console import JsonOption, failures, progress_bar, show
from humwatch_service.errors import FileUnreadable

_KINDS: dict[str, FaultKind] = {kind: kind for kind in FAULTS}

FaultChoice = StrEnum("FaultChoice", _KINDS)  # type: ignore[misc]


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder that the recordings go into.")],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many recordings.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.5, max=600.0, help="Length of each, s.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Which machine: another seed is another machine.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="Number of the first recording: another is another moment.")] = 0,
    fault: Annotated[FaultChoice | None, typer.Option(help="What is wrong with the machine; else nothing.")] = None,
    level_db: Annotated[
        float, typer.Option("--level-db", min=-60.0, max=40.0, help="Power of the fault relative to the machine, dB.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Write WAV recordings of a seeded synthetic machine, well or with a fault."""
    machine = SyntheticMachine(seed=seed)
    wrong = None if fault is None else Fault(_KINDS[fault.value], level_db)
    kind = "normal" if wrong is None else f"anomaly_{wrong.kind}"
    paths = [folder / f"{kind}_{number:05}.wav" for number in range(first, first + count)]
    with failures(as_json=as_json):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with progress_bar("simulating", len(paths)) as progress:
                for number, path in enumerate(paths, start=first):
                    soundfile.write(path, machine.clip(number, seconds, wrong), machine.rate_hz, subtype="PCM_16")
                    progress.advance(progress.task_ids[0])
        except (OSError, soundfile.LibsndfileError) as error:
            raise FileUnreadable(f"{folder} cannot be written: {error}") from error
    show({"files": [str(path) for path in paths]}, f"{len(paths)} recordings in {folder}", as_json=as_json)
