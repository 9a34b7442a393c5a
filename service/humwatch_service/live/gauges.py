"""What the metrics show of machines that are listened to, and of the disk."""

from __future__ import annotations

import shutil
from typing import Final

from humwatch.alarm.events import AlarmEvent, MachineState
from humwatch.detectors.detector_set import DetectorName
from humwatch_service.config.settings import Settings
from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine, Reading
from humwatch_service.metrics.registry import Metrics
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.store import StateStore

JUDGED: Final[frozenset[MachineState]] = frozenset({"normal", "warning", "alarm"})
"""In the other states a score of a machine that is listened to says nothing of it."""


class Display:
    """Shows what is true now and nothing older; called from any thread."""

    def __init__(self, settings: Settings, metrics: Metrics, store: StateStore, evidence: EvidenceFolder) -> None:
        self._metrics = metrics
        self._store = store
        self._evidence = evidence
        self._folder = settings.state_dir
        self._sourced = {source.machine for source in settings.sources}
        metrics.state.limit(settings.evidence_max_bytes)
        metrics.state.follow_webhooks(webhook.name for webhook in settings.webhooks)

    def resumed(self, machine: LiveMachine, heard_s: float | None) -> None:
        """A machine is taken up; it was last heard at ``heard_s``, seconds since 1970."""
        self._metrics.live.resumed(machine.machine_id, machine.state, machine.alarm.snapshot, heard_s)
        self.expect(machine)

    def expect(self, machine: LiveMachine) -> None:
        """Show whether sound should come: not while there is no model that it would be for."""
        fed = machine.stream is not None or machine.restored is not None
        listened_to = fed or machine.machine_id in self._sourced
        self._metrics.live.expect(machine.machine_id, machine.model is not None and listened_to)

    def happened(self, machine: LiveMachine, events: list[AlarmEvent], detector: DetectorName | None) -> None:
        """Count events, which ``detector`` decided where a score did, and show what is known after them."""
        state = machine.state
        self._metrics.live.events(machine.machine_id, events, state, machine.alarm.snapshot, detector)
        if state not in JUDGED:
            self._metrics.unjudged(machine.machine_id)

    def second(self, machine: LiveMachine, reading: Reading) -> None:
        """Show a second that was heard."""
        state = machine.state
        self._metrics.live.heard(
            machine.machine_id,
            at_s=reading.at_s,
            level_dbfs=reading.level_dbfs,
            faults=[fault.code for fault in reading.faults],
            state=state,
        )
        if state in JUDGED and reading.score is not None and reading.raw_score is not None:
            self._metrics.judged(machine.machine_id, reading.score, reading.raw_score)
        else:
            self._metrics.unjudged(machine.machine_id)

    def not_heard(self, machine: LiveMachine) -> None:
        """No sound comes; what a recording was scored since stays."""
        self._metrics.live.not_heard(machine.machine_id)

    def measure(self) -> None:
        """Look up what a scrape is not to wait for (blocking)."""
        try:
            free_bytes: int | None = shutil.disk_usage(self._folder).free
        except OSError:
            free_bytes = None
        self._metrics.state.measured(evidence_bytes=self._evidence.size_bytes(), free_bytes=free_bytes)
        try:
            self._metrics.state.owed(self._store.outbox.pending())
        except StateUnusable:
            self._metrics.state.owed(None)
