"""What is counted of live streams and alarms; every machine of the fleet is there from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from prometheus_client import Counter, Gauge, Histogram

from humwatch.alarm_events import EVENT_KINDS, MACHINE_STATES, AlarmEvent, MachineState
from humwatch.source_health import SOURCE_FAULTS
from humwatch_service.live.load import RESOURCES, Resource

DROPS: Final = ("gap", "client_slow")
"""``gap``: samples never came. ``client_slow``: a client did not read its scores."""

REFUSALS: Final = ("streams_full", "overloaded")


@dataclass(frozen=True)
class MetricSpec:
    """One metric, as Prometheus sees it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


LIVE_METRICS: Final = (
    MetricSpec(
        "humwatch_alarm_state",
        "gauge",
        ("machine_id", "state"),
        "1 for the state that is shown of a machine that is listened to, 0 for the others.",
    ),
    MetricSpec(
        "humwatch_alarm_transitions_total", "counter", ("machine_id", "event"), "Alarm events and changes of state."
    ),
    MetricSpec("humwatch_source_fault", "gauge", ("machine_id", "fault"), "1 while the source has this fault."),
    MetricSpec("humwatch_source_faults_total", "counter", ("machine_id", "fault"), "Faults of the source that began."),
    MetricSpec(
        "humwatch_audio_level_dbfs", "gauge", ("machine_id",), "Level of the last second of sound; NaN before any."
    ),
    MetricSpec(
        "humwatch_audio_last_sample_timestamp_seconds",
        "gauge",
        ("machine_id",),
        "When the last sound that was scored was taken, seconds since 1970; 0 before any.",
    ),
    MetricSpec(
        "humwatch_audio_gap_seconds_total", "counter", ("machine_id",), "Sound of live streams that never came."
    ),
    MetricSpec("humwatch_audio_overflows_total", "counter", ("machine_id",), "Times that a sound card lost samples."),
    MetricSpec(
        "humwatch_windows_dropped_total",
        "counter",
        ("machine_id", "reason"),
        "Windows without a score because their samples never came (gap), scores that a slow client did not get.",
    ),
    MetricSpec("humwatch_live_streams", "gauge", (), "Streams that somebody feeds."),
    MetricSpec(
        "humwatch_live_waiting_seconds",
        "gauge",
        (),
        "Sound that waits for a worker or is with one, of all streams; what is too little for a step is not counted.",
    ),
    MetricSpec(
        "humwatch_live_load_ratio",
        "gauge",
        ("resource",),
        "Processor time that streams and the event loop use of what they may use, mean of 5 s: of all processors"
        " (cores), and of the one that runs Python (interpreter). At 1 no more streams are taken.",
    ),
    MetricSpec(
        "humwatch_live_lateness_seconds",
        "gauge",
        (),
        "Latency that the scores of the last 5 s kept to but for a twentieth of them, of streams that do not catch up.",
    ),
    MetricSpec(
        "humwatch_streams_refused_total",
        "counter",
        ("reason",),
        "Live streams that were not taken: streams_full (max_streams), overloaded (no processor time, or scores late).",
    ),
    MetricSpec(
        "humwatch_streams_given_up_total",
        "counter",
        (),
        "Live streams that were closed so that the scores of the others come in time.",
    ),
    MetricSpec(
        "humwatch_end_to_end_latency_seconds",
        "histogram",
        (),
        "From the arrival of the last sample that a score depends on to the score, of streams in real time.",
    ),
    MetricSpec("humwatch_unsaved_changes", "gauge", (), "Alarm events that the disk has not taken yet."),
)


class LiveMetrics:
    """Counts what live streams do. Label values come from the fleet and from tables, never from a client."""

    def __init__(
        self,
        counters: Mapping[str, Counter],
        gauges: Mapping[str, Gauge],
        histograms: Mapping[str, Histogram],
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._histograms = histograms
        self._known: set[str] = set()
        self._faults: dict[str, frozenset[str]] = {}
        for reason in REFUSALS:
            self._counters["streams_refused_total"].labels(reason)

    def watch(self, streams: Callable[[], float], waiting_s: Callable[[], float], unsaved: Callable[[], float]) -> None:
        """Read these gauges from here whenever they are asked for."""
        self._gauges["live_streams"].set_function(streams)
        self._gauges["live_waiting_seconds"].set_function(waiting_s)
        self._gauges["unsaved_changes"].set_function(unsaved)

    def watch_load(self, share: Callable[[Resource], float], lateness_s: Callable[[], float]) -> None:
        """Read the load from here whenever it is asked for."""
        for resource in RESOURCES:
            self._gauges["live_load_ratio"].labels(resource).set_function(partial(share, resource))
        self._gauges["live_lateness_seconds"].set_function(lateness_s)

    def refused(self, reason: str) -> None:
        """Count a stream that there was no room for."""
        self._counters["streams_refused_total"].labels(reason).inc()

    def gave_up(self) -> None:
        """Count a stream that had to go."""
        self._counters["streams_given_up_total"].inc()

    def follow(self, machine_ids: Iterable[str]) -> None:
        """Show the machines that are there, and forget those that are gone."""
        wanted = set(machine_ids)
        for machine_id in self._known - wanted:
            self._forget(machine_id)
        for machine_id in wanted - self._known:
            self._begin(machine_id)
        self._known = wanted

    def heard(self, machine_id: str, *, at_s: float, level_dbfs: float, faults: Iterable[str]) -> None:
        """Show the last second of a machine."""
        if machine_id not in self._known:
            return
        self._gauges["audio_level_dbfs"].labels(machine_id).set(level_dbfs)
        self._gauges["audio_last_sample_timestamp_seconds"].labels(machine_id).set(at_s)
        before, now = self._faults[machine_id], frozenset(faults)
        for fault in before ^ now:
            self._gauges["source_fault"].labels(machine_id, fault).set(fault in now)
        for fault in now - before:
            self._counters["source_faults_total"].labels(machine_id, fault).inc()
        self._faults[machine_id] = now

    def events(self, machine_id: str, events: Iterable[AlarmEvent], state: MachineState) -> None:
        """Count events, and show the state after them."""
        if machine_id not in self._known:
            return
        for event in events:
            self._counters["alarm_transitions_total"].labels(machine_id, event.kind).inc()
        self._show_state(machine_id, state)

    def lost(self, machine_id: str, seconds: float, windows: int) -> None:
        """Count sound that never came."""
        if machine_id in self._known:
            self._counters["audio_gap_seconds_total"].labels(machine_id).inc(seconds)
            self._counters["windows_dropped_total"].labels(machine_id, "gap").inc(windows)

    def untold(self, machine_id: str, scores: int) -> None:
        """Count scores that a client was too slow for."""
        if machine_id in self._known:
            self._counters["windows_dropped_total"].labels(machine_id, "client_slow").inc(scores)

    def overflowed(self, machine_id: str, count: int) -> None:
        """Count samples that a sound card lost."""
        if machine_id in self._known:
            self._counters["audio_overflows_total"].labels(machine_id).inc(count)

    def latency(self, seconds: float) -> None:
        """Note how long a score took after its last sample."""
        self._histograms["end_to_end_latency_seconds"].observe(seconds)

    def _begin(self, machine_id: str) -> None:
        self._faults[machine_id] = frozenset()
        self._show_state(machine_id, "unknown")
        for kind in EVENT_KINDS:
            self._counters["alarm_transitions_total"].labels(machine_id, kind)
        for fault in SOURCE_FAULTS:
            self._gauges["source_fault"].labels(machine_id, fault).set(0)
            self._counters["source_faults_total"].labels(machine_id, fault)
        for reason in DROPS:
            self._counters["windows_dropped_total"].labels(machine_id, reason)
        for name in ("audio_gap_seconds_total", "audio_overflows_total"):
            self._counters[name].labels(machine_id)
        self._gauges["audio_level_dbfs"].labels(machine_id).set(float("nan"))
        self._gauges["audio_last_sample_timestamp_seconds"].labels(machine_id).set(0)

    def _forget(self, machine_id: str) -> None:
        del self._faults[machine_id]
        for state in MACHINE_STATES:
            self._gauges["alarm_state"].remove(machine_id, state)
        for kind in EVENT_KINDS:
            self._counters["alarm_transitions_total"].remove(machine_id, kind)
        for fault in SOURCE_FAULTS:
            self._gauges["source_fault"].remove(machine_id, fault)
            self._counters["source_faults_total"].remove(machine_id, fault)
        for reason in DROPS:
            self._counters["windows_dropped_total"].remove(machine_id, reason)
        for name in ("audio_gap_seconds_total", "audio_overflows_total"):
            self._counters[name].remove(machine_id)
        for name in ("audio_level_dbfs", "audio_last_sample_timestamp_seconds"):
            self._gauges[name].remove(machine_id)

    def _show_state(self, machine_id: str, state: MachineState) -> None:
        for known in MACHINE_STATES:
            self._gauges["alarm_state"].labels(machine_id, known).set(known == state)
