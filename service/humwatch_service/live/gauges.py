"""Metrics of live machines, and of the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Final

from humwatch.alarm.events import AlarmEvent, MachineState
from humwatch.detectors.detector_set import DetectorName
from humwatch_service.config.settings import Settings
from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machine_reading import MachineReading
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import ModelSet
from humwatch_service.storage.state_folder import StateFolder

JUDGED: Final[frozenset[MachineState]] = frozenset({"normal", "warning", "alarm"})
"""States in which a score of a live machine says something of it."""


class MachineGauges:
    """Gauges that show what is true now and nothing older. Thread-safe, but for ``follow`` (event loop)."""

    def __init__(self, settings: Settings, metrics: Metrics, state: StateFolder) -> None:
        """Show machines in ``metrics``, and the disk that ``state`` lies on."""
        self._metrics = metrics
        self._state = state
        self._folder = settings.state_dir
        self._sourced = {source.machine for source in settings.sources}
        metrics.state.limit(settings.evidence_max_bytes)
        metrics.state.follow_webhooks(webhook.name for webhook in settings.webhooks)

    def follow_models(self, models: ModelSet) -> None:
        """Show what is said of models, and forget those that are gone."""
        self._metrics.follow_models(models)

    def follow(self, machine_ids: Iterable[str]) -> None:
        """Show the machines that are there, and forget those that are gone."""
        self._metrics.live.follow(machine_ids)

    def on_resume(self, machine: LiveMachine, heard_s: float | None) -> None:
        """Show a machine that is taken up.

        Args:
            machine: machine that is taken up.
            heard_s: end of its last sound, seconds since 1970; None where none ever came.
        """
        self._metrics.live.resumed(machine.machine_id, machine.state, machine.alarm.snapshot, heard_s)
        self._show_alarm_late(machine)
        self.expect(machine)

    def expect(self, machine: LiveMachine) -> None:
        """Show whether sound should come: not while there is no model that it would be for."""
        fed = machine.stream is not None or machine.restored is not None
        expected = fed or machine.machine_id in self._sourced
        self._metrics.live.expect(machine.machine_id, machine.model is not None and expected)

    def on_events(self, machine: LiveMachine, events: list[AlarmEvent], detector: DetectorName | None) -> None:
        """Count events, which ``detector`` decided where a score did, and show what is known after them."""
        state = machine.state
        self._metrics.live.events(machine.machine_id, events, state, machine.alarm.snapshot, detector)
        self._show_alarm_late(machine)
        if state not in JUDGED:
            self._metrics.unjudged(machine.machine_id)

    def on_second(self, machine: LiveMachine, reading: MachineReading) -> None:
        """Show a second that was scored."""
        state = machine.state
        self._metrics.live.show_second(
            machine.machine_id,
            heard_s=reading.at_s + reading.late_s,
            late_s=reading.late_s,
            level_dbfs=reading.level_dbfs,
            faults=[fault.code for fault in reading.faults],
            state=state,
        )
        if state in JUDGED and reading.score is not None and reading.raw_score is not None:
            self._metrics.judged(machine.machine_id, reading.score, reading.raw_score)
        else:
            self._metrics.unjudged(machine.machine_id)

    def _show_alarm_late(self, machine: LiveMachine) -> None:
        active = machine.alarm.snapshot.active is not None
        self._metrics.live.show_alarm_late(machine.machine_id, machine.alarm_late_s if active else 0.0)

    def on_silence(self, machine: LiveMachine) -> None:
        """Show that no sound comes; what a recording was scored since stays."""
        self._metrics.live.show_silence(machine.machine_id)

    def measure(self) -> None:
        """Look up what a scrape is not to wait for (blocking)."""
        try:
            free_bytes: int | None = shutil.disk_usage(self._folder).free
        except OSError:
            free_bytes = None
        self._metrics.state.measured(evidence_bytes=self._state.evidence.size_bytes(), free_bytes=free_bytes)
        try:
            self._metrics.state.owed(self._state.store.outbox.pending())
        except StateUnusable:
            self._metrics.state.owed(None)
