"""Counts of the service under test, read from its page ``/metrics``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

LATENCY: Final = "humwatch_end_to_end_latency_seconds"
_WANTED: Final = (
    LATENCY,
    "humwatch_live_streams",
    "humwatch_live_load_ratio",
    "humwatch_windows_dropped_total",
    "humwatch_audio_gap_seconds_total",
    "humwatch_source_faults_total",
    "humwatch_alarm_transitions_total",
)


class MetricsPage:
    """One reading of ``/metrics``. Only what is needed here is parsed: the player waits meanwhile."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
        self._samples = [
            sample for family in text_string_to_metric_families("\n".join(lines) + "\n") for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels."""
        wanted = labels.items()
        return sum(sample.value for sample in self._samples if sample.name == name and wanted <= sample.labels.items())

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return the samples of a name by one of their labels."""
        return {sample.labels[label]: sample.value for sample in self._samples if sample.name == name}

    def buckets(self, name: str) -> dict[float, float]:
        """Return the upper edges of a histogram without labels, with the number of samples at or below each."""
        return {float(sample.labels["le"]): sample.value for sample in self._samples if sample.name == f"{name}_bucket"}


@dataclass(frozen=True)
class ServiceCounts:
    """Counts of the service since it was started.

    Attributes:
        live_streams: number of streams that are fed now.
        dropped_windows: number of windows without a score because their samples never came.
        untold_scores: number of scores that a client did not read in time.
        gap_s: sound that never came, seconds.
        faults: number of faults of sources that began.
        alarms: number of alarms that were raised.
        latency: histogram of the end-to-end latency: upper edges in seconds, with the counts at or below.
        loads: share in use of what streams may use of each resource.
    """

    live_streams: int
    dropped_windows: int
    untold_scores: int
    gap_s: float
    faults: int
    alarms: int
    latency: Mapping[float, float]
    loads: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, page: MetricsPage) -> ServiceCounts:
        """Read the counts from a page."""
        return cls(
            live_streams=int(page.total("humwatch_live_streams")),
            dropped_windows=int(page.total("humwatch_windows_dropped_total", reason="gap")),
            untold_scores=int(page.total("humwatch_windows_dropped_total", reason="client_slow")),
            gap_s=page.total("humwatch_audio_gap_seconds_total"),
            faults=int(page.total("humwatch_source_faults_total")),
            alarms=int(page.total("humwatch_alarm_transitions_total", event="raised")),
            latency=page.buckets(LATENCY),
            loads=page.by_label("humwatch_live_load_ratio", "resource"),
        )

    @classmethod
    def ask(cls, http: httpx.Client) -> ServiceCounts | None:
        """Ask the service; None where it does not answer in time."""
        try:
            return cls.of(MetricsPage(http.get("/metrics").raise_for_status().text))
        except httpx.HTTPError:
            return None


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile as Prometheus computes it: even within a bucket, and no higher than the last finite edge."""
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0.0
    below, low = 0.0, 0.0
    for edge in edges:
        if total and buckets[edge] >= share * total:
            inside = buckets[edge] - below
            return low if math.isinf(edge) else low + (edge - low) * (share * total - below) / max(inside, 1e-9)
        below, low = buckets[edge], edge
    return None


def since(now: Mapping[float, float], before: Mapping[float, float]) -> dict[float, float]:
    """Return the samples that came into a histogram between two readings."""
    return {edge: count - before.get(edge, 0.0) for edge, count in now.items()}
