"""Commissionings that go on, at most one a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool

from humwatch.bundle.repository import ModelRepository
from humwatch_service.calibration.commissioning import ITSELF, Commissioning
from humwatch_service.calibration.record import StageCard
from humwatch_service.calibration.report import CalibrationReport, report_of
from humwatch_service.calibration.sound_feed import SoundFeed
from humwatch_service.calibration.stage_candidates import StageCandidates
from humwatch_service.errors import CalibrationNotFound, ModelsLoading
from humwatch_service.storage.commissionings import CommissioningFolder


class RunningCommissionings:
    """What goes on: it hears the sound, and is on the disk. Belongs to the event loop.

    Attributes:
        changing: lock of whoever changes any of it.
        restored: whether those from before a restart are among them.
    """

    def __init__(
        self, live: SoundFeed, folder: CommissioningFolder, repository: ModelRepository, candidates: StageCandidates
    ) -> None:
        """Begin without any.

        Args:
            live: source of the sound.
            folder: what is known of commissionings, and their minutes.
            repository: versions of models.
            candidates: stages that score beside the version in use.
        """
        self.changing = asyncio.Lock()
        self.restored = False
        self._live = live
        self._folder = folder
        self._repository = repository
        self._candidates = candidates
        self._by_machine: dict[str, Commissioning] = {}

    def __contains__(self, machine_id: str) -> bool:
        """Return True if the machine is being calibrated."""
        return machine_id in self._by_machine

    def has(self, running: Commissioning) -> bool:
        """Return True if this one goes on."""
        return self._by_machine.get(running.machine_id) is running

    def __iter__(self) -> Iterator[Commissioning]:
        """Iterate over those that go on now."""
        return iter(list(self._by_machine.values()))

    def of(self, machine_id: str) -> Commissioning:
        """Return the commissioning of a machine.

        Raises:
            CalibrationNotFound: the machine is not being calibrated.
            ModelsLoading: that is not known yet.
        """
        running = self._by_machine.get(machine_id)
        if running is None:
            if not self.restored:
                raise ModelsLoading("what was being commissioned before the service started is not read yet")
            raise CalibrationNotFound(f"{machine_id[:80]} is not being calibrated")
        return running

    async def begin(self, running: Commissioning) -> None:
        """Let a new one go on. Raises :class:`StateUnusable`: it cannot be kept; end it."""
        self._by_machine[running.machine_id] = running
        await run_in_threadpool(self._folder.end, running.machine_id, None)
        await run_in_threadpool(running.keep_record)
        self._live.collect(running.machine_id, running.collector)

    def take_up(self, running: Commissioning) -> None:
        """Let one go on that is on the disk."""
        self._live.collect(running.machine_id, running.collector)
        self._by_machine[running.machine_id] = running

    async def end(self, running: Commissioning, report: bytes | None = None) -> None:
        """End one, if it goes on: its minutes go. Raises :class:`StateUnusable`: they cannot."""
        if self._by_machine.pop(running.machine_id, None) is None:
            return
        try:
            self._live.collect(running.machine_id, None)
        finally:
            await run_in_threadpool(self._folder.end, running.machine_id, report)

    async def stop_candidate(self, running: Commissioning, *, who: str, why: str) -> None:
        """Let no version of one that is given up score beside the one in use."""
        await self._candidates.stop(running, who=who, why=why)

    async def complete(self, running: Commissioning, stage: StageCard) -> CalibrationReport:
        """End one with the version that is its last one; return the report, which is kept.

        Raises:
            RepositoryError, BundleError: the version cannot be read.
            StateUnusable: the report cannot be kept.
        """
        machine_id = running.machine_id
        manifest = await run_in_threadpool(self._repository.manifest, machine_id, stage.version)
        active = await run_in_threadpool(self._repository.active_version, machine_id)
        report = report_of(running, manifest, activated=active == stage.version, decision_reason=stage.decision_reason)
        await self._candidates.stop(running, who=ITSELF, why="the commissioning is over")
        await self.end(running, report.model_dump_json().encode())
        return report
