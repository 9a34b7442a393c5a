"""Folder of what outlives a restart: the database of alarms, and the sound that belongs to machines and alarms."""

from __future__ import annotations

from pathlib import Path

from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.folder_lock import FolderLock
from humwatch_service.storage.records import KeptMachine
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.sounds.normal_sounds import NormalSounds
from humwatch_service.storage.sounds.shadow_sounds import ShadowSounds
from humwatch_service.storage.store import StateStore


class StateFolder:
    """Folder of one service, which holds it for itself alone once it is open. ``open`` and ``close`` block.

    Attributes:
        store: database.
        evidence: sound of alarms.
        normal_sounds: last normal sound of machines, to compare an alarm with.
        kept_sounds: normal sound of machines, to train with.
        shadow_sounds: sound of alarms that only candidates would have raised.
        commissionings: commissionings that go on.
    """

    def __init__(
        self,
        path: Path,
        *,
        evidence_max_bytes: int,
        evidence_s: float,
        normal_sounds: int,
        normal_s: float,
    ) -> None:
        """Leave the folder as it is until it is opened.

        Args:
            path: place of the folder; it is made when it is first needed.
            evidence_max_bytes: most bytes of evidence.
            evidence_s: longest time for which evidence is kept, seconds.
            normal_sounds: most normal sounds of a machine that are kept to train with.
            normal_s: longest time for which these are kept, seconds.
        """
        self.store = StateStore(path)
        self.evidence = EvidenceFolder(path / "evidence", quota_bytes=evidence_max_bytes, retention_s=evidence_s)
        self.normal_sounds = NormalSounds(path / "normal")
        self.commissionings = CommissioningFolder(path / "commissioning")
        self.kept_sounds = KeptSounds(path / "normal_kept", quota=normal_sounds, retention_s=normal_s)
        self.shadow_sounds = ShadowSounds(path / "shadow")
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
