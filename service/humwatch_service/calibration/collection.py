"""Calibrations from live sound: normal minutes of a machine are collected by a plan and make versions of its model.

Each is one commissioning, in stages: from five minutes on a version watches the machine provisionally, later ones rest
on more, and the last one has limits that its own live scores gave. What is known of it is on the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pydantic import JsonValue, ValidationError
from starlette.concurrency import run_in_threadpool

from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.calibration.calibration_buffer import most_bytes_a_minute
from humwatch.calibration.collector import NormalCollector
from humwatch.calibration.plan import CollectionPlan, PlanKind
from humwatch.errors import (
    BundleError,
    CalibrationError,
    HumwatchError,
    MachineNotFound,
    OperationRefused,
    RepositoryError,
)
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.provisional import provisional_decision
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.acceptance import Question, judge
from humwatch_service.calibration.candidates import AlarmsWanted, CandidateReport, CandidateRunner, DecisionFit
from humwatch_service.calibration.cards import (
    CalibrationProgress,
    CalibrationReport,
    Waiting,
    details_of,
    progress_of,
    report_of,
)
from humwatch_service.calibration.commissioning import SETTLED_S, Commissioning
from humwatch_service.calibration.fitting import MADE_BY, Fitted, fit_version, limits_of, source_of, with_limits
from humwatch_service.calibration.record import Acceptance, CommissioningRecord, LostMinute, StageCard
from humwatch_service.errors import (
    CalibrationNotFound,
    CalibrationRunning,
    MinuteNotFound,
    ModelsLoading,
    ShadowNotFound,
    StateUnusable,
)
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.recalibration import RecalibrationRequest, pipeline_for
from humwatch_service.models.registry import LoadedModel, ModelRegistry, load_model
from humwatch_service.models.versions import AuditWriter, ModelVersions
from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.telemetry.logs import event_logger

DEFAULT_MINUTES: Final = 100
"""Enough to promise the default alarm rate of 1 %: 99 recordings are needed."""
MAX_FIT_BYTES: Final = 3 << 29
"""Evidence that one fit holds in memory; there is one fit at a time. 240 minutes of small hops take 1.3 GB."""
MAX_EVIDENCE_BYTES: Final = 16 << 30
"""Evidence of all commissionings on the disk, as planned."""
LOOK_EVERY_S: Final = 1.0
MARGIN: Final = 0.01
"""Share of the declared period before its end at which the last version is made: it is used within the period."""
LEAST_MARGIN_S: Final = 60.0
NO_LIMITS: Final = "limits are fitted to live scores of a version; it has none yet"
ITSELF: Final = "commissioning"
"""Who a version is used by, where it happens by itself."""

_log = event_logger("humwatch.calibration")


class SoundFeed(Protocol):
    """The source of the sound of machines."""

    def collect(self, machine_id: str, collector: NormalCollector | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more."""

    def expect(self, machine_ids: Iterable[str]) -> None:
        """Have machines come later that may have no model: whoever sends for one is not told that there is none."""

    def alarm_in_force(self, machine_id: str) -> bool:
        """Return True while an alarm of the machine is in force."""


class LiveCalibrations:
    """The commissionings that go on, at most one a machine. Its methods belong to the event loop.

    Args:
        registry: models in use.
        versions: versions of models, to which new ones are added.
        live: source of the sound.
        folder: what is known of commissionings, and their minutes.
        note: writer of the audit trail.
        candidates: those who watch a version beside the one in use; None: a version is used without.
        fit_decision: fit of limits to the scores of a version; None: there are none to fit.
        wanted_a_week: false alarms a week that the rule of a machine asks for.
        follows_level: whether a machine counts as off by its level.
        clock: source of the time, seconds since 1970.
        max_fit_bytes: most evidence of one fit, bytes.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        versions: ModelVersions,
        live: SoundFeed,
        folder: CommissioningFolder,
        *,
        note: AuditWriter,
        candidates: CandidateRunner | None = None,
        fit_decision: DecisionFit | None = None,
        wanted_a_week: AlarmsWanted = lambda machine_id: 1.0,
        follows_level: Callable[[str], bool] = lambda machine_id: True,
        clock: Callable[[], float] = time.time,
        max_fit_bytes: int = MAX_FIT_BYTES,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._live = live
        self._folder = folder
        self._note = note
        self._candidates = candidates
        self._fit_decision = fit_decision
        self._wanted_a_week = wanted_a_week
        self._follows_level = follows_level
        self._clock = clock
        self._max_fit_bytes = max_fit_bytes
        self._running: dict[str, Commissioning] = {}
        self._finishing: set[str] = set()
        self._changing = asyncio.Lock()
        self._restored = False

    async def run(self) -> None:
        """Take up what was going on before a restart, and do what is due, until cancelled."""
        while True:
            try:
                await self.restore()
                await self.advance()
            except HumwatchError as error:
                _log.warning("commissionings wait", code=error.code, reason=str(error))
            except Exception:  # whatever is wrong with one time, the next one comes
                _log.exception("a commissioning failed")
            await asyncio.sleep(LOOK_EVERY_S)

    async def announce(self) -> None:
        """Say whose commissionings will be taken up, before the models are known."""
        try:
            self._live.expect(await run_in_threadpool(self._folder.records))
        except StateUnusable as error:
            _log.warning("commissionings wait", code=error.code, reason=str(error))

    async def restore(self) -> None:
        """Take up what was going on before a restart, once models and machines are known.

        Raises:
            StateUnusable: the disk cannot be read, or what is known of machines is not.
        """
        async with self._changing:
            if self._restored or not self._registry.loaded:
                return
            for machine_id, content in (await run_in_threadpool(self._folder.records)).items():
                if machine_id not in self._running:
                    await self._take_up(machine_id, content)
            self._restored = True
            self._live.expect(())

    async def start(
        self,
        machine_id: str,
        *,
        from_machine: str | None = None,
        plan: PlanKind = "in_a_row",
        minutes: int = DEFAULT_MINUTES,
        normal_s: float | None = None,
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
        model = self._model(machine_id, from_machine)
        await self.restore()
        async with self._changing:
            if machine_id in self._running:
                raise CalibrationRunning(f"{machine_id} is being calibrated; finish or cancel that first")
            wanted = _plan(plan, minutes, self._clock(), normal_s)
            running = self._planned(machine_id, model, wanted, accept, spec or CalibrationSpec(), score, who, why)
            self._running[machine_id] = running
            try:
                await run_in_threadpool(self._folder.end, machine_id, None)
                await run_in_threadpool(running.keep_record)
                self._live.collect(machine_id, running.collector)
                await self._audit(running, "calibration_started", who, why)
            except BaseException:
                await self._end(running, None)
                raise
        return self.progress(machine_id)

    def progress(self, machine_id: str) -> CalibrationProgress:
        """Return the progress of a machine's calibration. Raises :class:`CalibrationNotFound`."""
        running = self._of(machine_id)
        return progress_of(running, finishing=machine_id in self._finishing, waits=self._waiting(running))

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
        self._of(machine_id)
        self._refuse_if_finishing(machine_id)
        self._finishing.add(machine_id)
        try:
            async with self._changing:
                running = self._of(machine_id)
                await run_in_threadpool(running.save, running.collector.whole())
                await self._adopt(running)
                stage = running.last_stage
                if stage is None or stage.provisional or not running.is_current(stage):
                    stage = await self._make_last(running, activate=activate, who=who, why=why)
                elif activate:
                    await self._use(running, stage, who=who, why=why, reason=f"{who} accepted it")
                report = await self._ended(running, stage)
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
        self._of(machine_id)
        self._refuse_if_finishing(machine_id)
        async with self._changing:
            running = self._of(machine_id)
            stage = running.last_stage
            if stage is None or stage.state not in ("candidate", "waiting"):
                raise OperationRefused(f"no version of {machine_id} waits to be accepted")
            await self._use(running, stage, who=who, why=why or "accepted", reason=f"{who} accepted it")
            stage = running.record.stages[-1]
            if not stage.provisional:
                return await self._ended(running, stage)
        return self.progress(machine_id)

    async def cancel(self, machine_id: str, *, who: str, why: str = "") -> CalibrationProgress:
        """Give up a calibration; return its progress. Versions that it made stay; none of them is a candidate any more.

        Raises:
            CalibrationNotFound: there is none.
            CalibrationRunning: it is being finished.
            StateUnusable: it cannot be audited.
        """
        self._of(machine_id)
        self._refuse_if_finishing(machine_id)
        async with self._changing:
            running = self._of(machine_id)
            await self._stop_scoring(running, who=who, why=why or "the commissioning was given up")
            await self._audit(running, "calibration_cancelled", who, why)
            progress = self.progress(machine_id)
            await self._end(running, None)
        return progress

    async def keep_minute(self, machine_id: str, number: int, *, who: str, why: str = "") -> CalibrationProgress:
        """Let an odd minute count as normal from now on.

        Raises:
            CalibrationNotFound, MinuteNotFound: there is no such odd minute.
            StateUnusable: it cannot be kept or audited.
        """
        self._of(machine_id)
        async with self._changing:
            running = self._of(machine_id)
            self._refuse_unless_odd(running, number)
            await self._audit(running, "minute_kept", who, why, minute=number)
            record = running.record
            odd = [card for card in record.odd if card.number != number]
            await run_in_threadpool(lambda: running.keep_record(odd=odd, kept=[*record.kept, number]))
        return self.progress(machine_id)

    async def drop_minute(self, machine_id: str, number: int, *, who: str, why: str = "") -> CalibrationProgress:
        """Throw a minute out; the plan makes it up. Raises as :meth:`keep_minute`, for any minute that there is."""
        self._of(machine_id)
        async with self._changing:
            running = self._of(machine_id)
            if number not in running.times:
                raise MinuteNotFound(f"the commissioning of {machine_id} has no minute {number}")
            await self._audit(running, "minute_dropped", who, why, minute=number)
            lost = LostMinute(number=number, reason=f"{who} threw it out" + (f": {why}" if why else ""))
            record = running.record
            odd = [card for card in record.odd if card.number != number]
            await run_in_threadpool(lambda: running.keep_record(odd=odd, lost=[*record.lost, lost]))
            await run_in_threadpool(self._folder.drop_minute, machine_id, number)
            running.lose([lost])
        return self.progress(machine_id)

    def minute_finder(self, machine_id: str, number: int) -> Callable[[], Path]:
        """Return what finds a minute's sound, FLAC (blocking); it raises :class:`MinuteNotFound`.

        Raises :class:`CalibrationNotFound`.
        """
        self._of(machine_id)
        return partial(self._folder.sound_path, machine_id, number)

    async def advance(self) -> None:
        """Keep minutes, and do what is due for each commissioning: make a version, use it, or end."""
        for machine_id in list(self._running):
            async with self._changing:
                running = self._running.get(machine_id)
                if running is None:
                    continue
                try:
                    await self._advance(running)
                    running.trouble = running.fit_trouble(self._clock())
                except (HumwatchError, OSError) as error:
                    if running.trouble != str(error):
                        _log.warning("a commissioning waits", machine_id=machine_id, reason=str(error))
                    running.trouble = str(error)

    async def close(self) -> None:
        """Keep the minutes that are settled: the service stops."""
        async with self._changing:
            for running in self._running.values():
                try:
                    await run_in_threadpool(running.save, running.collector.settled())
                except HumwatchError as error:
                    _log.warning("minutes not kept", machine_id=running.machine_id, reason=str(error))

    # What is due

    async def _advance(self, running: Commissioning) -> None:
        if self._watches_itself(running) and self._live.alarm_in_force(running.machine_id):
            running.alarm_s = running.collector.progress.heard_s
        await run_in_threadpool(running.save, running.collector.settled())
        await self._adopt(running)
        if running.may_fit(self._clock()):
            try:
                await self._make_due(running)
            except (HumwatchError, OSError) as error:
                running.fit_failed(self._clock(), str(error))
                raise
        await self._settle(running)

    async def _adopt(self, running: Commissioning) -> None:
        """Count a version that was being made when the service was killed, if it was written whole."""
        making = running.record.making
        if making is None:
            return
        stages = running.record.stages
        if await run_in_threadpool(self._is_there, running.machine_id, making):
            stages = [*stages, making]
            _log.info("version of a commissioning found", machine_id=running.machine_id, version=making.version)
        await run_in_threadpool(lambda: running.keep_record(making=None, stages=stages))

    def _is_there(self, machine_id: str, making: StageCard) -> bool:
        try:
            card = self._registry.repository.manifest(machine_id, making.version).commissioning
        except (BundleError, RepositoryError):
            return False
        return card is not None and (card.stage, card.minutes) == (making.stage, making.minutes)

    async def _make_due(self, running: Commissioning) -> None:
        """Make the version that is due, if one is."""
        record, last, now_s = running.record, running.last_stage, self._now_s(running)
        if last is not None and not last.provisional:
            return
        if not running.plan_over(now_s):
            before = 0 if last is None else last.collected
            reached = [target for target in record.stage_minutes if before < target <= len(running.times)]
            if reached:
                await self._make_stage(running, whole_plan=False)
        elif last is not None and last.whole_plan and running.is_current(last):
            if now_s >= self._limits_s(record.plan):
                await self._make_last(running, activate=False, who=ITSELF, why=record.why)
        elif not running.waits_for_finish:
            until_s = record.plan.until_s
            if self._fits_limits and until_s is not None and now_s < until_s:
                await self._make_stage(running, whole_plan=True)
            else:
                await self._make_last(running, activate=False, who=ITSELF, why=record.why)

    async def _settle(self, running: Commissioning) -> None:
        """Use the version that was made last, let it go on as a candidate, or let it wait; end with the last one."""
        stage = running.last_stage
        if stage is None:
            return
        now_s, in_use = self._now_s(running), self._in_use(running.machine_id)
        if in_use is not None and in_use.manifest.version == stage.version:
            if stage.state != "active":
                reason = "the machine had no version before" if stage.stage == 1 else "it is in use"
                await run_in_threadpool(running.use_stage, stage, reason, now_s)
                self._follow_level(running)
            if not stage.provisional:
                await self._ended(running, stage)
            return
        if stage.state in ("active", "replaced"):
            reason = "somebody chose another version"
            await run_in_threadpool(running.change_stage, stage, "replaced", reason, now_s)
            return
        verdict = judge(self._question(running, stage, in_use, now_s))
        running.verdict = verdict
        if verdict.kind == "use":
            who, why = ITSELF, f"stage {stage.stage} of the commissioning: {verdict.reason}"
            await self._use(running, stage, who=who, why=why, reason=verdict.reason)
            if not stage.provisional:
                await self._ended(running, running.record.stages[-1])
            return
        listening = verdict.kind == "listen"
        reason = "it scores beside the version in use" if listening else verdict.reason
        await run_in_threadpool(running.change_stage, stage, "candidate" if listening else "waiting", reason, now_s)
        await self._let_score(running, stage)

    def _question(self, running: Commissioning, stage: StageCard, in_use: LoadedModel | None, now_s: float) -> Question:
        record = running.record
        own = {one.version: one for one in record.stages}
        version = None if in_use is None else in_use.manifest.version
        before = own.get(version or "")
        return Question(
            accept=record.accept,
            now_s=now_s,
            until_s=record.plan.until_s,
            minutes=stage.minutes,
            provisional=stage.provisional,
            in_use_recordings=None if in_use is None or before else in_use.manifest.calibration.recordings,
            nothing_in_use=in_use is None,
            same_levels=before is not None and before.minute_numbers == stage.minute_numbers,
            watched=self._candidates is not None,
            report=self._candidate(running, stage),
        )

    # Versions

    async def _make_stage(self, running: Commissioning, *, whole_plan: bool) -> None:
        """Make a version that others follow."""
        await self._make_fitted(running, provisional=True, whole_plan=whole_plan, activate=False, who=ITSELF, why="")

    async def _make_last(self, running: Commissioning, *, activate: bool, who: str, why: str) -> StageCard:
        """Make the last version: of the levels that there are, with limits, or of levels that are fitted now."""
        last = running.last_stage
        if last is None or not running.is_current(last) or not self._fits_limits:
            return await self._make_fitted(
                running, provisional=False, whole_plan=True, activate=activate, who=who, why=why
            )
        machine_id, number = running.machine_id, last.stage + 1
        decision = await run_in_threadpool(self._limits_of, running, last)
        version = await run_in_threadpool(self._registry.repository.next_version, machine_id)
        manifest, graph, arrays = await run_in_threadpool(
            lambda: with_limits(
                self._registry.repository, machine_id, last.version, version=version, stage=number, decision=decision
            )
        )
        reason = decision.rate.reason
        card = _stage_card(manifest, last.minute_numbers, running, reason, self._now_s(running), whole_plan=True)
        await self._write(running, card, manifest, graph, arrays, activate=activate, who=who, why=why)
        return card

    async def _make_fitted(
        self, running: Commissioning, *, provisional: bool, whole_plan: bool, activate: bool, who: str, why: str
    ) -> StageCard:
        """Make a version of levels that are fitted now."""
        machine_id, last = running.machine_id, running.last_stage
        number = 1 if last is None else last.stage + 1
        version = await run_in_threadpool(self._registry.repository.next_version, machine_id)
        reason = "limits follow at the end of the period" if provisional and whole_plan else NO_LIMITS
        wide = provisional_decision(wanted_a_week=self._wanted_a_week(machine_id), reason=reason)
        fitted = await run_in_threadpool(
            lambda: fit_version(
                running.record,
                running.model,
                running.pipeline,
                self._folder,
                self._registry,
                version=version,
                stage=number,
                provisional=provisional,
                decision=wide if provisional else None,
            )
        )
        await self._found(running, fitted)
        card = _stage_card(
            fitted.manifest, fitted.minute_numbers, running, reason, self._now_s(running), whole_plan=whole_plan
        )
        graph = running.model.bundle.graph
        await self._write(running, card, fitted.manifest, graph, fitted.arrays, activate=activate, who=who, why=why)
        return card

    async def _found(self, running: Commissioning, fitted: Fitted) -> None:
        """Note the odd minutes and the damaged ones that a fit found."""
        lost = [*running.record.lost, *fitted.lost]
        await run_in_threadpool(lambda: running.keep_record(odd=fitted.odd, lost=lost))
        running.lose(fitted.lost)

    async def _write(
        self,
        running: Commissioning,
        card: StageCard,
        manifest: Manifest,
        graph: bytes,
        arrays: bytes,
        *,
        activate: bool,
        who: str,
        why: str,
    ) -> None:
        """Write a version and count it; one that was written by a service that is killed meanwhile is found again."""
        await run_in_threadpool(lambda: running.keep_record(making=card))
        try:
            await self._versions.add(
                manifest,
                graph,
                arrays,
                activate=activate,
                who=who,
                why=why,
                details={**details_of(running), "stage": card.stage, "used_minutes": card.minutes},
                kind="calibration_stage" if card.provisional else "calibrated",
            )
        except BaseException:
            running.record = running.record.model_copy(update={"making": None})
            raise
        await run_in_threadpool(lambda: running.keep_record(making=None, stages=[*running.record.stages, card]))

    async def _use(self, running: Commissioning, stage: StageCard, *, who: str, why: str, reason: str) -> None:
        await self._stop_scoring(running, who=who, why=why)
        await self._versions.activate(running.machine_id, stage.version, who=who, why=why)
        await run_in_threadpool(running.use_stage, stage, reason, self._now_s(running))
        self._follow_level(running)

    def _limits_of(self, running: Commissioning, stage: StageCard) -> Decision:
        """Fit limits to what a version scored (blocking)."""
        assert self._candidates is not None and self._fit_decision is not None  # callers ask for _fits_limits
        scores = self._candidates.scores(running.machine_id, stage.version)
        return limits_of(
            self._fit_decision,
            scores,
            until_s=running.record.plan.until_s,
            wanted_a_week=self._wanted_a_week(running.machine_id),
        )

    # Candidates

    async def _let_score(self, running: Commissioning, stage: StageCard) -> None:
        """Let a version score beside the one in use, in place of an earlier stage, if it does not."""
        report = None if self._candidates is None else self._candidates.report(running.machine_id)
        if self._candidates is None or (report is not None and report.version == stage.version):
            return
        why = f"stage {stage.stage} of the commissioning"
        if report is not None and report.version in {one.version for one in running.record.stages}:
            with suppress(ShadowNotFound):
                await self._candidates.stop(running.machine_id, who=ITSELF, why=why)
        await self._candidates.start(running.machine_id, stage.version, who=ITSELF, why=why)

    async def _stop_scoring(self, running: Commissioning, *, who: str, why: str) -> None:
        stage = running.last_stage
        if self._candidates is not None and stage is not None and self._candidate(running, stage) is not None:
            with suppress(ShadowNotFound):  # somebody else has ended it meanwhile
                await self._candidates.stop(running.machine_id, who=who, why=why)

    def _candidate(self, running: Commissioning, stage: StageCard) -> CandidateReport | None:
        report = None if self._candidates is None else self._candidates.report(running.machine_id)
        return report if report is not None and report.version == stage.version else None

    # The rest

    @property
    def _fits_limits(self) -> bool:
        return self._candidates is not None and self._fit_decision is not None

    @staticmethod
    def _limits_s(plan: CollectionPlan) -> float:
        """Return the time at which limits are fitted: just before the period ends that was declared normal."""
        if plan.until_s is None:
            return plan.start_s
        return plan.until_s - max(LEAST_MARGIN_S, MARGIN * (plan.until_s - plan.start_s))

    def _now_s(self, running: Commissioning) -> float:
        return max(self._clock(), running.collector.progress.heard_s or 0.0)

    def _in_use(self, machine_id: str) -> LoadedModel | None:
        return self._registry.current.models.get(machine_id)

    def _watches_itself(self, running: Commissioning) -> bool:
        in_use = self._in_use(running.machine_id)
        return in_use is not None and in_use.manifest.version in {stage.version for stage in running.record.stages}

    def _follow_level(self, running: Commissioning) -> None:
        """Let the collector take the machine for off by its level, as the version in use does."""
        in_use = self._in_use(running.machine_id)
        if in_use is not None and self._follows_level(running.machine_id):
            running.collector.follow_level(in_use.bundle.calibration.run_gate)

    def _waiting(self, running: Commissioning) -> Waiting:
        stage, verdict, plan = running.last_stage, running.verdict, running.record.plan
        if stage is not None and not stage.provisional:
            if stage.state == "candidate":
                return Waiting("candidate", f"version {stage.version}: {verdict.reason if verdict else stage.reason}")
            return Waiting("operator", f"accept version {stage.version}: {stage.reason}")
        if not running.plan_over(self._now_s(running)):
            end_s = plan.end_s(len(running.times))
            if end_s is not None and self._now_s(running) >= end_s + SETTLED_S:
                return Waiting("operator", "the period that was declared normal is over, and too little was heard")
            missing = plan.minutes - running.progress.minutes
            if missing <= 0:
                return Waiting("sound", "all minutes were heard; the last ones count ten seconds after their end")
            return Waiting("sound", f"{missing} of {plan.minutes} minutes are missing")
        if running.waits_for_finish:
            return Waiting("operator", "all minutes are there: finish it")
        if stage is not None and stage.state == "candidate" and verdict is not None:
            return Waiting("candidate", f"version {stage.version}: {verdict.reason}")
        if stage is not None and stage.state == "waiting":
            return Waiting("operator", f"accept version {stage.version}: {stage.reason}")
        if stage is None or plan.until_s is None:
            return Waiting("period", "all minutes are there: the version of all of them is made next")
        return Waiting("period", "limits are fitted to its live scores at the end of the period")

    async def _ended(self, running: Commissioning, stage: StageCard) -> CalibrationReport:
        """End with a version that is the last one; return the report."""
        machine_id = running.machine_id
        manifest = await run_in_threadpool(self._registry.repository.manifest, machine_id, stage.version)
        active = await run_in_threadpool(self._registry.repository.active_version, machine_id)
        report = report_of(running, manifest, activated=active == stage.version, decision_reason=stage.decision_reason)
        await self._stop_scoring(running, who=ITSELF, why="the commissioning is over")
        await self._end(running, report.model_dump_json().encode())
        return report

    async def _end(self, running: Commissioning, report: bytes | None) -> None:
        if self._running.pop(running.machine_id, None) is None:
            return
        try:
            self._live.collect(running.machine_id, None)
        finally:
            await run_in_threadpool(self._folder.end, running.machine_id, report)

    def _of(self, machine_id: str) -> Commissioning:
        running = self._running.get(machine_id)
        if running is None:
            if not self._restored:
                raise ModelsLoading("what was being commissioned before the service started is not read yet")
            raise CalibrationNotFound(f"{machine_id[:80]} is not being calibrated")
        return running

    def _refuse_if_finishing(self, machine_id: str) -> None:
        if machine_id in self._finishing:
            raise CalibrationRunning(f"the calibration of {machine_id} is being finished")

    def _refuse_unless_odd(self, running: Commissioning, number: int) -> None:
        if number not in {card.number for card in running.record.odd}:
            raise MinuteNotFound(f"minute {number} of {running.machine_id} is not held back")

    async def _take_up(self, machine_id: str, content: bytes) -> None:
        """Go on with a commissioning that is on the disk; one that cannot is named in the log, and stays there."""
        try:
            record = CommissioningRecord.model_validate_json(content)
            running = await run_in_threadpool(self._resumed, record)
        except (ValidationError, HumwatchError) as error:
            _log.error("a commissioning cannot go on", machine_id=machine_id, reason=str(error))
            return
        self._live.collect(machine_id, running.collector)
        self._running[machine_id] = running
        self._follow_level_of_own(running)
        _log.info("a commissioning goes on", machine_id=machine_id, minutes=len(running.times))

    def _resumed(self, record: CommissioningRecord) -> Commissioning:
        shared = {one.manifest.files[PREDICTOR]: one.predictor for one in self._registry.current.models.values()}
        model = load_model(self._registry.repository, record.from_machine, record.from_version, shared=shared)
        pipeline = pipeline_for(model.bundle, self._request(record.machine_id, record.spec, record.score))
        if source_of(model, pipeline) != record.source:
            raise CalibrationError(f"{record.from_machine}@{record.from_version} is another model than it was")
        return Commissioning.resumed(record, model, pipeline, self._folder)

    def _follow_level_of_own(self, running: Commissioning) -> None:
        if self._in_use(running.machine_id) is not None:
            self._follow_level(running)

    def _planned(
        self,
        machine_id: str,
        model: LoadedModel,
        plan: CollectionPlan,
        accept: Acceptance | None,
        spec: CalibrationSpec,
        score: ScoreKind | None,
        who: str,
        why: str,
    ) -> Commissioning:
        request = self._request(machine_id, spec, score)
        pipeline = pipeline_for(model.bundle, request)
        minute_bytes = most_bytes_a_minute(pipeline)
        planned_bytes = plan.minutes * minute_bytes
        if planned_bytes > self._max_fit_bytes:
            raise OperationRefused(
                f"{plan.minutes} minutes may take {planned_bytes >> 20} MiB of memory when a version is made, of"
                f" {self._max_fit_bytes >> 20}: take fewer minutes"
            )
        others = sum(one.record.plan.minutes * most_bytes_a_minute(one.pipeline) for one in self._running.values())
        if others + planned_bytes > MAX_EVIDENCE_BYTES:
            raise OperationRefused(
                f"{plan.minutes} minutes may take {planned_bytes >> 20} MiB of the disk, other calibrations"
                f" {others >> 20} MiB of {MAX_EVIDENCE_BYTES >> 20}: take fewer minutes, or finish one of them"
            )
        watched = self._in_use(machine_id) is not None
        record = CommissioningRecord(
            machine_id=machine_id,
            from_machine=model.manifest.machine_id,
            from_version=model.manifest.version,
            source=source_of(model, pipeline),
            score=pipeline.scoring.kind,
            channel=request.channel or 0,
            spec=spec,
            plan=plan,
            accept=accept or ("operator" if plan.kind == "in_a_row" else "automatic"),
            stage_minutes=plan.stages(watched=watched),
            who=who,
            why=why,
            started_s=self._clock(),
        )
        running = Commissioning(record, model, pipeline, self._folder)
        self._follow_level_of_own(running)
        return running

    def _model(self, machine_id: str, from_machine: str | None) -> LoadedModel:
        try:
            return self._registry.get(from_machine or machine_id)
        except MachineNotFound as error:
            if from_machine is None:
                text = f"{machine_id} has no model yet: name the machine whose network is taken (`from_machine`)"
                raise MachineNotFound(text) from error
            raise

    def _request(self, machine_id: str, spec: CalibrationSpec, score: ScoreKind | None) -> RecalibrationRequest:
        """Return the request for a version, which is numbered when it is made.

        A stream without a model is scored on channel 0.
        """
        own = self._registry.current.models.get(machine_id)
        channel = 0 if own is None else own.manifest.channel
        return RecalibrationRequest(machine_id, "1", channel=channel, score=score, spec=spec, made_by=MADE_BY)

    async def _audit(self, running: Commissioning, kind: str, who: str, why: str, **more: JsonValue) -> None:
        at_s, details = self._clock(), {**details_of(running), **more}
        await run_in_threadpool(
            lambda: self._note(running.machine_id, kind, at_s=at_s, who=who, why=why, details=details)
        )


def _plan(kind: PlanKind, minutes: int, start_s: float, normal_s: float | None) -> CollectionPlan:
    if kind == "in_a_row":
        return CollectionPlan.in_a_row(minutes, start_s, normal_s=normal_s)
    return CollectionPlan.over(kind, start_s, normal_s=normal_s)


def _stage_card(
    manifest: Manifest,
    minute_numbers: list[int],
    running: Commissioning,
    decision_reason: str | None,
    now_s: float,
    *,
    whole_plan: bool,
) -> StageCard:
    card, clip, decision = manifest.commissioning, manifest.clip, manifest.decision
    assert card is not None  # a commissioning made it
    return StageCard(
        stage=card.stage,
        minutes=card.minutes,
        collected=len(running.times),
        minute_numbers=minute_numbers,
        whole_plan=whole_plan,
        version=manifest.version,
        provisional=card.provisional,
        state="candidate",
        reason="it was made",
        made_s=now_s,
        since_s=now_s,
        used_s=None,
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        false_alarms_a_week=None if decision is None else decision.rate.expected_a_week,
        promised=decision is not None and decision.rate.promised,
        decision_reason=decision_reason,
    )
