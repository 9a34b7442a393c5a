"""Host of a watched folder: the live part of the service, as far as a folder needs it."""

from __future__ import annotations

from typing import Protocol

from humwatch_service.live.session import StreamSession
from humwatch_service.storage.records import StreamPosition


class FolderHost(Protocol):
    """Live part of the service, as far as a folder needs it."""

    def is_open(self) -> bool:
        """Return True once what outlived the last run is read: the database is this service's."""

    def session(self, machine_id: str) -> StreamSession:
        """Return the session that feeds the stream of a machine; raise where there is none."""

    def position(self, machine_id: str) -> StreamPosition | None:
        """Return how far a machine's stream was scored; None where no model scores it."""

    def checkpoint(self, machine_id: str) -> None:
        """Write history and position of a machine (blocking)."""

    def written(self, machine_id: str) -> StreamPosition | None:
        """Return how far a machine's stream was scored, as the disk has it (blocking)."""
