"""Version in use of a machine that is commissioned: which it is, and the change to a stage."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.record import StageCard
from humwatch_service.calibration.stage_candidates import StageCandidates
from humwatch_service.models.registry import LoadedModel, ModelRegistry
from humwatch_service.models.versions import ModelVersions


class VersionUse:
    """Versions in use. Belongs to the event loop.

    Args:
        registry: models in use.
        versions: versions of models.
        candidates: stages that score beside the version in use.
        follows_level: whether a machine counts as off by its level.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        versions: ModelVersions,
        candidates: StageCandidates,
        *,
        follows_level: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._candidates = candidates
        self._follows_level = follows_level

    def in_use(self, machine_id: str) -> LoadedModel | None:
        """Return the model in use; None without one."""
        return self._registry.current.models.get(machine_id)

    def is_stage(self, running: Commissioning) -> bool:
        """Return True if a stage of the commissioning is in use."""
        in_use = self.in_use(running.machine_id)
        return in_use is not None and in_use.manifest.version in {stage.version for stage in running.record.stages}

    def follow_level(self, running: Commissioning) -> None:
        """Let the collector take the machine for off by its level, as the version in use does."""
        in_use = self.in_use(running.machine_id)
        if in_use is not None and self._follows_level(running.machine_id):
            running.collector.follow_level(in_use.bundle.calibration.run_gate)

    async def change(self, running: Commissioning, stage: StageCard, *, who: str, why: str, reason: str) -> None:
        """Use a stage from now on, for a reason.

        Raises:
            RepositoryError, BundleError: the version fails a check; nothing has changed.
            StateUnusable: it cannot be audited.
        """
        await self._candidates.stop(running, who=who, why=why)
        await self._versions.activate(running.machine_id, stage.version, who=who, why=why)
        await self.note(running, stage, reason)

    async def note(self, running: Commissioning, stage: StageCard, reason: str) -> None:
        """Note that a stage is in use, for a reason."""
        await run_in_threadpool(running.use_stage, stage, reason)
        self.follow_level(running)
