"""Candidates of all machines: started, compared, kept over restarts, and ended when another version is used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch.alarm.events import AlarmEvent
from humwatch.alarm.rule import AlarmRule
from humwatch.false_alarms.estimate import expected_rate
from humwatch.false_alarms.scores import NormalScores
from humwatch.live.step import LiveStep
from humwatch_service.errors import ShadowNotFound, ShadowRunning, StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machines import LiveMachines
from humwatch_service.metrics.shadow import ShadowMetrics
from humwatch_service.models.registry import ModelRegistry, ModelSet
from humwatch_service.models.versions import AuditWriter
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.shadow.candidate_maker import CandidateMaker
from humwatch_service.shadow.estimates import RateEstimate, estimate_anew
from humwatch_service.shadow.kept_candidates import read_candidates, write_candidate
from humwatch_service.shadow.report import ShadowReport, report_of
from humwatch_service.shadow.scores import scores_of
from humwatch_service.storage.shadow_rows import ShadowRows
from humwatch_service.streams.stream import LiveStream
from humwatch_service.telemetry.logs import event_logger

SERVICE: Final = "humwatch"
"""Who ends a shadow that ends by itself."""

_log = event_logger("humwatch.shadow")


class Shadows:
    """Candidates, at most one a machine. Belongs to the event loop, but for what says that it blocks.

    It subscribes to what machines do, which it is told from any thread.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        machines: LiveMachines,
        maker: CandidateMaker,
        rows: ShadowRows,
        metrics: ShadowMetrics,
        *,
        note: AuditWriter,
        estimate: RateEstimate = expected_rate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin without candidates, until :meth:`restore`.

        Args:
            registry: models in use.
            machines: live machines.
            maker: maker of candidates.
            rows: database of candidates.
            metrics: metrics of candidates.
            note: writer of the audit trail (blocking).
            estimate: estimate of the false alarms a week.
            clock: wall clock, seconds since 1970.
        """
        self._registry = registry
        self._machines = machines
        self._maker = maker
        self._rows = rows
        self._metrics = metrics
        self._note = note
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
            candidate = await self._maker.begin(machine, in_use, version, rule=rule, who=who, why=why)
            state = candidate.state
            details = {"version": state.version, "in_use": state.in_use}
            await run_in_threadpool(
                lambda: self._note(
                    machine_id, "shadow_started", at_s=state.started_s, who=who, why=why, details={**details}
                )
            )
            await run_in_threadpool(write_candidate, self._rows, candidate)
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
            write_candidate(self._rows, candidate)
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
                write_candidate(self._rows, candidate)
            except StateUnusable as error:
                _log.error("candidate not saved", machine_id=candidate.machine_id, reason=str(error))

    def estimate(self) -> None:
        """Estimate the false alarms a week of candidates that heard more (blocking)."""
        for candidate in list(self._candidates.values()):
            estimate_anew(candidate, self._registry.repository, scores=self.scores, estimate=self._estimate)

    async def close(self) -> None:
        """Finish what ends by itself; candidates go on with the next run."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    def conclude(self) -> None:
        """Write all that waits: no sound comes any more (blocking)."""
        for candidate in list(self._candidates.values()):
            candidate.conclude()
        self.flush()

    async def _restore(self) -> None:
        """Take up what is kept. Raises :class:`StateUnusable`."""
        if self._restored:
            return
        for kept in await run_in_threadpool(read_candidates, self._rows):
            self._attach(await self._maker.take_up(kept))
        self._restored = True
        self.follow_models(self._registry.current)

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

    def _forget(self, candidate: Candidate) -> None:
        write_candidate(self._rows, candidate)
        if candidate.machine_id not in self._candidates:  # else another was started meanwhile
            self._rows.remove(candidate.machine_id)
