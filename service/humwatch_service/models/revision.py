"""Revision of a version: the same network and statistics, and other alarm limits."""

from __future__ import annotations

from datetime import UTC, datetime

from humwatch.bundle.manifest import CALIBRATION, CommissioningCard, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.false_alarms.decision import Decision


def revised(
    repository: ModelRepository,
    machine_id: str,
    version: str,
    *,
    new_version: str,
    decision: Decision,
    commissioning: CommissioningCard | None,
) -> tuple[Manifest, bytes, bytes]:
    """Return manifest, graph and arrays of a version with other limits.

    Args:
        repository: folder of models.
        machine_id: id of the machine.
        version: version to revise.
        new_version: version of the result.
        decision: alarm limits of the result.
        commissioning: stage that makes it; None where none does.

    Raises:
        RepositoryError, BundleError: the version cannot be read.
        OSError: its arrays cannot be read.
    """
    bundle = repository.read(machine_id, version)
    arrays = (repository.folder(machine_id, version) / CALIBRATION).read_bytes()
    manifest = bundle.manifest.model_copy(
        update={
            "version": new_version,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "decision": decision,
            "commissioning": commissioning,
        }
    )
    return manifest, bundle.graph, arrays
