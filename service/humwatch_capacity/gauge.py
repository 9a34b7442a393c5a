"""What the service says of itself on ``/metrics``, and what the system says of its processes (Linux: /proc)."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

LATENCY: Final = "humwatch_end_to_end_latency_seconds"
_WANTED: Final = (
    LATENCY,
    "humwatch_live_streams",
    "humwatch_windows_dropped_total",
    "humwatch_audio_gap_seconds_total",
    "humwatch_source_faults_total",
    "humwatch_alarm_transitions_total",
)
PROC: Final = Path("/proc")


class Page:
    """One reading of ``/metrics``. Only what is wanted here is parsed: the player waits meanwhile."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
        self._samples = [
            sample for family in text_string_to_metric_families("\n".join(lines) + "\n") for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels."""
        wanted = labels.items()
        return sum(sample.value for sample in self._samples if sample.name == name and wanted <= sample.labels.items())

    def buckets(self, name: str) -> dict[float, float]:
        """Upper edges of a histogram without labels, and how many lay at or below them."""
        return {float(sample.labels["le"]): sample.value for sample in self._samples if sample.name == f"{name}_bucket"}


@dataclass(frozen=True)
class Told:
    """What the service counted since it was started.

    Attributes:
        live_streams: that are fed now.
        dropped_windows: without a score because their samples never came.
        untold_scores: that a client did not read in time.
        gap_s: sound that never came, seconds.
        faults: of sources, that began.
        alarms: that were raised.
        latency: histogram of the end-to-end latency: upper edges in seconds, and counts at or below.
    """

    live_streams: int
    dropped_windows: int
    untold_scores: int
    gap_s: float
    faults: int
    alarms: int
    latency: Mapping[float, float]

    @classmethod
    def of(cls, page: Page) -> Told:
        """Read it from a page."""
        return cls(
            live_streams=int(page.total("humwatch_live_streams")),
            dropped_windows=int(page.total("humwatch_windows_dropped_total", reason="gap")),
            untold_scores=int(page.total("humwatch_windows_dropped_total", reason="client_slow")),
            gap_s=page.total("humwatch_audio_gap_seconds_total"),
            faults=int(page.total("humwatch_source_faults_total")),
            alarms=int(page.total("humwatch_alarm_transitions_total", event="raised")),
            latency=page.buckets(LATENCY),
        )

    @classmethod
    def ask(cls, http: httpx.Client) -> Told | None:
        """Ask the service; None where it does not answer in time."""
        try:
            return cls.of(Page(http.get("/metrics").raise_for_status().text))
        except httpx.HTTPError:
            return None


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """A quantile as Prometheus computes it: even within a bucket, and no higher than the last finite edge."""
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
    """What came into a histogram between two readings."""
    return {edge: count - before.get(edge, 0.0) for edge, count in now.items()}


@dataclass(frozen=True)
class Usage:
    """What a process that leads a session and all others of its session have used.

    Attributes:
        at_s: of the monotonic clock.
        cpu_s: processor time so far, seconds.
        rss_mb: resident memory now, MB of 10^6 bytes; what processes share counts for each.
    """

    at_s: float
    cpu_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Measure a process with what it started; one that is gone has used nothing."""
        family = _family(pid)
        return cls(time.monotonic(), sum(map(_cpu_s, family)), sum(map(_rss_mb, family)))

    def cores_since(self, before: Usage) -> float:
        """Processors that were kept busy since another reading."""
        return max(0.0, self.cpu_s - before.cpu_s) / max(1e-9, self.at_s - before.at_s)


def busy_s() -> float:
    """Processor time that all programs of this host have used so far, seconds."""
    user, nice, system, _, _, irq, softirq, steal = map(int, _text(PROC / "stat").split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    """The process and all that it started: they share a session, which the service has for itself."""
    numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid, *(number for number in numbers if number != pid and _session(number) == pid)]


def _session(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[3]) if fields else 0


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Fields behind the name, which may hold blanks itself: state, parent, group, session, ..."""
    return _text(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _rss_mb(pid: int) -> float:
    fields = _text(PROC / str(pid) / "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if fields else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
