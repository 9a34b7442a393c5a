"""View of one machine: its last minute of sound, then every step as it comes."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch.alarm.sequential import ChartFinding
from humwatch.live.step import LiveStep
from humwatch.scoring.explain import explain_bands
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.status import LiveStatus, status_of
from humwatch_service.streams.stream import LiveStream
from humwatch_service.viewers.events import RETRY_MS, MachineHello, Missed, SoundStep, Tick, event_bytes
from humwatch_service.viewers.sound_columns import DEPARTURE_DB, HIGHEST_DB, ColumnMaker, SoundColumns
from humwatch_service.viewers.viewer import Viewer

KEPT_S: Final = 60.0
MAX_KEPT: Final = 600
"""Most steps that are kept, however short they are."""
TICK_S: Final = 1.0

_EVENT_ID = re.compile(r"([0-9a-f]{8})\.([0-9]{1,15})")


class _SoundEvent:
    """Step that is encoded once, for the first viewer who wants it."""

    __slots__ = ("_encoded", "_event_id", "columns", "number")

    def __init__(self, number: int, event_id: str, columns: SoundColumns) -> None:
        self.number = number
        self.columns = columns
        self._event_id = event_id
        self._encoded: bytes | None = None

    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = event_bytes("sound", _sound(self.columns), event_id=self._event_id)
        return self._encoded


class _StatusEvent:
    """Status that differs from the one before."""

    def __init__(self, status: LiveStatus) -> None:
        self._status = status

    def encoded(self) -> bytes:
        return event_bytes("status", self._status)


class MachineView:
    """Last minute of one machine's sound, and its viewers. Thread-safe, but for ``events`` (event loop).

    ``on_steps`` is for the worker that has the batch of the machine's stream.
    """

    def __init__(self, machine: LiveMachine) -> None:
        self.machine = machine
        self._token = secrets.token_hex(4)
        self._number = 0
        self._lock = threading.Lock()
        self._kept: deque[_SoundEvent] = deque(maxlen=MAX_KEPT)
        self._maker: ColumnMaker | None = None
        self._viewers: tuple[Viewer, ...] = ()
        self._digest: object = None

    @property
    def is_watched(self) -> bool:
        """True if there are viewers."""
        return bool(self._viewers)

    def on_steps(self, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Keep the columns of steps, and publish them."""
        for step in steps:
            if self._maker is None or self._maker.model is not step.model:
                self._maker = ColumnMaker(step.model)
            columns = self._maker.make(
                step,
                end_s=stream.time_of(step.end_sample),
                state=self.machine.state,
                nearest=self.machine.alarm.nearest,
            )
            if columns is not None:
                self._publish(columns)

    def join(self, viewer: Viewer, last_event_id: str | None) -> list[_SoundEvent]:
        """Add a viewer; return what is kept, behind an event of this view if the viewer has all up to there."""
        found = _EVENT_ID.fullmatch(last_event_id or "")
        seen = int(found[2]) if found and found[1] == self._token else 0
        with self._lock:
            self._viewers = (*self._viewers, viewer)
            self._digest = None
            return [event for event in self._kept if event.number > seen]

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._lock:
            self._viewers = tuple(other for other in self._viewers if other is not viewer)

    def refresh(self) -> None:
        """Publish a status of which more than numbers is new (blocking)."""
        status = status_of(self.machine)
        digest = _digest(status)
        with self._lock:
            if digest != self._digest:
                self._digest = digest
                for viewer in self._viewers:
                    viewer.publish(_StatusEvent(status))

    def close(self) -> None:
        """End the event streams of all viewers."""
        for viewer in self._viewers:
            viewer.close()

    async def events(self, viewer: Viewer, kept: list[_SoundEvent]) -> AsyncIterator[bytes]:
        """Yield all that a viewer is sent."""
        shown = kept[0].columns.columns_of if kept else None
        yield await run_in_threadpool(self._hello, shown)
        for kept_event in kept:
            if kept_event.columns.columns_of is not shown:
                shown = kept_event.columns.columns_of
                yield await run_in_threadpool(self._hello, shown)
            yield kept_event.encoded()
        while (found := await viewer.next(TICK_S)) is not None:
            missed, waiting = found
            if missed:
                yield event_bytes("missed", Missed(events=missed)) + await run_in_threadpool(self._hello, shown)
            for event in waiting:
                if isinstance(event, _SoundEvent) and event.columns.columns_of is not shown:
                    shown = event.columns.columns_of
                    yield await run_in_threadpool(self._hello, shown)
                yield event.encoded()
            if not waiting:
                yield event_bytes("tick", Tick(at_s=round(time.time(), 3)))

    def _hello(self, maker: ColumnMaker | None) -> bytes:
        """Return hello and status (blocking): columns of ``maker`` follow, or without one those of the model in use."""
        machine = self.machine
        status = status_of(machine)
        if maker is None and machine.model is not None:
            maker = ColumnMaker(machine.model)
        hello = MachineHello(
            machine_id=machine.machine_id,
            state=status.state,
            warn_level=machine.alarm.warn_level,
            rule=status.rule,
            decision=status.decision,
            model_version=None if maker is None else maker.model.bundle.manifest.version,
            bands_hz=[] if maker is None else maker.bands_hz,
            column_s=None if maker is None else maker.column_s,
            level_db=None if maker is None else (maker.low_db, HIGHEST_DB),
            departure_db=DEPARTURE_DB,
        )
        return event_bytes("hello", hello, retry_ms=RETRY_MS) + event_bytes("status", status)

    def _publish(self, columns: SoundColumns) -> None:
        with self._lock:
            self._number += 1
            event = _SoundEvent(self._number, f"{self._token}.{self._number}", columns)
            self._kept.append(event)
            while self._kept[0].columns.end_s < columns.end_s - KEPT_S:
                self._kept.popleft()
            for viewer in self._viewers:
                viewer.publish(event)


def _sound(columns: SoundColumns) -> SoundStep:
    bands = []
    found = columns.detection
    if columns.contributions is not None and columns.departures_db is not None:
        edges_hz = columns.columns_of.model.bundle.manifest.pipeline.band_edges_hz
        bands = explain_bands(columns.contributions.astype(float), columns.departures_db.astype(float), edges_hz)
    return SoundStep(
        start_s=round(columns.start_s, 3),
        end_s=round(columns.end_s, 3),
        columns=columns.count,
        level=base64.b64encode(columns.level).decode(),
        departure=base64.b64encode(columns.departure).decode(),
        score=None if columns.score is None else round(columns.score, 4),
        step_score=round(columns.step_score, 4),
        level_dbfs=round(columns.level_dbfs, 1),
        state=columns.state,
        nearest=_rounded(columns.nearest),
        detector=None if found is None else found.detector,
        irregular_times=[] if found is None else list(found.irregular_times),
        line=None if found is None else found.line,
        bands=bands,
    )


def _rounded(nearest: ChartFinding | None) -> ChartFinding | None:
    return None if nearest is None else nearest.model_copy(update={"average": round(nearest.average, 4)})


def _digest(status: LiveStatus) -> object:
    """Return what of a status is worth an event: not numbers that change every second."""
    stream = status.stream
    return (
        status.state,
        status.reasons,
        status.running,
        status.run_signal,
        [(fault.code, fault.hard) for fault in status.faults],
        status.alarm_id,
        status.acknowledged,
        status.shelf,
        status.out_of_service,
        status.rule,
        status.decision.model_copy(update={"nearest": None}),
        status.drift,
        status.commissioning,
        status.commissioned,
        status.shadowed,
        None if stream is None else (stream.stream_id, stream.connected),
    )
