"""Retention: how long history and the sound of alarms are kept, and how much of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import alarm_id_of
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger

LEAP_S: Final = 86_400.0
"""Step of the clock, or time since the last sound before a restart, after which the clock may be wrong by years."""
TRUST_S: Final = 86_400.0
"""Time for which nothing is deleted for its age after that: somebody may see it, or NTP sets it right."""

_log = event_logger("humwatch.live")


class Retention:
    """Limits on age and size of what is kept; the sound of an alarm in force is never deleted.

    Nothing is deleted for its age by a clock that leapt a moment ago. For one thread at a time.
    """

    def __init__(
        self,
        store: StateStore,
        evidence: EvidenceFolder,
        kept: KeptSounds,
        *,
        on_purged: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep a database and folders of sound small.

        Args:
            store: database.
            evidence: folder of evidence.
            kept: normal sounds to train with.
            on_purged: callback for the number of alarms whose sound was deleted.
            clock: wall clock, seconds since 1970.
            monotonic: clock that is never set, seconds.
        """
        self._store = store
        self._evidence = evidence
        self._kept = kept
        self._on_purged = on_purged
        self._clock = clock
        self._monotonic = monotonic
        self._trusted_s = -math.inf
        self._leapt_s = 0.0

    def on_restored(self, heard_s: float | None) -> None:
        """Compare the clock with the last sound of any machine before a restart, seconds since 1970; None: none."""
        if heard_s is not None:
            self.on_clock_set(self._clock() - heard_s)

    def on_clock_set(self, seconds: float) -> None:
        """Know that the clock was set by so many seconds, or seems to have been."""
        if seconds > LEAP_S:
            self._leapt_s += seconds
            self._trusted_s = self._monotonic() + TRUST_S
            _log.warning("nothing is deleted for its age today: the clock leapt", days=round(seconds / 86_400.0, 1))
        elif self._monotonic() < self._trusted_s and self._leapt_s + seconds < LEAP_S:
            self._leapt_s, self._trusted_s = 0.0, -math.inf  # it is as it was before

    def enforce(self, machines: Iterable[LiveMachine]) -> None:
        """Delete what is due (blocking)."""
        now_s = self._clock() if self._monotonic() >= self._trusted_s else None
        try:
            if now_s is not None:
                self._leapt_s = 0.0
                self._store.prune(now_s)
            self._kept.enforce(now_s)
            in_force = {
                alarm_id_of(machine.machine_id, machine.alarm.snapshot.active.number)
                for machine in machines
                if machine.alarm.snapshot.active is not None
            }
            purged = self._evidence.enforce(now_s, in_force)
            self._on_purged(len(purged))
            for alarm_id in purged:
                self._store.evidence(alarm_id, "purged")
        except StateUnusable as error:
            _log.error("retention could not be kept", code=error.code, reason=str(error))
