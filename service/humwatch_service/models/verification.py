"""The check of bundles one by one, in the way in which the service checks them when it loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.config.settings import Settings
from humwatch_service.models.registry import load_model

Chosen = tuple[str, str | None]
"""Machine and version; None for the one in use."""
Track = Callable[[Sequence[Chosen]], Iterable[Chosen]]
"""A pass through the bundles, for a progress bar."""


def verify_bundles(
    folder: ModelRepository, settings: Settings, bundles: Sequence[Chosen], *, track: Track = iter
) -> list[dict[str, Any]]:
    """Check bundles one by one; a failure of one does not stop the others."""
    return [_verify(folder, settings, machine_id, version) for machine_id, version in track(bundles)]


def _verify(folder: ModelRepository, settings: Settings, machine_id: str, version: str | None) -> dict[str, Any]:
    check: dict[str, Any] = {"machine_id": machine_id, "version": version, "ok": True, "code": "", "reason": ""}
    try:
        manifest = load_model(
            folder,
            machine_id,
            version,
            providers=settings.provider_names,
            threads=settings.predictor_threads,
        ).manifest
    except HumwatchError as error:
        return check | {"ok": False, "code": error.code, "reason": str(error)}
    return check | {
        "version": manifest.version,
        "score": manifest.scoring.kind,
        "schema_version": manifest.schema_version,
    }
