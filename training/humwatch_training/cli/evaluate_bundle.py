"""``humwatch-train evaluate-bundle``: AUC of a bundle's scores on recordings that it has not seen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from humwatch.bundle.repository import ModelRepository
from humwatch_training.cli.fit import parse_channel
from humwatch_training.console import failures, show, stage_progress
from humwatch_training.evaluation.bundle import BundleScoreRow, evaluate_run
from humwatch_training.export.bundle import TrainedRun, channels_of


def evaluate_bundle(
    run: Annotated[Path, typer.Argument(help="Folder of the run that the bundle was exported from.")],
    anomalous: Annotated[Path, typer.Argument(help="Folder of anomalous recordings of the same machine.")],
    machine: Annotated[str, typer.Option("--machine", help="Machine id.")],
    version: Annotated[str | None, typer.Option(help="Version of its model. [default: the active one]")] = None,
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")] = Path("models"),
    data: Annotated[list[Path] | None, typer.Option("--data", help="Where the run's recordings are now.")] = None,
    channel: Annotated[str, typer.Option(help="0-based channel to test on, or 'all', a table each.")] = "0",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Report AUC and pAUC of every score; labels choose and fit nothing."""
    chosen = parse_channel(channel)
    with failures(as_json=as_json), stage_progress() as progress:
        trained = TrainedRun.read(run)
        bundle = ModelRepository(models).read(machine, version)
        first = next(iter(trained.files(trained.split.test, data or []).values()))
        channels = list(channels_of(first, chosen))
        tables = evaluate_run(trained, bundle, anomalous, channels=channels, data=data or [], progress=progress)
    lines = [line for number, rows in tables.items() for line in _table(f"channel {number}", rows)]
    if len(tables) > 1:
        lines += _means(list(tables.values()))
    show(
        {"channels": {str(number): [asdict(row) for row in rows] for number, rows in tables.items()}},
        "\n".join(lines),
        as_json=as_json,
    )


def _table(title: str, rows: list[BundleScoreRow]) -> list[str]:
    first = rows[0]
    lines = [f"{title}: {first.normal_clips} normal and {first.anomalous_clips} anomalous clips"]
    lines += [
        f"  {row.score:17} AUC {row.auc:.3f}  pAUC {row.pauc:.3f}  over the alarm level:"
        f" {row.false_alarms}/{row.normal_clips} normal, {row.detected}/{row.anomalous_clips} anomalous"
        for row in rows
    ]
    return lines


def _means(tables: list[list[BundleScoreRow]]) -> list[str]:
    lines = [f"mean of {len(tables)} channels"]
    for rows in zip(*tables, strict=True):
        auc, pauc = (float(np.mean([getattr(row, name) for row in rows])) for name in ("auc", "pauc"))
        lines.append(f"  {rows[0].score:17} AUC {auc:.3f}  pAUC {pauc:.3f}")
    return lines
