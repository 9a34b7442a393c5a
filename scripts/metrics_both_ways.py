"""Time the metrics of machines both ways: lines that are kept as text, and plain collectors of prometheus_client.

Updates and renderings of the two alternate in one process; the medians are printed. ADR 0014 has the figures:

    python scripts/metrics_both_ways.py 100 1000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from humwatch_service.metrics import registry as registry_module
from humwatch_service.metrics.families import PREFIX, Families
from humwatch_service.metrics.registry import Metrics
from humwatch_service.metrics.table import MetricSpec

ROUNDS: Final = 21
WINDOWS: Final = 6
"""Windows of a second of sound."""
TASKS: Final = ("update", "plain text", "openmetrics", "unchanged")


class PlainFamily:
    """A family with the interface of ``LineFamily`` and a collector of the client library behind it."""

    def __init__(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        kind = Counter if spec.kind == "counter" else Gauge
        self._collector: Any = kind(spec.name, spec.help, spec.labels, registry=registry)

    def line(self, *labels: str) -> Any:
        """Return a new series."""
        return self._collector.labels(*labels)


class PlainFamilies(Families):
    """The metrics of a table, all of them in the client library's registry."""

    def _add(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        if "machine_id" in spec.labels:
            self.machines[spec.name.removeprefix(PREFIX)] = PlainFamily(spec, registry)  # type: ignore[assignment]
        else:
            super()._add(spec, registry)


def metrics_of(families: type[Families], machine_ids: Sequence[str]) -> Metrics:
    """Return the metrics of a service with a model for each machine."""
    with patch.object(registry_module, "Families", families):
        metrics = Metrics()
    if families is PlainFamilies:
        metrics._exposition._machines = ()
    manifest = SimpleNamespace(
        version="1",
        predictor=SimpleNamespace(strategy="middle_frame"),
        scoring=SimpleNamespace(kind="consensus"),
        clip=SimpleNamespace(warn=SimpleNamespace(level=0.7), normalise=float),
    )
    model = SimpleNamespace(digest="0" * 64, manifest=manifest)
    metrics.follow_models(SimpleNamespace(models=dict.fromkeys(machine_ids, model), refusals={}))  # type: ignore[arg-type]
    metrics.live.follow(machine_ids)
    return metrics


def update(metrics: Metrics, machine_ids: Sequence[str], number: int) -> None:
    """Show a second of sound of every machine."""
    for place, machine_id in enumerate(machine_ids):
        value = (number * 31 + place) % 97 / 97
        at_s, level_dbfs = 1.7e9 + number + value, -40.0 - value
        metrics.live.show_second(machine_id, at_s=at_s, level_dbfs=level_dbfs, faults=(), state="normal")
        metrics.windows(machine_id, WINDOWS)
        metrics.judged(machine_id, value, 3.0 + value)


def series_of(metrics: Metrics) -> set[tuple[Any, ...]]:
    """Return the series of machines on the metrics page, with their values."""
    families = text_string_to_metric_families(metrics.render())
    samples = [sample for family in families for sample in family.samples if "machine_id" in sample.labels]
    return {(sample.name, *sorted(sample.labels.items()), str(sample.value)) for sample in samples}


def seconds(task: Callable[[], object]) -> float:
    """Return the duration of a task, seconds."""
    began_s = time.perf_counter()
    task()
    return time.perf_counter() - began_s


def measure(machines: int) -> None:
    """Print the figures for so many machines."""
    machine_ids = [f"mic-{number:04}" for number in range(machines)]
    ways = {"lines": metrics_of(Families, machine_ids), "plain": metrics_of(PlainFamilies, machine_ids)}
    durations_s: dict[tuple[str, str], list[float]] = {(way, task): [] for way in ways for task in TASKS}
    for number in range(0, 2 * ROUNDS, 2):
        for way, metrics in ways.items():
            render = metrics._exposition.render
            durations_s[way, "update"].append(seconds(lambda: update(metrics, machine_ids, number)))  # noqa: B023
            durations_s[way, "plain text"].append(seconds(lambda: render("plain")))  # noqa: B023
            update(metrics, machine_ids, number + 1)
            durations_s[way, "openmetrics"].append(seconds(lambda: render("openmetrics")))  # noqa: B023
            durations_s[way, "unchanged"].append(seconds(lambda: render("plain")))  # noqa: B023
    assert series_of(ways["lines"]) == series_of(ways["plain"])
    sys.stdout.write(f"{machines} machines, {len(series_of(ways['lines']))} series, medians of {ROUNDS} rounds\n")
    for task in TASKS:
        lines_ms, plain_ms = (1e3 * median(durations_s[way, task]) for way in ways)
        ratio = plain_ms / lines_ms
        sys.stdout.write(f"  {task:<12} lines {lines_ms:7.2f} ms   plain {plain_ms:7.2f} ms   x {ratio:.1f}\n")


def main() -> None:
    """Measure with each number of machines on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("machines", nargs="*", type=int, default=[100, 1000], help="numbers of machines")
    for machines in parser.parse_args().machines:
        measure(machines)


if __name__ == "__main__":
    main()
