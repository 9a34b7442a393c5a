"""Who is told what live machines do, once it is kept: scoring never waits for one of them, and knows none by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from humwatch.alarm.events import AlarmEvent
from humwatch.live.monitor import LiveStep
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.stream import LiveStream


class Subscriber(Protocol):
    """Is told what live machines do; none of its methods raises or waits."""

    def heard(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Steps of a machine; in its worker."""

    def happened(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Events that are kept; from any thread."""

    def gone(self, machine_id: str) -> None:
        """A machine is not there any more."""

    def close(self) -> None:
        """The service stops."""
