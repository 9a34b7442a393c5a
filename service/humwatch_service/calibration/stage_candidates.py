"""Stages of a commissioning that score beside the version in use."""

from __future__ import annotations

from contextlib import suppress

from humwatch_service.calibration.candidates import CandidateReport, CandidateRunner
from humwatch_service.calibration.commissioning import ITSELF, Commissioning
from humwatch_service.calibration.record import StageCard
from humwatch_service.errors import ShadowNotFound


class StageCandidates:
    """Candidates among the stages of commissionings. Belongs to the event loop.

    Args:
        runner: those who watch a version beside the one in use; None: nobody does.
    """

    def __init__(self, runner: CandidateRunner | None) -> None:
        self._runner = runner

    @property
    def watched(self) -> bool:
        """Whether candidates are watched at all."""
        return self._runner is not None

    def report(self, running: Commissioning, stage: StageCard) -> CandidateReport | None:
        """Return what a stage did as the machine's candidate; None where it is not."""
        report = None if self._runner is None else self._runner.report(running.machine_id)
        return report if report is not None and report.version == stage.version else None

    async def start(self, running: Commissioning, stage: StageCard) -> None:
        """Let a stage score beside the version in use, in place of an earlier one, if it does not."""
        report = None if self._runner is None else self._runner.report(running.machine_id)
        if self._runner is None or (report is not None and report.version == stage.version):
            return
        why = f"stage {stage.stage} of the commissioning"
        if report is not None and report.version in {one.version for one in running.record.stages}:
            with suppress(ShadowNotFound):
                await self._runner.stop(running.machine_id, who=ITSELF, why=why)
        await self._runner.start(running.machine_id, stage.version, who=ITSELF, why=why)

    async def stop(self, running: Commissioning, *, who: str, why: str) -> None:
        """Let the last stage score no more beside the version in use, if it does."""
        stage = running.last_stage
        if self._runner is not None and stage is not None and self.report(running, stage) is not None:
            with suppress(ShadowNotFound):  # somebody else has ended it meanwhile
                await self._runner.stop(running.machine_id, who=who, why=why)
