"""``humwatch-train verify``: agreement of torch, ONNX, file and stream, shown on recordings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from humwatch.bundle.repository import ModelRepository
from humwatch.onnx_predictor import OnnxPredictor
from humwatch_training.console import failures, show, stage_progress
from humwatch_training.export.bundle import PARITY_WINDOWS, TrainedRun, sample_windows
from humwatch_training.export.graph import check_parity
from humwatch_training.export.verify import verify_recording
from humwatch_training.networks.strategy_choice import build_strategy, strategy_of_title


def verify(
    run: Annotated[Path, typer.Argument(help="Folder of the run that the bundle was exported from.")],
    recordings: Annotated[list[Path], typer.Argument(help="WAV or FLAC files to compare on.")],
    machine: Annotated[str, typer.Option("--machine", help="Machine id.")],
    version: Annotated[str | None, typer.Option(help="Version of its model. [default: the active one]")] = None,
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")] = Path("models"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check that torch and ONNX agree, that a stream equals the file, and that all decide the same."""
    with failures(as_json=as_json), stage_progress() as progress:
        trained = TrainedRun.read(run)
        bundle = ModelRepository(models).read(machine, version)
        bundle.golden.check(OnnxPredictor(bundle.graph))
        windows = sample_windows(recordings, trained.config, PARITY_WINDOWS)
        title = bundle.manifest.predictor.strategy
        strategy = build_strategy(trained.network, strategy_of_title(trained.config.network, title))
        parity = check_parity(strategy, bundle.graph, windows)
        rows = []
        for done, path in enumerate(recordings):
            progress("recordings", done, len(recordings))
            rows.append(verify_recording(strategy, bundle, path))
        progress("recordings", len(recordings), len(recordings))
    lines = [
        f"{row.recording}: score {row.score:.4f} ({row.state}); torch and ONNX differ by {row.torch_difference:.1e};"
        f" {row.stream_trials} streams in random chunks equal the file"
        for row in rows
    ]
    lines.append(f"{parity.windows} windows: mean within {parity.mean:.1e}, std within {parity.std:.1e} of torch")
    result: dict[str, object] = {"parity": parity.as_figures(), "recordings": [asdict(row) for row in rows]}
    show(result, "\n".join(lines), as_json=as_json)
