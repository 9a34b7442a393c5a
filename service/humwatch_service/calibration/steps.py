"""What is due for a commissioning: minutes are kept, versions are made, and used where they may be."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from humwatch.errors import HumwatchError
from humwatch_service.calibration.acceptance import Question, judge
from humwatch_service.calibration.commissioning import ITSELF, Commissioning
from humwatch_service.calibration.limits import LiveLimits, limits_due_s
from humwatch_service.calibration.record import StageCard
from humwatch_service.calibration.sound_feed import SoundFeed
from humwatch_service.calibration.stage_candidates import StageCandidates
from humwatch_service.calibration.stage_maker import MakeOrder, StageMaker
from humwatch_service.calibration.version_use import VersionUse


class CommissioningSteps:
    """Steps that a commissioning takes by itself. Belongs to the event loop.

    Args:
        live: source of the sound.
        maker: maker of versions.
        limits: limits of alarms.
        candidates: stages that score beside the version in use.
        use: versions in use.
    """

    def __init__(
        self,
        live: SoundFeed,
        maker: StageMaker,
        limits: LiveLimits,
        candidates: StageCandidates,
        use: VersionUse,
    ) -> None:
        self._live = live
        self._maker = maker
        self._limits = limits
        self._candidates = candidates
        self._use = use

    async def step(self, running: Commissioning) -> StageCard | None:
        """Do what is due; return the last version once it is in use: the commissioning is over. None before.

        Raises:
            HumwatchError, OSError: something cannot be done now; the next step tries it again.
        """
        if self._use.is_stage(running) and self._live.alarm_in_force(running.machine_id):
            running.alarm_s = running.collector.progress.heard_s
        await run_in_threadpool(running.save, running.collector.settled())
        await self._maker.adopt(running)
        if running.may_fit:
            try:
                await self._make_due(running)
            except (HumwatchError, OSError) as error:
                running.fit_failed(str(error))
                raise
        return await self._settle(running)

    async def _make_due(self, running: Commissioning) -> None:
        """Make the version that is due, if one is."""
        record, last = running.record, running.last_stage
        if last is not None and not last.provisional:
            return
        if not running.plan_over:
            before = 0 if last is None else last.collected
            if any(before < target <= len(running.times) for target in record.stage_minutes):
                await self._maker.make_provisional(running, whole_plan=False)
        elif last is not None and last.whole_plan and running.is_current(last):
            if running.now_s >= limits_due_s(record.plan):
                await self._maker.make_last(running, MakeOrder(why=record.why))
        elif not running.waits_for_finish:
            until_s = record.plan.until_s
            if self._limits.can_fit and until_s is not None and running.now_s < until_s:
                await self._maker.make_provisional(running, whole_plan=True)
            else:
                await self._maker.make_last(running, MakeOrder(why=record.why))

    async def _settle(self, running: Commissioning) -> StageCard | None:
        """Use the version that was made last, let it go on as a candidate, or let it wait."""
        stage = running.last_stage
        if stage is None:
            return None
        in_use = self._use.in_use(running.machine_id)
        if in_use is not None and in_use.manifest.version == stage.version:
            if stage.state != "active":
                reason = "the machine had no version before" if stage.stage == 1 else "it is in use"
                await self._use.note(running, stage, reason)
            return None if stage.provisional else stage
        if stage.state in ("active", "replaced"):
            await run_in_threadpool(running.change_stage, stage, "replaced", "somebody chose another version")
            return None
        verdict = running.verdict = judge(self._question(running, stage))
        if verdict.kind == "use":
            why = f"stage {stage.stage} of the commissioning: {verdict.reason}"
            await self._use.change(running, stage, who=ITSELF, why=why, reason=verdict.reason)
            return None if stage.provisional else running.last_stage
        if verdict.kind == "listen":
            reason = "it scores beside the version in use"
            await run_in_threadpool(running.change_stage, stage, "candidate", reason)
        else:
            await run_in_threadpool(running.change_stage, stage, "waiting", verdict.reason)
        await self._candidates.start(running, stage)
        return None

    def _question(self, running: Commissioning, stage: StageCard) -> Question:
        record, in_use = running.record, self._use.in_use(running.machine_id)
        version = None if in_use is None else in_use.manifest.version
        before = next((one for one in record.stages if one.version == version), None)
        return Question(
            accept=record.accept,
            now_s=running.now_s,
            until_s=record.plan.until_s,
            minutes=stage.minutes,
            provisional=stage.provisional,
            in_use_recordings=None if in_use is None or before else in_use.manifest.calibration.recordings,
            nothing_in_use=in_use is None,
            same_levels=before is not None and before.minute_numbers == stage.minute_numbers,
            watched=self._candidates.watched,
            report=self._candidates.report(running, stage),
        )
