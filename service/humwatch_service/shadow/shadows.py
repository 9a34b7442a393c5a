"""Candidates of all machines: started, compared, kept over restarts, and ended when another version is used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from humwatch.alarm.events import AlarmEvent
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import SequentialLimits
from humwatch.errors import HumwatchError, OperationRefused
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch.false_alarms.estimate import expected_rate
from humwatch.false_alarms.scores import NormalScores
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveStep
from humwatch_service.errors import ShadowNotFound, ShadowRunning, StateUnusable
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machines import LiveMachines
from humwatch_service.live.stream import LiveStream
from humwatch_service.metrics.shadow import ShadowMetrics
from humwatch_service.models.registry import LoadedModel, ModelRegistry, ModelSet
from humwatch_service.models.versions import AuditWriter
from humwatch_service.shadow.candidate import Candidate, CandidateState
from humwatch_service.shadow.comparison import Comparison, Episode
from humwatch_service.shadow.report import ShadowEpisode, ShadowReport
from humwatch_service.shadow.scores import scores_of
from humwatch_service.storage.records import alarm_id_of
from humwatch_service.storage.shadow_rows import KeptShadow, ShadowRows
from humwatch_service.storage.shadow_sounds import ShadowSounds
from humwatch_service.telemetry.logs import event_logger

ESTIMATE_S: Final = 600.0
"""Scored sound from which false alarms a week are estimated."""
MORE: Final = 1.1
"""How much more sound is worth another estimate."""
SERVICE: Final = "humwatch"
"""Who ends a shadow that ends by itself."""

_log = event_logger("humwatch.shadow")


class RateEstimate(Protocol):
    """Estimate of the false alarms a week from normal scores (blocking)."""

    def __call__(
        self, scores: NormalScores, rule: AlarmRule, limits: SequentialLimits | None, *, wanted_a_week: float
    ) -> FalseAlarmRate:
        """Return the rate. Raises :class:`humwatch.errors.CalibrationError` where nothing can be said."""


class Shadows:
    """Candidates, at most one a machine. Belongs to the event loop, but for what says that it blocks.

    It subscribes to what machines do, which it is told from any thread.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        machines: LiveMachines,
        load: Load,
        rows: ShadowRows,
        sounds: ShadowSounds,
        metrics: ShadowMetrics,
        *,
        make_model: Callable[[LoadedModel], LiveModel],
        note: AuditWriter,
        submit: Callable[[str, Callable[[], None]], None],
        estimate: RateEstimate = expected_rate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin without candidates, until :meth:`restore`.

        Args:
            registry: models in use.
            machines: live machines.
            load: load of the service.
            rows: database of candidates.
            sounds: folder of the sound of alarms that only candidates would have raised.
            metrics: metrics of candidates.
            make_model: maker of the model of a live stream.
            note: writer of the audit trail (blocking).
            submit: entrance of a thread that writes, from the machine's id and a call.
            estimate: estimate of the false alarms a week.
            clock: wall clock, seconds since 1970.
        """
        self._registry = registry
        self._machines = machines
        self._load = load
        self._rows = rows
        self._sounds = sounds
        self._metrics = metrics
        self._make_model = make_model
        self._note = note
        self._submit = submit
        self._estimate = estimate
        self._clock = clock
        self._candidates: dict[str, Candidate] = {}
        self._restored = False
        self._changing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        machines.on_models = self.follow_models

    async def start(
        self, machine_id: str, version: str, *, who: str, why: str, rule: AlarmRule | None = None
    ) -> ShadowReport:
        """Let a version hear a machine's stream beside the one in use; one that failed is replaced.

        Args:
            machine_id: id of the machine.
            version: the candidate.
            who: operator who starts it.
            why: the reason.
            rule: rule of the candidate; None for the machine's own.

        Raises:
            MachineNotFound, MachineUnavailable, ModelsLoading: the machine has no model in use.
            RepositoryError, BundleError, PredictorError: there is no such version, or it fails a check.
            OperationRefused: it is in use, under the same rule.
            ShadowRunning: the machine has a candidate.
            Overloaded: the processors have no time for it.
            StateUnusable: it cannot be kept or audited.
        """
        async with self._changing:
            await self._restore()
            machine = self._machines.get(machine_id)
            in_use = self._registry.get(machine_id)
            before = self._candidates.get(machine_id)
            if before is not None and before.running:
                raise ShadowRunning(f"version {before.state.version} runs beside the one in use; stop that first")
            chosen = rule or machine.rule
            if version == in_use.manifest.version and chosen == machine.rule:
                raise OperationRefused(f"version {version} is in use")
            loaded = await run_in_threadpool(self._registry.load, machine_id, version)
            self._refuse_if_full(machine, loaded)
            state = CandidateState(
                version=loaded.manifest.version,
                digest=loaded.digest,
                in_use=in_use.manifest.version,
                in_use_digest=in_use.digest,
                rule=chosen,
                started_s=self._clock(),
                who=who,
                why=why,
                expected=None if loaded.manifest.decision is None else loaded.manifest.decision.rate,
            )
            candidate = self._candidate(machine_id, state, Comparison(), self._make_model(loaded))
            self._compare_from_now(candidate, machine)
            details = {"version": state.version, "in_use": state.in_use}
            await run_in_threadpool(
                lambda: self._note(
                    machine_id, "shadow_started", at_s=state.started_s, who=who, why=why, details={**details}
                )
            )
            await run_in_threadpool(self._write, candidate)
            self._attach(candidate)
        return report_of(candidate)

    async def stop(self, machine_id: str, *, who: str, why: str) -> ShadowReport:
        """End the candidate of a machine; its report goes to the audit trail, its scores stay.

        Raises:
            ShadowNotFound: there is none.
            StateUnusable: it cannot be audited; it goes on.
        """
        async with self._changing:
            await self._restore()
            candidate = self._of(machine_id)
            report = report_of(candidate)
            await run_in_threadpool(self._audit_end, report, who, why)
            self._detach(candidate)
            await run_in_threadpool(self._forget, candidate)
        return report_of(candidate)

    def report(self, machine_id: str) -> ShadowReport | None:
        """Return the report of a machine's candidate; None without one."""
        candidate = self._candidates.get(machine_id)
        return None if candidate is None else report_of(candidate)

    def scores(self, machine_id: str, version: str) -> NormalScores:
        """Return what a version gave so far on normal live sound of a machine, in use or beside (blocking).

        Seconds of alarms that an operator found right are left out, with the minute before.

        Raises:
            StateUnusable: the database cannot be read.
        """
        candidate = self._candidates.get(machine_id)
        if candidate is not None:
            self._write(candidate)
        loaded = self._registry.current.models.get(machine_id)
        return scores_of(self._rows, machine_id, version, in_use=None if loaded is None else loaded.manifest.version)

    async def restore(self) -> None:
        """Take up the candidates that outlived the last run, unless they were; to be called until models are there."""
        if not self._restored and self._registry.loaded and not self._machines.unready():
            with suppress(StateUnusable):  # the log has it, from those who read the database before
                async with self._changing:
                    await self._restore()

    def follow_models(self, current: ModelSet) -> None:
        """End candidates of machines whose version in use has changed, or that are gone; let the others go on."""
        for machine_id, candidate in list(self._candidates.items()):
            machine, loaded = self._machines.by_id.get(machine_id), current.models.get(machine_id)
            if machine is None or loaded is None:
                self._end_by_itself(candidate, "the machine has no model any more")
            elif loaded.digest != candidate.state.in_use_digest:
                self._end_by_itself(candidate, f"version {loaded.manifest.version} is used from now on")
            elif machine.companion is not candidate and candidate.running:
                machine.accompany(candidate)

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Tell the candidate what the version in use scored; in its worker."""
        candidate = self._candidates.get(machine.machine_id)
        if candidate is not None:
            candidate.on_steps_in_use(steps)

    def on_events(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Tell the candidate what the version in use raised; from any thread."""
        candidate = self._candidates.get(machine.machine_id)
        if candidate is not None:
            candidate.on_events(events)

    def on_gone(self, machine_id: str) -> None:
        """Know that a machine is gone: ``follow_models`` ends its candidate."""

    def relieve(self) -> bool:
        """Stop all candidates, because scores come late; return whether there were any."""
        running = [candidate for candidate in self._candidates.values() if candidate.running]
        for candidate in running:
            candidate.fail("overloaded: scores of the versions in use came late")
            self._show(candidate)
        return bool(running)

    def flush(self) -> None:
        """Write what is new of all candidates (blocking); what the disk does not take now, it gets the next time."""
        for candidate in list(self._candidates.values()):
            self._show(candidate)
            try:
                self._write(candidate)
            except StateUnusable as error:
                _log.error("candidate not saved", machine_id=candidate.machine_id, reason=str(error))

    def estimate(self) -> None:
        """Estimate the false alarms a week of candidates that heard more (blocking)."""
        for candidate in list(self._candidates.values()):
            heard_s = candidate.state.heard_s
            if heard_s < max(ESTIMATE_S, MORE * candidate.state.estimated_at_s):
                continue
            try:
                candidate.estimated(self._expected(candidate, self._estimate), heard_s)
            except HumwatchError as error:
                _log.info("rate not estimated", machine_id=candidate.machine_id, reason=str(error))

    async def close(self) -> None:
        """Finish what ends by itself; candidates go on with the next run."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    def conclude(self) -> None:
        """Write all that waits: no sound comes any more (blocking)."""
        for candidate in list(self._candidates.values()):
            candidate.conclude()
        self.flush()

    def _expected(self, candidate: Candidate, estimate: RateEstimate) -> FalseAlarmRate:
        state = candidate.state
        decision = self._registry.repository.manifest(candidate.machine_id, state.version).decision
        limits = decision.limits if decision is not None and state.rule.decision == "sequential" else None
        scores = self.scores(candidate.machine_id, state.version)
        return estimate(scores, state.rule, limits, wanted_a_week=state.rule.false_alarms_a_week)

    def _refuse_if_full(self, machine: LiveMachine, loaded: LoadedModel) -> None:
        if not machine.is_fed:
            return
        live = len(self._machines.fed)
        refusal = self._load.refusal(loaded.stream_s, live)
        if refusal is not None:
            raise refusal
        self._load.on_admission(loaded.stream_s, live)

    def _candidate(
        self, machine_id: str, state: CandidateState, comparison: Comparison, model: LiveModel | None
    ) -> Candidate:
        return Candidate(
            machine_id,
            state,
            comparison,
            model,
            on_settled=lambda by: self._metrics.settled(machine_id, by),
            on_sound=lambda name, sound, rate_hz: self._submit(
                machine_id, lambda: self._sounds.write(machine_id, name, sound, rate_hz)
            ),
        )

    @staticmethod
    def _compare_from_now(candidate: Candidate, machine: LiveMachine) -> None:
        """Take up what is in force of the version in use."""
        with machine.lock:
            active = machine.alarm.snapshot.active
            out = machine.state == "out_of_service"
        if active is not None:
            alarm_id = alarm_id_of(machine.machine_id, active.number)
            candidate.comparison.raised("old", active.raised_s, alarm_id=alarm_id)
        candidate.follow_service(out=out, at_s=candidate.state.started_s)

    async def _restore(self) -> None:
        """Take up what is kept. Raises :class:`StateUnusable`."""
        if self._restored:
            return
        for kept in await run_in_threadpool(self._rows.all):
            try:
                state = CandidateState.model_validate_json(kept.state)
                comparison = Comparison.model_validate_json(kept.comparison)
            except ValidationError as error:
                _log.error("candidate cannot be read", machine_id=kept.machine_id, reason=str(error))
                continue
            candidate = await self._taken_up(kept.machine_id, state, comparison)
            self._attach(candidate)
        self._restored = True
        self.follow_models(self._registry.current)

    async def _taken_up(self, machine_id: str, state: CandidateState, comparison: Comparison) -> Candidate:
        model = None
        if state.failure is None:
            try:
                loaded = await run_in_threadpool(self._registry.load, machine_id, state.version)
                model = self._make_model(loaded)
                state.failure = None if loaded.digest == state.digest else "the version was written anew"
            except HumwatchError as error:
                state.failure = f"{error.code}: {error}"
        candidate = self._candidate(machine_id, state, comparison, model)
        machine = self._machines.by_id.get(machine_id)
        if machine is not None:
            candidate.follow_service(out=machine.state == "out_of_service", at_s=self._clock())
            if machine.alarm.snapshot.active is None:  # it was cleared while nobody told the candidate
                comparison.cleared("old", self._clock())
        return candidate

    def _attach(self, candidate: Candidate) -> None:
        self._candidates[candidate.machine_id] = candidate
        machine = self._machines.by_id.get(candidate.machine_id)
        if machine is not None and candidate.running:
            machine.accompany(candidate)
        self._metrics.begin(candidate.machine_id)
        self._show(candidate)

    def _show(self, candidate: Candidate) -> None:
        if self._candidates.get(candidate.machine_id) is candidate:
            self._metrics.running(candidate.machine_id, candidate.running)

    def _detach(self, candidate: Candidate) -> None:
        machine = self._machines.by_id.get(candidate.machine_id)
        if machine is not None and machine.companion is candidate:
            machine.accompany(None)
        candidate.conclude()
        del self._candidates[candidate.machine_id]
        self._metrics.end(candidate.machine_id)

    def _of(self, machine_id: str) -> Candidate:
        candidate = self._candidates.get(machine_id)
        if candidate is None:
            raise ShadowNotFound(f"no version runs beside the one in use of {machine_id[:80]}")
        return candidate

    def _end_by_itself(self, candidate: Candidate, why: str) -> None:
        report = report_of(candidate)
        self._detach(candidate)
        task = asyncio.get_running_loop().create_task(self._finish(candidate, report, why))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _finish(self, candidate: Candidate, report: ShadowReport, why: str) -> None:
        try:
            await run_in_threadpool(self._audit_end, report, SERVICE, why)
            await run_in_threadpool(self._forget, candidate)
        except StateUnusable as error:
            _log.error("candidate not saved", machine_id=candidate.machine_id, reason=str(error))

    def _audit_end(self, report: ShadowReport, who: str, why: str) -> None:
        details = json.loads(report.model_copy(update={"episodes": report.episodes[:20]}).model_dump_json())
        self._note(report.machine_id, "shadow_stopped", at_s=self._clock(), who=who, why=why, details=details)

    def _write(self, candidate: Candidate) -> None:
        unwritten = candidate.take_unwritten()
        if unwritten is None:
            return
        try:
            kept = KeptShadow(candidate.machine_id, unwritten.state, unwritten.comparison)
            self._rows.write(kept, candidate.state.version, unwritten.seconds)
        except StateUnusable:
            candidate.put_back(unwritten)
            raise

    def _forget(self, candidate: Candidate) -> None:
        self._write(candidate)
        if candidate.machine_id not in self._candidates:  # else another was started meanwhile
            self._rows.remove(candidate.machine_id)


def report_of(candidate: Candidate) -> ShadowReport:
    """Return the report of a candidate as it is now."""
    with candidate.lock:
        state, totals = candidate.state, candidate.comparison.totals()
        return ShadowReport(
            machine_id=candidate.machine_id,
            version=state.version,
            in_use=state.in_use,
            rule=state.rule,
            started_s=state.started_s,
            who=state.who,
            why=state.why,
            running=candidate.running,
            failure=state.failure,
            heard_s=state.heard_s,
            alarms_both=totals["both"],
            alarms_only_old=totals["old"],
            alarms_only_new=totals["new"],
            episodes=tuple(_episode(candidate.machine_id, each) for each in candidate.comparison.episodes()),
            expected=state.expected,
        )


def _episode(machine_id: str, episode: Episode) -> ShadowEpisode:
    listen = None
    if episode.alarm_id is not None:
        listen = f"/v1/alarms/{episode.alarm_id}/clip.flac"
    elif episode.sound is not None:
        listen = f"/v1/machines/{machine_id}/shadow/sounds/{episode.sound}.flac"
    return ShadowEpisode(
        start_s=episode.start_s,
        end_s=episode.end_s,
        by=episode.by,
        peak_old=episode.peak_old,
        peak_new=episode.peak_new,
        alarm_id=episode.alarm_id,
        sound=episode.sound is not None,
        listen=listen,
    )
