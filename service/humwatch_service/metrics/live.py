"""The metrics of live streams and alarms; those of every machine are there from the start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Literal, get_args

from humwatch.alarm.events import EVENT_KINDS, MACHINE_STATES, AlarmEvent, AlarmSnapshot, MachineState
from humwatch.detectors.detector_set import DetectorName
from humwatch.drift.judge import DriftState
from humwatch.false_alarms.seen import AlarmCounts
from humwatch.source.faults import SOURCE_FAULTS
from humwatch_service.metrics.families import Families
from humwatch_service.metrics.lines import LineFamily, LineSet
from humwatch_service.protocol.detections import DETECTORS

DROPS: Final = ("gap", "client_slow")
"""``gap``: samples never came. ``client_slow``: a client did not read its scores."""

REDATINGS: Final = ("clock_set", "undated", "from_the_future", "start_time_ignored", "sent_again", "clock_stands")
"""Reasons why sound is dated otherwise than it was said, or than before."""

REFUSALS: Final = ("streams_full", "overloaded")

VERDICTS: Final = tuple(AlarmCounts.model_fields)
"""What was said of an alarm; ``unjudged``: nothing."""

Resource = Literal["cores", "interpreter"]
RESOURCES: Final[tuple[Resource, ...]] = get_args(Resource)
"""The kinds of processor time that live streams use."""


class LiveMetrics:
    """The metrics of live streams. Label values come from loaded models and from tables, never from a client.

    Called from any thread, but for ``follow``, which belongs to the event loop.
    """

    def __init__(self, families: Families) -> None:
        self._families = families.machines
        self._gauges = families.gauges
        self._counters = families.counters
        self._latency = families.histograms["end_to_end_latency_seconds"]
        self._machines: dict[str, _MachineSeries] = {}
        for reason in REFUSALS:
            self._counters["streams_refused_total"].labels(reason)
        for direction in ("forward", "back"):
            self._counters["clock_steps_total"].labels(direction)

    def watch(self, streams: Callable[[], float], waiting_s: Callable[[], float], unsaved: Callable[[], float]) -> None:
        """Read these gauges from functions at each scrape."""
        self._gauges["live_streams"].set_function(streams)
        self._gauges["live_waiting_seconds"].set_function(waiting_s)
        self._gauges["unsaved_changes"].set_function(unsaved)

    def watch_load(
        self,
        share: Callable[[Resource], float],
        lateness_s: Callable[[], float],
        throttled: Callable[[], float],
        *,
        budget_s: float,
    ) -> None:
        """Read the load from functions at each scrape; ``budget_s`` is the longest that scores may be late, seconds."""
        for resource in RESOURCES:
            self._gauges["live_load_ratio"].labels(resource).set_function(partial(share, resource))
        self._gauges["live_lateness_seconds"].set_function(lateness_s)
        self._gauges["cpu_throttled_ratio"].set_function(throttled)
        self._gauges["latency_budget_seconds"].set(budget_s)

    def watch_viewers(self, viewers: Callable[[], float]) -> None:
        """Read the number of viewers from a function at each scrape."""
        self._gauges["page_viewers"].set_function(viewers)

    def events_dropped(self, events: int) -> None:
        """Count events that a viewer did not get."""
        self._counters["page_events_dropped_total"].inc(events)

    def stream_refused(self, reason: str) -> None:
        """Count a stream that there was no room for."""
        self._counters["streams_refused_total"].labels(reason).inc()

    def stream_given_up(self) -> None:
        """Count a stream that had to go."""
        self._counters["streams_given_up_total"].inc()

    def follow(self, machine_ids: Iterable[str]) -> None:
        """Show the machines that are there, and forget those that are gone."""
        wanted = set(machine_ids)
        gone = [series for machine_id, series in self._machines.items() if machine_id not in wanted]
        new = {machine_id: _MachineSeries(self._families, machine_id) for machine_id in wanted - set(self._machines)}
        self._machines = {key: series for key, series in self._machines.items() if key in wanted} | new
        for series in gone:
            series.remove()

    def resumed(self, machine_id: str, state: MachineState, kept: AlarmSnapshot, heard_s: float | None) -> None:
        """Show the facts about a machine that outlive a restart; ``heard_s`` is None without sound so far."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.show(state, kept)
            series.last_sample.set(heard_s or 0.0)

    def expect(self, machine_id: str, expected: bool) -> None:
        """Show whether sound is expected."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.expected.set(expected)

    def show_second(
        self,
        machine_id: str,
        *,
        heard_s: float,
        late_s: float,
        level_dbfs: float,
        faults: Iterable[str],
        state: MachineState,
    ) -> None:
        """Show the last second of a machine, which was heard ``late_s`` seconds after it was recorded."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.level.set(level_dbfs)
            series.last_sample.set(heard_s)
            series.age.set(late_s)
            series.show_faults(frozenset(faults))
            series.show_state(state)

    def show_alarm_late(self, machine_id: str, late_s: float) -> None:
        """Show how much later than recorded the sound was heard that raised the alarm in force, seconds."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.alarm_late.set(late_s)

    def show_silence(self, machine_id: str) -> None:
        """Show that no sound comes: there is no level, and no fault of a source that is not there."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.level.set(math.nan)
            series.show_faults(frozenset())

    def events(
        self,
        machine_id: str,
        events: Iterable[AlarmEvent],
        state: MachineState,
        snapshot: AlarmSnapshot,
        detector: DetectorName | None,
    ) -> None:
        """Count events, and show the state after them; ``detector`` decided the score of those that have one."""
        series = self._machines.get(machine_id)
        if series is not None:
            for event in events:
                series.transitions[event.kind].inc()
                if event.kind == "raised" and detector is not None:
                    series.raised[detector].inc()
            series.show(state, snapshot)

    def gap(self, machine_id: str, seconds: float, windows: int) -> None:
        """Count sound that never came."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.gap_s.inc(seconds)
            series.drops["gap"].inc(windows)

    def scores_dropped(self, machine_id: str, scores: int) -> None:
        """Count scores that a client was too slow for."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.drops["client_slow"].inc(scores)

    def overflowed(self, machine_id: str, count: int) -> None:
        """Count samples that a sound card lost."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.overflows.inc(count)

    def clock_set(self, seconds: float) -> None:
        """Count a step of the wall clock."""
        self._counters["clock_steps_total"].labels("forward" if seconds > 0 else "back").inc()

    def redated(self, machine_id: str, reason: str) -> None:
        """Count that sound is dated otherwise than it was said, or than before."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.redated[reason].inc()

    def show_drift(self, machine_id: str, state: DriftState, since_s: float | None) -> None:
        """Show whether the normal of a machine has moved, and since when."""
        series = self._machines.get(machine_id)
        if series is not None:
            series.drifted.set(math.nan if state == "too_little" else state == "drifted")
            series.drift_since.set(since_s or 0.0)

    def show_false_alarms(
        self,
        machine_id: str,
        alarms: AlarmCounts,
        *,
        watched_s: float,
        promised_a_week: float | None,
        low_a_week: float | None,
    ) -> None:
        """Show the alarms of the version in use, and false alarms promised and seen."""
        series = self._machines.get(machine_id)
        if series is not None:
            for verdict, gauge in series.judged.items():
                gauge.set(getattr(alarms, verdict))
            series.watched.set(watched_s)
            series.promised.set(math.nan if promised_a_week is None else promised_a_week)
            series.seen_low.set(math.nan if low_a_week is None else low_a_week)

    def latency(self, seconds: float) -> None:
        """Observe the time from the last sample of a score to the score, seconds."""
        self._latency.observe(seconds)


class _MachineSeries:
    """The live series of one machine."""

    def __init__(self, families: Mapping[str, LineFamily], machine_id: str) -> None:
        self._series = series = LineSet()
        self.level = series.add(families["audio_level_dbfs"], machine_id)
        self.level.set(math.nan)
        self.last_sample = series.add(families["audio_last_sample_timestamp_seconds"], machine_id)
        self.age = series.add(families["sound_age_seconds"], machine_id)
        self.age.set(math.nan)
        self.alarm_late = series.add(families["alarm_sound_age_seconds"], machine_id)
        self.expected = series.add(families["audio_expected"], machine_id)
        self.gap_s = series.add(families["audio_gap_seconds_total"], machine_id)
        self.overflows = series.add(families["audio_overflows_total"], machine_id)
        self.redated = {r: series.add(families["sound_redated_total"], machine_id, r) for r in REDATINGS}
        self.drops = {r: series.add(families["windows_dropped_total"], machine_id, r) for r in DROPS}
        self.transitions = {k: series.add(families["alarm_transitions_total"], machine_id, k) for k in EVENT_KINDS}
        self.raised = {d: series.add(families["alarms_raised_total"], machine_id, d) for d in DETECTORS}
        self._fault = {f: series.add(families["source_fault"], machine_id, f) for f in SOURCE_FAULTS}
        self._begun = {f: series.add(families["source_faults_total"], machine_id, f) for f in SOURCE_FAULTS}
        self._states = {s: series.add(families["alarm_state"], machine_id, s) for s in MACHINE_STATES}
        self._shelved = series.add(families["alarm_shelved"], machine_id)
        self._active = series.add(families["alarm_active"], machine_id)
        self._acknowledged = series.add(families["alarm_acknowledged"], machine_id)
        self._last_number = series.add(families["alarm_last_number"], machine_id)
        self.drifted = series.add(families["machine_drifted"], machine_id)
        self.drifted.set(math.nan)
        self.drift_since = series.add(families["drift_since_timestamp_seconds"], machine_id)
        self.judged = {v: series.add(families["alarms_judged"], machine_id, v) for v in VERDICTS}
        self.watched = series.add(families["watched_seconds"], machine_id)
        self.promised = series.add(families["false_alarms_promised_per_week"], machine_id)
        self.promised.set(math.nan)
        self.seen_low = series.add(families["false_alarms_seen_low_per_week"], machine_id)
        self.seen_low.set(math.nan)
        self._faults: frozenset[str] = frozenset()
        self._state: MachineState | None = None
        self.show_state("unknown")

    def remove(self) -> None:
        """Show none of them any more."""
        self._series.remove()

    def show(self, state: MachineState, kept: AlarmSnapshot) -> None:
        """Show a state, and the part of an alarm that outlives a restart."""
        self.show_state(state)
        active = kept.active
        self._shelved.set(kept.shelf is not None)
        self._active.set(active is not None)
        self._acknowledged.set(active is not None and active.acknowledged is not None)
        self._last_number.set(kept.last_number)

    def show_state(self, state: MachineState) -> None:
        """Show a state."""
        if state != self._state:
            for known, gauge in self._states.items():
                gauge.set(known == state)
            self._state = state

    def show_faults(self, faults: frozenset[str]) -> None:
        """Show the faults of the source, and count those that began."""
        if faults == self._faults:
            return
        for fault, gauge in self._fault.items():
            if (fault in faults) != (fault in self._faults):
                gauge.set(fault in faults)
                self._begun[fault].inc(fault in faults)
        self._faults = faults
