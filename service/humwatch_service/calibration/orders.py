"""Orders about calibrations from live sound, and their answers: start, finish, accept, cancel, judge a minute."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from starlette.concurrency import run_in_threadpool

from humwatch.calibration.plan import PlanKind
from humwatch.errors import OperationRefused
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.progress import CalibrationProgress, progress_of
from humwatch_service.calibration.record import Acceptance
from humwatch_service.calibration.report import CalibrationReport
from humwatch_service.calibration.running import RunningCommissionings
from humwatch_service.calibration.stage_maker import MakeOrder, StageMaker
from humwatch_service.calibration.starting import CommissioningStarter
from humwatch_service.calibration.upkeep import CommissioningUpkeep
from humwatch_service.calibration.version_use import VersionUse
from humwatch_service.errors import CalibrationNotFound, CalibrationRunning, MinuteNotFound
from humwatch_service.models.versions import AuditWriter
from humwatch_service.storage.commissionings import CommissioningFolder

DEFAULT_MINUTES: Final = 100
"""Enough to promise the default alarm rate of 1 %: 99 recordings are needed."""


class CalibrationOrders:
    """Orders about the commissionings that go on. Its methods belong to the event loop.

    Args:
        running: those that go on.
        upkeep: what they do by themselves.
        starter: maker of commissionings.
        maker: maker of versions.
        use: versions in use.
        folder: what is known of commissionings, and their minutes.
        note: writer of the audit trail.
        clock: source of the time, seconds since 1970.
    """

    def __init__(
        self,
        running: RunningCommissionings,
        upkeep: CommissioningUpkeep,
        starter: CommissioningStarter,
        maker: StageMaker,
        use: VersionUse,
        folder: CommissioningFolder,
        *,
        note: AuditWriter,
        clock: Callable[[], float],
    ) -> None:
        self._running = running
        self._upkeep = upkeep
        self._starter = starter
        self._maker = maker
        self._use = use
        self._folder = folder
        self._note = note
        self._clock = clock
        self._finishing: set[str] = set()

    async def start(
        self,
        machine_id: str,
        *,
        from_machine: str | None = None,
        plan: PlanKind = "in_a_row",
        minutes: int = DEFAULT_MINUTES,
        normal_s: float | None = None,
        start_s: float | None = None,
        accept: Acceptance | None = None,
        spec: CalibrationSpec | None = None,
        score: ScoreKind | None = None,
        who: str,
        why: str = "",
    ) -> CalibrationProgress:
        """Collect normal sound of a machine from now on.

        Args:
            machine_id: id of the machine; it may have no model yet.
            from_machine: id of the machine with the network to use; None for the machine itself.
            plan: how minutes are spread.
            minutes: number of minutes in a row; a day or a week has a number of its own.
            normal_s: length of the period that is declared normal, seconds; None for that of the plan.
            start_s: start of that period, for recordings that are sent with their times, seconds since 1970; None: now.
            accept: who accepts versions; None for the usual one of the plan.
            spec: rates and method of the thresholds.
            score: kind of score of the new version; None for the default of new bundles.
            who: person who starts it.
            why: reason for it.

        Raises:
            CalibrationRunning: the machine is being calibrated.
            CalibrationError: too few or too many minutes, or too short a period for them.
            OperationRefused: too much evidence would be held.
            MachineNotFound, MachineUnavailable, ModelsLoading: there is no such model.
            StateUnusable: it cannot be kept or audited.
        """
        model = self._starter.model(machine_id, from_machine)
        await self._upkeep.restore()
        async with self._running.changing:
            if machine_id in self._running:
                raise CalibrationRunning(f"{machine_id} is being calibrated; finish or cancel that first")
            running = self._starter.planned(
                machine_id,
                model,
                self._starter.plan(plan, minutes, normal_s, start_s),
                beside=self._running,
                accept=accept,
                spec=spec or CalibrationSpec(),
                score=score,
                who=who,
                why=why,
            )
            try:
                await self._running.begin(running)
                await self._audit(running, "calibration_started", who, why)
            except BaseException:
                await self._running.end(running)
                raise
        return self.progress(machine_id)

    def progress(self, machine_id: str) -> CalibrationProgress:
        """Return the progress of a machine's calibration. Raises :class:`CalibrationNotFound`."""
        return progress_of(self._running.of(machine_id), finishing=machine_id in self._finishing)

    async def report(self, machine_id: str) -> CalibrationReport:
        """Return the report of the machine's last calibration.

        Raises:
            CalibrationNotFound: there is none.
            StateUnusable: it cannot be read.
        """
        content = await run_in_threadpool(self._folder.report, machine_id)
        if content is None:
            raise CalibrationNotFound(f"{machine_id[:80]} was not calibrated from its live sound")
        return CalibrationReport.model_validate_json(content)

    async def finish(self, machine_id: str, *, who: str, why: str = "", activate: bool = True) -> CalibrationReport:
        """Make the last version of the machine's model from the whole minutes so far, and use it.

        When it fails, the calibration goes on as if nothing had been asked.

        Raises:
            CalibrationNotFound: there is none.
            CalibrationRunning: it is being finished already.
            CalibrationError: less than three minutes, or sound that no threshold can be made of.
            RepositoryError, BundleError: the version cannot be written, or fails a check.
            StateUnusable: it cannot be audited.
        """
        self._refuse_if_finishing(machine_id)
        self._finishing.add(machine_id)
        try:
            async with self._running.changing:
                running = self._running.of(machine_id)
                await run_in_threadpool(running.save, running.collector.whole())
                await self._maker.adopt(running)
                stage = running.last_stage
                if stage is None or stage.provisional or not running.is_current(stage):
                    stage = await self._maker.make_last(running, MakeOrder(activate=activate, who=who, why=why))
                elif activate:
                    await self._use.change(running, stage, who=who, why=why, reason=f"{who} accepted it")
                report = await self._running.complete(running, stage)
        finally:
            self._finishing.discard(machine_id)
        return report

    async def accept(self, machine_id: str, *, who: str, why: str = "") -> CalibrationProgress | CalibrationReport:
        """Use the version that waits, or that scores beside the one in use; the report, where it is the last one.

        Raises:
            CalibrationNotFound: the machine is not being calibrated.
            CalibrationRunning: it is being finished.
            OperationRefused: there is no such version.
            RepositoryError, BundleError: the version fails a check; nothing has changed.
            StateUnusable: it cannot be audited.
        """
        self._refuse_if_finishing(machine_id)
        async with self._running.changing:
            running = self._running.of(machine_id)
            stage = running.last_stage
            if stage is None or stage.state not in ("candidate", "waiting"):
                raise OperationRefused(f"no version of {machine_id} waits to be accepted")
            await self._use.change(running, stage, who=who, why=why or "accepted", reason=f"{who} accepted it")
            stage = running.record.stages[-1]
            if not stage.provisional:
                return await self._running.complete(running, stage)
        return self.progress(machine_id)

    async def cancel(self, machine_id: str, *, who: str, why: str = "") -> CalibrationProgress:
        """Give up a calibration; return its progress. Versions that it made stay; none of them is a candidate any more.

        Raises:
            CalibrationNotFound: there is none.
            CalibrationRunning: it is being finished.
            StateUnusable: it cannot be audited.
        """
        self._refuse_if_finishing(machine_id)
        async with self._running.changing:
            running = self._running.of(machine_id)
            await self._running.stop_candidate(running, who=who, why=why or "the commissioning was given up")
            await self._audit(running, "calibration_cancelled", who, why)
            progress = self.progress(machine_id)
            await self._running.end(running)
        return progress

    async def keep_minute(self, machine_id: str, number: int, *, who: str, why: str = "") -> CalibrationProgress:
        """Let an odd minute count as normal from now on.

        Raises:
            CalibrationNotFound, MinuteNotFound: there is no such odd minute.
            StateUnusable: it cannot be kept or audited.
        """
        self._running.of(machine_id)
        async with self._running.changing:
            running = self._running.of(machine_id)
            if number not in {card.number for card in running.record.odd}:
                raise MinuteNotFound(f"minute {number} of {machine_id} is not held back")
            await self._audit(running, "minute_kept", who, why, minute=number)
            await run_in_threadpool(running.keep_odd, number)
        return self.progress(machine_id)

    async def drop_minute(self, machine_id: str, number: int, *, who: str, why: str = "") -> CalibrationProgress:
        """Throw a minute out; the plan makes it up. Raises as :meth:`keep_minute`, for any minute that there is."""
        self._running.of(machine_id)
        async with self._running.changing:
            running = self._running.of(machine_id)
            if number not in running.times:
                raise MinuteNotFound(f"the commissioning of {machine_id} has no minute {number}")
            await self._audit(running, "minute_dropped", who, why, minute=number)
            reason = f"{who} threw it out" + (f": {why}" if why else "")
            await run_in_threadpool(running.drop, number, reason)
        return self.progress(machine_id)

    def minute_finder(self, machine_id: str, number: int) -> Callable[[], Path]:
        """Return what finds a minute's sound, FLAC (blocking); it raises :class:`MinuteNotFound`.

        Raises :class:`CalibrationNotFound`.
        """
        self._running.of(machine_id)
        return partial(self._folder.sound_path, machine_id, number)

    def _refuse_if_finishing(self, machine_id: str) -> None:
        """Refuse an order about a calibration that is none, or is being finished."""
        self._running.of(machine_id)
        if machine_id in self._finishing:
            raise CalibrationRunning(f"the calibration of {machine_id} is being finished")

    async def _audit(self, running: Commissioning, kind: str, who: str, why: str, **more: JsonValue) -> None:
        at_s, details = self._clock(), {**running.details, **more}
        await run_in_threadpool(
            lambda: self._note(running.machine_id, kind, at_s=at_s, who=who, why=why, details=details)
        )
