"""Folder of what outlives a restart: the database of alarms, and the sound that belongs to machines and alarms."""

from __future__ import annotations

from pathlib import Path

from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.folder_lock import FolderLock
from humwatch_service.storage.normal_sounds import NormalSounds
from humwatch_service.storage.records import KeptMachine
from humwatch_service.storage.store import StateStore


class StateFolder:
    """Folder of one service, which holds it for itself alone once it is open. ``open`` and ``close`` block.

    Attributes:
        store: database.
        evidence: sound of alarms.
        normal_sounds: normal sound of machines.
        commissionings: commissionings that go on.
    """

    def __init__(self, path: Path, *, evidence_max_bytes: int, evidence_s: float) -> None:
        """Leave the folder as it is until it is opened.

        Args:
            path: place of the folder; it is made when it is first needed.
            evidence_max_bytes: most bytes of evidence.
            evidence_s: longest time for which evidence is kept, seconds.
        """
        self.store = StateStore(path)
        self.evidence = EvidenceFolder(path / "evidence", quota_bytes=evidence_max_bytes, retention_s=evidence_s)
        self.normal_sounds = NormalSounds(path / "normal")
        self.commissionings = CommissioningFolder(path / "commissioning")
        self._lock = FolderLock(path)

    def open(self) -> list[KeptMachine]:
        """Take the folder; return the machines as they were when the last service stopped.

        Raises:
            StateUnusable: it is in use, or cannot be read.
        """
        self._lock.acquire()
        self.store.reconcile_evidence(self.evidence.states())
        return self.store.machines()

    def close(self) -> None:
        """Close the database, and give the folder back."""
        self.store.close()
        self._lock.release()
