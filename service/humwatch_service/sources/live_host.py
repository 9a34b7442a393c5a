"""Live part of the service, as sources see it."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch_service.live.lifecycle import LiveParts
from humwatch_service.live.session import StreamSession
from humwatch_service.storage.records import StreamPosition
from humwatch_service.storage.store import StateStore


@dataclass(frozen=True)
class LiveHost:
    """Sessions of machines, and how far their streams were scored.

    Attributes:
        live: parts that follow live sound.
        store: database.
    """

    live: LiveParts
    store: StateStore

    def is_open(self) -> bool:
        """Return True once what outlived the last run is read: the database is this service's."""
        return not self.live.machines.unready()

    def session(self, machine_id: str) -> StreamSession:
        """Return the session that feeds the stream of a machine. Raises as :meth:`LiveMachines.get`."""
        return self.live.session(machine_id)

    def position(self, machine_id: str) -> StreamPosition | None:
        """Return how far a machine's stream was scored; None where no model scores it."""
        machine = self.live.machines.by_id.get(machine_id)
        return None if machine is None else machine.position

    def checkpoint(self, machine_id: str) -> None:
        """Write history and position of a machine (blocking)."""
        machine = self.live.machines.by_id.get(machine_id)
        if machine is not None:
            self.live.recorder.checkpoint(machine)

    def written(self, machine_id: str) -> StreamPosition | None:
        """Return how far a machine's stream was scored, as the disk has it (blocking)."""
        kept = self.store.kept(machine_id)
        return None if kept is None else kept.position
