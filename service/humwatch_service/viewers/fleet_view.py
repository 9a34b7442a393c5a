"""View of all machines: once whole, then what is new, once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final

from pydantic import BaseModel

from humwatch.alarm.events import AlarmEvent
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.status import Fault, commissioning_of
from humwatch_service.storage.records import alarm_id_of
from humwatch_service.viewers.events import (
    RETRY_MS,
    AlarmAnnouncement,
    FleetChanges,
    FleetNow,
    Missed,
    Tile,
    event_bytes,
)
from humwatch_service.viewers.viewer import Viewer

LOCK_TIMEOUT_S: Final = 0.05
"""Longest wait for a machine whose alarm is being written: it is shown as it was."""
BEAT_S: Final = 5.0
"""Longest wait for events before a viewer's queue is looked at again."""


class _FleetEvent:
    """Event that is encoded once, for the first viewer who wants it."""

    def __init__(self, name: str, data: BaseModel) -> None:
        self._name = name
        self._data = data
        self._encoded: bytes | None = None

    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = event_bytes(self._name, self._data)
        return self._encoded


class FleetView:
    """Machines as they were at the last refresh. Thread-safe, but for ``events`` (event loop)."""

    def __init__(self, machines: Callable[[], Mapping[str, LiveMachine]], sourced: Iterable[str]) -> None:
        """Begin without viewers.

        Args:
            machines: lookup of the live machines by their ids.
            sourced: ids of machines for which a source is configured.
        """
        self._machines = machines
        self._sourced = frozenset(sourced)
        self._refreshing = threading.Lock()
        self._publishing = threading.Lock()  # never held while something is waited for: a worker may want it
        self._tiles: dict[str, Tile] = {}
        self._since_s: dict[str, float] = {}
        self._viewers: tuple[Viewer, ...] = ()

    @property
    def is_watched(self) -> bool:
        """True if there are viewers."""
        return bool(self._viewers)

    def on_events(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Publish events that are kept."""
        for event in events:
            if event.from_state != event.to_state:
                self._since_s[machine.machine_id] = event.at_s
            if event.kind == "state_changed" or not self._viewers:
                continue
            announcement = AlarmAnnouncement(
                kind=event.kind,
                machine_id=machine.machine_id,
                alarm_id=None if event.alarm is None else alarm_id_of(machine.machine_id, event.alarm),
                at_s=event.at_s,
                announced=event.announced,
            )
            with self._publishing:
                self._publish(_FleetEvent("alarm", announcement))

    def join(self, viewer: Viewer) -> FleetNow:
        """Refresh; add a viewer, and return all machines, which what it is sent from then on is new to (blocking)."""
        with self._refreshing:
            self._refresh()
            with self._publishing:
                self._viewers = (*self._viewers, viewer)
                return self._now()

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._publishing:
            self._viewers = tuple(other for other in self._viewers if other is not viewer)

    def refresh(self) -> None:
        """Publish what is new since the last time (blocking)."""
        with self._refreshing:
            self._refresh()

    async def events(self, viewer: Viewer, first: FleetNow) -> AsyncIterator[bytes]:
        """Yield all that a viewer is sent."""
        yield event_bytes("fleet", first, retry_ms=RETRY_MS)
        while (found := await viewer.next(BEAT_S)) is not None:
            missed, waiting = found
            if missed:
                yield event_bytes("missed", Missed(events=missed))
            for event in waiting:
                yield event.encoded()

    def _refresh(self) -> None:
        machines = dict(self._machines())
        tiles = {machine_id: self._tile(machines[machine_id]) for machine_id in sorted(machines)}
        new = [tile for machine_id, tile in tiles.items() if self._tiles.get(machine_id) != tile]
        gone = sorted(set(self._tiles) - set(tiles))
        for machine_id in gone:
            self._since_s.pop(machine_id, None)
        with self._publishing:
            self._tiles = tiles
            self._publish(_FleetEvent("changes", FleetChanges(at_s=_now_s(), machines=new, gone=gone)))

    def _publish(self, event: _FleetEvent) -> None:
        whole: _FleetEvent | None = None
        for viewer in self._viewers:
            if not viewer.publish(event):  # changes that were dropped are made good by the whole
                whole = whole or _FleetEvent("fleet", self._now())
                viewer.restart(whole)

    def _now(self) -> FleetNow:
        return FleetNow(at_s=_now_s(), machines=list(self._tiles.values()))

    def _tile(self, machine: LiveMachine) -> Tile:
        if not machine.lock.acquire(timeout=LOCK_TIMEOUT_S):
            return self._tiles.get(machine.machine_id) or self._tile_of(machine)
        try:
            return self._tile_of(machine)
        finally:
            machine.lock.release()

    def _tile_of(self, machine: LiveMachine) -> Tile:
        reading, kept, model = machine.reading, machine.alarm.snapshot, machine.model
        active, made = kept.active, commissioning_of(machine)
        fed = machine.stream is not None or machine.restored is not None
        return Tile(
            machine_id=machine.machine_id,
            machine_type=model.bundle.manifest.machine_type if model else None,
            model_version=model.bundle.manifest.version if model else None,
            state=machine.state,
            reasons=list(machine.alarm.reasons),
            since_s=self._since_s.get(machine.machine_id),
            score=_rounded(reading.score, 4) if reading else None,
            step_score=_rounded(reading.step_score, 4) if reading else None,
            warn_level=machine.alarm.warn_level,
            level_dbfs=_rounded(reading.level_dbfs, 1) if reading else None,
            heard_s=_rounded(reading.at_s, 3) if reading else None,
            running=reading.running if reading else machine.running,
            faults=[Fault(code=f.code, message=f.message, hard=f.hard) for f in reading.faults] if reading else [],
            alarm_id=alarm_id_of(machine.machine_id, active.number) if active else None,
            alarm_since_s=active.raised_s + machine.alarm_late_s if active else None,
            acknowledged=active is not None and active.acknowledged is not None,
            shelved_until_s=kept.shelf.until_s if kept.shelf else None,
            out_of_service=kept.out_of_service is not None,
            connected=machine.is_fed,
            listened=fed or machine.machine_id in self._sourced,
            commissioned=machine.collector is not None,
            provisional=made is not None and made.provisional,
            drifted=machine.drift is not None,
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _now_s() -> float:
    return round(time.time(), 3)
