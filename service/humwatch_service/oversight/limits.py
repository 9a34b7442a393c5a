"""Limits of the alarm rule anew, from what the version in use has scored: the same arrays, another decision."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from humwatch.errors import OperationRefused
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.estimate import fit_decision
from humwatch.false_alarms.scores import NormalScores
from humwatch_service.live.machine import LiveMachine
from humwatch_service.models.registry import ModelRegistry
from humwatch_service.models.revision import revised
from humwatch_service.models.versions import ModelVersions
from humwatch_service.oversight.recorder import model_of
from humwatch_service.storage.alarm_pages import every_alarm
from humwatch_service.storage.store import StateStore

DAY_S: Final = 86_400.0
MAX_DAYS: Final = 30.0
"""As long as scores by the second are kept."""
_NAMED: Final = 5


class LimitsReport(BaseModel):
    """What new limits were made of, and the version that has them."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="id of the machine")
    version: str = Field(description="the new version: statistics and levels as before, with these limits")
    from_version: str = Field(description="version whose scores they were fitted to")
    activated: bool = Field(description="whether it is used from now on; else it can run beside the one in use first")
    since_s: float = Field(description="first sound that counted, seconds since 1970")
    until_s: float = Field(description="last sound that counted")
    decision: Decision = Field(description="limits, and the false alarms a week that they are expected to cost")


class LimitsFit:
    """Fits of limits to live scores. Belongs to the event loop.

    Args:
        store: database of alarms.
        registry: models in use.
        versions: versions of models, to which new ones are added.
        scores: normal live scores of a machine by a version (blocking); without those of alarms that were right.
        clock: source of the time, seconds since 1970.
    """

    def __init__(
        self,
        store: StateStore,
        registry: ModelRegistry,
        versions: ModelVersions,
        *,
        scores: Callable[[str, str], NormalScores],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._registry = registry
        self._versions = versions
        self._scores = scores
        self._clock = clock

    async def fit(
        self, machine: LiveMachine, *, days: float, wanted_a_week: float | None, activate: bool, who: str, why: str
    ) -> LimitsReport:
        """Make a version with limits that are fitted to the last days of the version in use.

        Args:
            machine: machine with the version in use.
            days: days up to now whose sound was normal, but for alarms that were judged right.
            wanted_a_week: false alarms a week; None for what the machine's rule asks for.
            activate: True to use it from now on.
            who: person who says that these days were normal.
            why: reason for it.

        Raises:
            MachineUnavailable: the machine has no model.
            OperationRefused: alarms of these days were judged by nobody: whether they are normal sound is not known.
            CalibrationError: too little was scored.
            RepositoryError, BundleError, StateUnusable: it cannot be written, or not audited.
        """
        old = model_of(machine).bundle.manifest
        in_use = old.version
        since_s = self._clock() - days * DAY_S
        wanted = machine.alarm.rule.false_alarms_a_week if wanted_a_week is None else wanted_a_week
        await run_in_threadpool(self._refuse_if_unjudged, machine.machine_id, since_s)
        decision, span = await run_in_threadpool(self._decision, machine.machine_id, in_use, since_s, wanted)
        repository = self._registry.repository
        manifest, graph, arrays = await run_in_threadpool(
            lambda: revised(
                repository,
                machine.machine_id,
                in_use,
                new_version=repository.next_version(machine.machine_id),
                decision=decision,
                commissioning=old.commissioning,
            )
        )
        await self._versions.add(
            manifest,
            graph,
            arrays,
            activate=activate,
            who=who,
            why=why,
            details={"from_version": in_use, "days": days, "wanted_a_week": wanted, "since_s": span[0]},
            kind="limits_fitted",
        )
        return LimitsReport(
            machine_id=machine.machine_id,
            version=manifest.version,
            from_version=in_use,
            activated=activate,
            since_s=span[0],
            until_s=span[1],
            decision=decision,
        )

    def _refuse_if_unjudged(self, machine_id: str, since_s: float) -> None:
        alarms = every_alarm(self._store, machine_id=machine_id, since_s=since_s)
        unjudged = [alarm.id for alarm in alarms if alarm.feedback is None or alarm.feedback.verdict == "unsure"]
        if unjudged:
            named = ", ".join(unjudged[:_NAMED]) + (", ..." if len(unjudged) > _NAMED else "")
            raise OperationRefused(
                f"{len(unjudged)} alarm(s) since then are not judged ({named}): say of each whether it was right, or"
                " take fewer days, for limits are fitted to normal sound alone"
            )

    def _decision(
        self, machine_id: str, version: str, since_s: float, wanted_a_week: float
    ) -> tuple[Decision, tuple[float, float]]:
        scores = self._scores(machine_id, version).between(since_s, math.inf)
        decision = fit_decision(scores, wanted_a_week=wanted_a_week)
        last = scores.segments[-1]
        return decision, (scores.segments[0].start_s, last.start_s + scores.step_s * len(last.scores))
