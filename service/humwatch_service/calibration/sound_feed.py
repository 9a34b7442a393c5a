"""What a commissioning needs of the live machines: their sound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from humwatch.calibration.collector import NormalCollector


class SoundFeed(Protocol):
    """The source of the sound of machines."""

    def collect(self, machine_id: str, collector: NormalCollector | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more."""

    def expect(self, machine_ids: Iterable[str]) -> None:
        """Have machines come later that may have no model: whoever sends for one is not told that there is none."""

    def alarm_in_force(self, machine_id: str) -> bool:
        """Return True while an alarm of the machine is in force."""
