"""Broadcast to viewers: how many there may be, and what each of them is sent. Scoring never waits for one of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch.alarm.events import AlarmEvent
from humwatch.live.step import LiveStep
from humwatch_service.errors import ShuttingDown, ViewersFull
from humwatch_service.live.machine import LiveMachine
from humwatch_service.streams.stream import LiveStream
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.viewers.fleet_view import FleetView
from humwatch_service.viewers.machine_view import MachineView
from humwatch_service.viewers.viewer import Viewer

REFRESH_S: Final = 1.0
"""Time between updates of what viewers see."""

_log = event_logger("humwatch.page")


@dataclass(frozen=True)
class EventStream:
    """Events for one viewer, without an end, and the viewer, which has to leave at the end."""

    viewer: Viewer
    events: AsyncIterator[bytes]


class Broadcast:
    """Views of live machines and their viewers. Belongs to the event loop, but for ``on_steps`` and ``on_events``."""

    def __init__(
        self,
        machines: Callable[[], Mapping[str, LiveMachine]],
        *,
        max_viewers: int,
        sourced: Iterable[str],
        on_drop: Callable[[int], None] = lambda events: None,
    ) -> None:
        """Begin without viewers.

        Args:
            machines: lookup of the live machines by their ids.
            max_viewers: most viewers at a time.
            sourced: ids of machines for which a source is configured.
            on_drop: callback for the number of events that a viewer was too slow for.
        """
        self._on_drop = on_drop
        self._max_viewers = max_viewers
        self._machines = machines
        self._fleet = FleetView(machines, sourced)
        self._lock = threading.Lock()
        self._views: dict[str, MachineView] = {}
        self._viewers: set[Viewer] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return len(self._viewers)

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Show steps of a machine; in its worker."""
        try:
            if self._machines().get(machine.machine_id) is machine:
                self._view(machine).on_steps(stream, steps)
        except Exception:  # whatever is wrong with what is shown, scores go on
            _log.exception("sound not shown", machine_id=machine.machine_id)

    def on_events(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Show events that are kept; from any thread."""
        self._fleet.on_events(machine, events)

    def on_gone(self, machine_id: str) -> None:
        """End the view of a machine that is not there any more."""
        with self._lock:
            view = self._views.pop(machine_id, None)
        if view is not None:
            view.close()

    async def watch_fleet(self) -> EventStream:
        """Add a viewer of all machines; return its events.

        Raises:
            ViewersFull, ShuttingDown: not now.
        """
        viewer = self._admitted(self._fleet.leave)
        try:
            first = await run_in_threadpool(self._fleet.join, viewer)
        except BaseException:
            viewer.leave()
            raise
        return EventStream(viewer, self._fleet.events(viewer, first))

    def watch_machine(self, machine: LiveMachine, last_event_id: str | None) -> EventStream:
        """Add a viewer of one machine; return its events, from behind an event on where that is known.

        Raises:
            ViewersFull, ShuttingDown: not now.
        """
        view = self._view(machine)
        viewer = self._admitted(view.leave)
        return EventStream(viewer, view.events(viewer, view.join(viewer, last_event_id)))

    def close(self) -> None:
        """End all event streams: the service stops."""
        self._closed = True
        for viewer in self._viewers:
            viewer.close()

    def _view(self, machine: LiveMachine) -> MachineView:
        """Return the view of a machine that is there: one that came back is another."""
        with self._lock:
            view = self._views.get(machine.machine_id)
            if view is None or view.machine is not machine:
                view = self._views[machine.machine_id] = MachineView(machine)
            return view

    def _admitted(self, leave: Callable[[Viewer], None]) -> Viewer:
        if self._closed:
            raise ShuttingDown("the service is stopping; come back in a moment")
        if len(self._viewers) >= self._max_viewers:
            raise ViewersFull(
                f"{len(self._viewers)} connections look on, as many as may; see the setting `max_viewers`"
            )

        def left(viewer: Viewer) -> None:
            leave(viewer)
            self._viewers.discard(viewer)

        viewer = Viewer(on_drop=self._on_drop, on_leave=left)
        self._viewers.add(viewer)
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._keep_refreshing())
        return viewer

    async def _keep_refreshing(self) -> None:
        """Refresh all views once a second as long as there are viewers."""
        while self._viewers and not self._closed:
            await asyncio.sleep(REFRESH_S)
            try:
                await run_in_threadpool(self._refresh)
            except Exception:
                _log.exception("nothing new could be shown")

    def _refresh(self) -> None:
        if self._fleet.is_watched:
            self._fleet.refresh()
        for view in list(self._views.values()):
            if view.is_watched:
                view.refresh()
