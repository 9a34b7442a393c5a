"""The metrics of watched folders; there from the start for each machine that one is watched for."""

from __future__ import annotations

from collections.abc import Mapping

from humwatch_service.metrics.families import Families
from humwatch_service.metrics.lines import LineFamily, LineSet
from humwatch_service.storage.folder_records import FILE_OUTCOMES, FileOutcome


class FolderMetrics:
    """The metrics of watched folders. Called from any thread."""

    def __init__(self, families: Families) -> None:
        self._families = families.machines
        self._machines: dict[str, FolderSeries] = {}

    def of(self, machine_id: str) -> FolderSeries:
        """Return the series of the folders that are watched for a machine."""
        if machine_id not in self._machines:
            self._machines[machine_id] = FolderSeries(self._families, machine_id)
        return self._machines[machine_id]


class FolderSeries:
    """The series of the folders of one machine."""

    def __init__(self, families: Mapping[str, LineFamily], machine_id: str) -> None:
        series = LineSet()
        self._files = {o: series.add(families["folder_recordings_total"], machine_id, o) for o in FILE_OUTCOMES}
        self._late = series.add(families["folder_late_recordings_total"], machine_id)
        self._waiting = series.add(families["folder_recordings_pending"], machine_id)

    def count(self, outcome: FileOutcome, recordings: int = 1) -> None:
        """Count recordings that are done with."""
        self._files[outcome].inc(recordings)

    def late(self) -> None:
        """Count a recording that came after a newer one was heard."""
        self._late.inc()

    def show_waiting(self, recordings: int) -> None:
        """Show how many recordings wait."""
        self._waiting.set(recordings)
