"""Candidates as they begin: of a version that somebody chose, or as they were before a restart."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from humwatch.alarm.rule import AlarmRule
from humwatch.errors import HumwatchError, OperationRefused
from humwatch.live.model import LiveModel
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machines import LiveMachines
from humwatch_service.models.registry import LoadedModel, ModelRegistry
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.shadow.candidate_state import CandidateState
from humwatch_service.shadow.comparison import Comparison
from humwatch_service.shadow.kept_candidates import KeptCandidate
from humwatch_service.shadow.matching import By
from humwatch_service.storage.records import alarm_id_of
from humwatch_service.streams.audio_ring import Sound


class CandidateMaker:
    """Maker of candidates. Belongs to the event loop.

    Attributes:
        make_model: maker of the model of a live stream.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        machines: LiveMachines,
        load: Load,
        *,
        make_model: Callable[[LoadedModel], LiveModel],
        on_settled: Callable[[str, By], None],
        on_sound: Callable[[str, str, Sound, int], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make candidates of these models.

        Args:
            registry: models.
            machines: live machines.
            load: load of the service.
            make_model: maker of the model of a live stream.
            on_settled: callback for each episode that is counted, with the machine's id.
            on_sound: writer of a sound of a machine by its name, with its rate in Hz; must not block.
            clock: wall clock, seconds since 1970.
        """
        self._registry = registry
        self._machines = machines
        self._load = load
        self.make_model = make_model
        self._on_settled = on_settled
        self._on_sound = on_sound
        self._clock = clock

    async def begin(
        self, machine: LiveMachine, in_use: LoadedModel, version: str, *, rule: AlarmRule | None, who: str, why: str
    ) -> Candidate:
        """Return a candidate that takes up what is in force of the version in use.

        Args:
            machine: machine.
            in_use: version that it is compared with.
            version: the candidate.
            rule: rule of the candidate; None for the machine's own.
            who: operator who starts it.
            why: the reason.

        Raises:
            RepositoryError, BundleError, PredictorError: there is no such version, or it fails a check.
            OperationRefused: it is in use, under the same rule.
            Overloaded: the processors have no time for it.
        """
        chosen = rule or machine.rule
        if version == in_use.manifest.version and chosen == machine.rule:
            raise OperationRefused(f"version {version} is in use")
        loaded = await run_in_threadpool(self._registry.load, machine.machine_id, version)
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
        candidate = self._candidate(machine.machine_id, state, Comparison(), self.make_model(loaded))
        with machine.lock:
            active = machine.alarm.snapshot.active
            out = machine.state == "out_of_service"
        if active is not None:
            alarm_id = alarm_id_of(machine.machine_id, active.number)
            candidate.comparison.raised("old", active.raised_s, alarm_id=alarm_id)
        candidate.follow_service(out=out, at_s=state.started_s)
        return candidate

    async def take_up(self, kept: KeptCandidate) -> Candidate:
        """Return a candidate as it was before a restart; one whose version cannot be had any more has failed."""
        (machine_id, state, comparison), model = kept, None
        if state.failure is None:
            try:
                loaded = await run_in_threadpool(self._registry.load, machine_id, state.version)
                model = self.make_model(loaded)
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

    def _candidate(
        self, machine_id: str, state: CandidateState, comparison: Comparison, model: LiveModel | None
    ) -> Candidate:
        return Candidate(
            machine_id,
            state,
            comparison,
            model,
            on_settled=lambda by: self._on_settled(machine_id, by),
            on_sound=lambda name, sound, rate_hz: self._on_sound(machine_id, name, sound, rate_hz),
        )

    def _refuse_if_full(self, machine: LiveMachine, loaded: LoadedModel) -> None:
        if not machine.is_fed:
            return
        live = len(self._machines.fed)
        refusal = self._load.refusal(loaded.stream_s, live)
        if refusal is not None:
            raise refusal
        self._load.on_admission(loaded.stream_s, live)
