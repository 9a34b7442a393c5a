"""False alarms of live machines: what was promised beside what operators saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule
from humwatch.false_alarms.decision import FalseAlarmRate, decision_under
from humwatch.false_alarms.estimate import expected_rate
from humwatch.false_alarms.scores import NormalScores
from humwatch.false_alarms.seen import AlarmCounts, SeenRate, seen_rate
from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.oversight.recorder import model_of, rule_key
from humwatch_service.storage.alarm_pages import every_alarm
from humwatch_service.storage.store import StateStore
from humwatch_service.storage.watches import Watch
from humwatch_service.telemetry.logs import event_logger

MOST_ALARMS: Final = 10_000
"""Most alarms that are looked at; a machine with more since its version is in use has other troubles."""

_log = event_logger("humwatch.oversight")


class FalseAlarmReport(BaseModel):
    """False alarms of a machine by its version and rule in force: promised, and seen."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="id of the machine")
    model_version: str = Field(description="version in use")
    rule: AlarmRule = Field(description="in force")
    since_s: float | None = Field(description="first sound by this version and rule, seconds since 1970; null: none")
    watched_s: float = Field(description="sound that was scored since then, seconds")
    alarms: AlarmCounts = Field(description="raised since then")
    expected: FalseAlarmRate | None = Field(
        description="what the rule in force is expected to raise, estimated now from all that the version scored on"
        " live sound so far; sound of alarms that were right is left out. Null: the version has scored nothing"
    )
    promised: FalseAlarmRate | None = Field(
        description="what the version expects of its sequential rule; null where it has no limits, or another rule"
    )
    seen: SeenRate = Field(description="what operators saw, and what that says of the promise")


class SeenFalseAlarms:
    """What became of promises. Thread-safe; every method blocks on the database."""

    def __init__(
        self,
        store: StateStore,
        metrics: LiveMetrics,
        *,
        flush: Callable[[], None],
        scores: Callable[[str, str], NormalScores],
    ) -> None:
        """Read what was seen from the database.

        Args:
            store: database of alarms, and of the time watched.
            metrics: metrics of machines.
            flush: writer of the time watched so far.
            scores: normal live scores of a machine by a version.
        """
        self._store = store
        self._metrics = metrics
        self._flush = flush
        self._scores = scores

    def report(self, machine: LiveMachine) -> FalseAlarmReport:
        """Return what was promised and seen, and what is expected now; the metrics show the same.

        Raises:
            MachineUnavailable: it has no model.
            StateUnusable: the database cannot be read.
        """
        self._flush()
        report = self._report(machine)
        scores = self._scores(machine.machine_id, report.model_version)
        if not scores.segments:
            return report
        rule = report.rule
        expected = expected_rate(scores, rule, machine.alarm.limits, wanted_a_week=rule.false_alarms_a_week)
        return report.model_copy(update={"expected": expected})

    def measure(self, machines: Iterable[LiveMachine]) -> None:
        """Show what was seen in the metrics."""
        self._flush()
        for machine in machines:
            if machine.model is None:
                continue
            try:
                self._report(machine)
            except StateUnusable as error:
                _log.error("false alarms not counted", code=error.code, reason=str(error))
                return

    def _report(self, machine: LiveMachine) -> FalseAlarmReport:
        rule, bundle = machine.alarm.rule, model_of(machine).bundle
        decision = decision_under(rule, bundle.manifest.decision)
        watch = self._store.watch(machine.machine_id, bundle.digest, rule_key(rule))
        alarms = AlarmCounts() if watch is None else self._counts(watch, rule)
        promised = None if decision is None else decision.rate
        watched_s = 0.0 if watch is None else watch.watched_s
        wanted = promised.wanted_a_week if promised is not None and promised.promised else None
        seen = seen_rate(alarms, watched_s, wanted)
        self._metrics.show_false_alarms(
            machine.machine_id, alarms, watched_s=watched_s, promised_a_week=wanted, low_a_week=seen.low_a_week
        )
        return FalseAlarmReport(
            machine_id=machine.machine_id,
            model_version=bundle.manifest.version,
            rule=rule,
            since_s=None if watch is None else watch.since_s,
            watched_s=watched_s,
            alarms=alarms,
            expected=None,
            promised=promised,
            seen=seen,
        )

    def _counts(self, watch: Watch, rule: AlarmRule) -> AlarmCounts:
        counts = dict.fromkeys(AlarmCounts.model_fields, 0)
        found = every_alarm(self._store, machine_id=watch.machine_id, since_s=watch.since_s - 1.0)
        for alarm in islice(found, MOST_ALARMS):
            context = alarm.context
            if context is not None and context.model_sha256 == watch.version_sha256 and context.rule == rule:
                counts["unjudged" if alarm.feedback is None else alarm.feedback.verdict] += 1
        return AlarmCounts(**counts)
