"""The families of series of the table: those of machines as lines, the others in the client library's registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from humwatch_service.metrics.lines import LineFamily
from humwatch_service.metrics.table import MetricSpec

PREFIX: Final = "humwatch_"

_WINDOWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Families:
    """The metrics of a table, by name without the prefix.

    Attributes:
        machines: counters and gauges with the label ``machine_id``.
        counters: other counters.
        gauges: other gauges.
        histograms: histograms, none of which is of a machine: that would be a series a bucket and machine.
    """

    def __init__(self, specs: Iterable[MetricSpec], registry: CollectorRegistry) -> None:
        self.machines: dict[str, LineFamily] = {}
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Gauge] = {}
        self.histograms: dict[str, Histogram] = {}
        for spec in specs:
            self._add(spec, registry)

    def _add(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        name = spec.name.removeprefix(PREFIX)
        if "machine_id" in spec.labels:
            self.machines[name] = LineFamily(spec)
        elif spec.kind == "counter":
            self.counters[name] = Counter(spec.name, spec.help, spec.labels, registry=registry)
        elif spec.kind == "gauge":
            self.gauges[name] = Gauge(spec.name, spec.help, spec.labels, registry=registry)
        else:
            buckets = _SECONDS if name.endswith("_seconds") else _WINDOWS
            self.histograms[name] = Histogram(spec.name, spec.help, spec.labels, registry=registry, buckets=buckets)
