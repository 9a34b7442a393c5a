"""Retention: how long history and the sound of alarms are kept, and how much of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.kept_sounds import KeptSounds
from humwatch_service.storage.records import alarm_id_of
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.live")


class Retention:
    """Limits on age and size of what is kept; the sound of an alarm in force is never deleted."""

    def __init__(
        self, store: StateStore, evidence: EvidenceFolder, kept: KeptSounds, *, on_purged: Callable[[int], None]
    ) -> None:
        """Keep a database and folders of sound small.

        Args:
            store: database.
            evidence: folder of evidence.
            kept: normal sounds to train with.
            on_purged: callback for the number of alarms whose sound was deleted.
        """
        self._store = store
        self._evidence = evidence
        self._kept = kept
        self._on_purged = on_purged

    def enforce(self, machines: Iterable[LiveMachine]) -> None:
        """Delete what is due (blocking)."""
        try:
            self._store.prune(time.time())
            self._kept.enforce(time.time())
            in_force = {
                alarm_id_of(machine.machine_id, machine.alarm.snapshot.active.number)
                for machine in machines
                if machine.alarm.snapshot.active is not None
            }
            purged = self._evidence.enforce(time.time(), in_force)
            self._on_purged(len(purged))
            for alarm_id in purged:
                self._store.evidence(alarm_id, "purged")
        except StateUnusable as error:
            _log.error("retention could not be kept", code=error.code, reason=str(error))
