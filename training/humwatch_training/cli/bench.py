"""``humwatch-train bench``: costs of predictors, training and the service on this machine, in one run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from humwatch_training.bench.picture import draw_capacity
from humwatch_training.bench.predictors import FAST, PredictorCosts, measure_predictors, predictor_candidates, table
from humwatch_training.bench.service import measure_service
from humwatch_training.bench.thread_scaling import ThreadScaling, measure_thread_scaling
from humwatch_training.bench.training_speed import TrainingSpeed, measure_training_speed
from humwatch_training.console import failures, say, show, stage_progress

ROUNDS = 5
ROUND_S = 0.4
TRAINING_STEPS = 20
LEVEL_S = 15.0


def bench(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here, as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw latency against streams here, as PNG.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of the predictors.", min=1)] = ROUNDS,
    training: Annotated[bool, typer.Option("--training/--no-training", help="Measure training.")] = True,
    service: Annotated[bool, typer.Option("--service/--no-service", help="Measure the service.")] = True,
    models: Annotated[Path, typer.Option(help="Folder of models for the service.")] = Path("models"),
    machine: Annotated[str | None, typer.Option(help="Whose model the streams are scored by. [default: first]")] = None,
    level_s: Annotated[float, typer.Option(help="Measured of each number of streams, s.", min=1.0)] = LEVEL_S,
) -> None:
    """Measure predictors, training and the service on this machine."""
    with failures(as_json=False):
        with stage_progress() as progress:
            candidates = list(predictor_candidates())
            costs = measure_predictors(
                candidates, rounds=rounds, seconds=ROUND_S, progress=lambda done: progress("predictors", done, rounds)
            )
        speeds = _training() if training else []
        scalings = _threads() if training else []
        capacity = measure_service(models, machine, seconds=level_s) if service else None
        result = as_result(costs, speeds, capacity, scalings)
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        if picture is not None and capacity is not None:
            draw_capacity(capacity, picture)
        show(result, as_text(costs, speeds, capacity, scalings), as_json=False)


def _training() -> list[TrainingSpeed]:
    say("training: each recipe beside a straightforward loop, some minutes")
    return measure_training_speed(steps=TRAINING_STEPS)


def _threads() -> list[ThreadScaling]:
    threads = torch.get_num_threads()
    if threads == 1:
        say("training: one thread, so there is no second to compare with")
        return []
    say(f"training: each recipe on {threads} threads beside one, a minute or two")
    return measure_thread_scaling(threads)


def as_result(
    costs: PredictorCosts,
    speeds: list[TrainingSpeed],
    capacity: dict[str, Any] | None,
    scalings: Sequence[ThreadScaling] = (),
) -> dict[str, object]:
    """Return all figures in the form that is written to JSON.

    ``speedup_vs_straight_export`` and ``streams_per_core`` are of the predictor that new bundles get, at hop 1.
    """
    default = costs.of(FAST)
    return {
        "machine": {
            "processor": _processor(),
            "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("humwatch", "numpy", "onnxruntime", "torch")},
        },
        "gemm_peak_gflops": costs.gemm_peak_gflops,
        "default": default.name,
        "speedup_vs_straight_export": default.speedup,
        "streams_per_core": default.streams_per_core,
        "predictors": [asdict(cost) for cost in costs.predictors],
        "training": [{**asdict(speed), "ratio": speed.ratio} for speed in speeds],
        "training_threads": [{**asdict(scaling), "ratio": scaling.ratio} for scaling in scalings],
        "service": capacity,
    }


def as_text(
    costs: PredictorCosts,
    speeds: list[TrainingSpeed],
    capacity: dict[str, Any] | None,
    scalings: Sequence[ThreadScaling] = (),
) -> str:
    """Return the figures as Markdown tables."""
    parts = [f"float32 GEMM peak of one core: {costs.gemm_peak_gflops:.0f} GFLOP/s", table(costs.predictors)]
    if speeds:
        rows = [
            f"| {speed.recipe} | {speed.plain_windows_per_s:.0f} | {speed.trainer_windows_per_s:.0f} |"
            f" {speed.ratio:.2f} | {speed.loss_difference:.1g} |"
            for speed in speeds
        ]
        head = "| trains | straightforward loop, windows/s | fit, windows/s | ratio | largest difference of the loss |"
        parts.append("\n".join([head, "|---|---|---|---|---|", *rows]))
    if scalings:
        rows = [
            f"| {scaling.recipe} | {scaling.batch_windows} | {scaling.steps_per_s_alone:.1f} |"
            f" {scaling.steps_per_s:.1f} | {scaling.ratio:.2f} |"
            for scaling in scalings
        ]
        head = f"| trains | windows a step | steps/s, 1 thread | steps/s, {scalings[0].threads} threads | ratio |"
        parts.append("\n".join([head, "|---|---|---|---|---|", *rows]))
    if capacity is not None:
        parts.append(_service_text(capacity))
    return "\n\n".join(parts)


def _service_text(capacity: dict[str, Any]) -> str:
    rows = [
        f"| {level['streams']} | {_ms(level['latency']['p50_s'])} | {_ms(level['latency']['p99_s'])} |"
        f" {level['latency']['lost_scores']} | {level['service_cores']:.2f} | {level['rss_mb']:.0f} |"
        f" {level['mb_a_stream']:.1f} | {'yes' if level['sustained'] else ', '.join(level['failed_by'])} |"
        for level in sorted(capacity["levels"], key=lambda level: int(level["streams"]))
    ]
    head = "| streams | p50, ms | p99, ms | lost | processors | RSS, MB | MB a stream | sustained |"
    parts = [
        f"{capacity['sustained_streams']} streams within {capacity['budget_s']:g} s"
        f" on {capacity['processors']} processors",
        "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows]),
    ]
    if (score := capacity["score"]) is not None:
        rows = [
            f"| {name} | {_ms(load['p50_s'])} | {_ms(load['p99_s'])} | {load['a_second']:.1f} |"
            f" {sum(load['errors'].values())} |"
            for name, load in (("one after the other", score["sequential"]), ("ten at once", score["concurrent"]))
        ]
        head = f"| POST /score of {score['clip_s']:g} s | p50, ms | p99, ms | a second | errors |"
        parts.append("\n".join([head, "|---|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"


def _processor() -> str:
    """Return the processor's own name (Linux), else the one that Python has for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
