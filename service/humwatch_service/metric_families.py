"""Families of series: made of the table, in one registry; and series of one thing, that come and go with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from humwatch_service.metric_table import MetricSpec

PREFIX: Final = "humwatch_"

_WINDOWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_Kind = TypeVar("_Kind", Counter, Gauge, Histogram)


class Families:
    """The metrics of a table, by name without the prefix."""

    def __init__(self, specs: Iterable[MetricSpec], registry: CollectorRegistry) -> None:
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Gauge] = {}
        self.histograms: dict[str, Histogram] = {}
        for spec in specs:
            self._add(spec, registry)

    def _add(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        name = spec.name.removeprefix(PREFIX)
        if spec.kind == "counter":
            self.counters[name] = Counter(spec.name, spec.help, spec.labels, registry=registry)
        elif spec.kind == "gauge":
            self.gauges[name] = Gauge(spec.name, spec.help, spec.labels, registry=registry)
        else:
            buckets = _SECONDS if name.endswith("_seconds") else _WINDOWS
            self.histograms[name] = Histogram(spec.name, spec.help, spec.labels, registry=registry, buckets=buckets)


class SeriesSet:
    """Series that go together.

    Whoever still holds one that is gone may go on to count with it: it is shown no more, and does not come back.
    """

    def __init__(self) -> None:
        self._series: list[tuple[Counter | Gauge | Histogram, tuple[str, ...]]] = []

    def add(self, family: _Kind, *labels: str) -> _Kind:
        """A series of a family, shown from now on."""
        self._series.append((family, labels))
        return family.labels(*labels)

    def remove(self) -> None:
        """Show none of them any more."""
        for family, labels in self._series:
            family.remove(*labels)
        self._series.clear()
