"""The metrics of candidates; they are there while a machine has one."""

from __future__ import annotations

from typing import Final, NamedTuple

from humwatch_service.metrics.families import Families
from humwatch_service.metrics.lines import Line, LineSet

BY: Final = ("both", "old", "new")
"""Which version raised an alarm."""


class _ShadowSeries(NamedTuple):
    series: LineSet
    running: Line
    alarms: dict[str, Line]


class ShadowMetrics:
    """The metrics of candidates. Called from any thread, but for ``begin`` and ``end``, which the event loop calls."""

    def __init__(self, families: Families) -> None:
        self._running = families.machines["shadow_active"]
        self._alarms = families.machines["shadow_alarms_total"]
        self._machines: dict[str, _ShadowSeries] = {}

    def begin(self, machine_id: str) -> None:
        """Show a machine's candidate, with its counts from 0."""
        self.end(machine_id)
        series = LineSet()
        self._machines[machine_id] = _ShadowSeries(
            series, series.add(self._running, machine_id), {by: series.add(self._alarms, machine_id, by) for by in BY}
        )

    def end(self, machine_id: str) -> None:
        """Show no candidate of a machine any more."""
        shown = self._machines.pop(machine_id, None)
        if shown is not None:
            shown.series.remove()

    def running(self, machine_id: str, running: bool) -> None:
        """Show whether a candidate runs."""
        shown = self._machines.get(machine_id)
        if shown is not None:
            shown.running.set(float(running))

    def settled(self, machine_id: str, by: str) -> None:
        """Count an alarm that is over."""
        shown = self._machines.get(machine_id)
        if shown is not None:
            shown.alarms[by].inc()
