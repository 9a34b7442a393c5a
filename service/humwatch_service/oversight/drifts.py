"""Drift of live machines: judged a few times a day, named once and ended once, and proposed to be calibrated anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.drift.hours import HourTable
from humwatch.drift.judge import HOUR_S, Drift, judge_drift
from humwatch.live.model import LiveModel
from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.oversight.recorder import model_of, normal_of
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger

JUDGED_EVERY_S: Final = 6 * 3_600.0
MOST_AT_ONCE: Final = 2
"""Machines that one turn judges, some 50 ms each: turns share their thread with others that may not wait."""
NAMED: Final = "drift_named"
OVER: Final = "drift_over"

_log = event_logger("humwatch.oversight")

_KINDS: Final = {
    "all_bands": "all bands moved alike, as by another gain, microphone or distance",
    "tilt": "low bands moved against high ones, as by another microphone or something before it",
    "some_bands": "some bands moved, as by the machine itself or its surroundings",
    "score": "no band moved, but the score did",
}


class CalibrationProposal(BaseModel):
    """Order that calibrates the machine anew, ready to be sent; it is never sent by itself.

    What is heard from then on is taken for normal: look at the machine first.
    """

    model_config = ConfigDict(frozen=True)

    method: Literal["POST"] = "POST"
    path: str = Field(description="where to send it")
    body: dict[str, str] = Field(description="what to send, but for `who`: the operator who orders it")
    replaces_version: str = Field(description="version in use; it is kept, and one rollback away")
    compare: str = Field(description="where both versions stand beside each other afterwards")


class DriftReport(Drift):
    """Drift of a machine from its version in use."""

    machine_id: str = Field(description="id of the machine")
    model_version: str = Field(description="version in use")
    judged_s: float = Field(description="when it was judged, seconds since 1970 (UTC)")
    named_s: float | None = Field(description="when the drift was first named; null without one")
    summary: str = Field(description="the answer in a sentence")
    proposal: CalibrationProposal | None = Field(description="what would make it normal; null without a drift")


@dataclass
class _Judged:
    """What was last made of a machine."""

    normal: str
    at_s: float
    drift: Drift
    named_s: float | None


class Drifts:
    """Drift of all machines. Thread-safe; every method blocks on the database."""

    def __init__(
        self,
        store: StateStore,
        metrics: LiveMetrics,
        *,
        flush: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nothing judged.

        Args:
            store: database with the hours.
            metrics: metrics of machines.
            flush: writer of the hours so far.
            clock: clock, seconds since 1970.
        """
        self._store = store
        self._metrics = metrics
        self._flush = flush
        self._clock = clock
        self._lock = threading.Lock()
        self._judged: dict[str, _Judged] = {}

    def judge_due(self, machines: Iterable[LiveMachine]) -> None:
        """Judge a few of the machines that were not judged for long, or use another calibration since."""
        now_s = self._clock()
        due = [machine for machine in machines if machine.model is not None and self._is_due(machine, now_s)]
        due.sort(key=lambda machine: self._judged[machine.machine_id].at_s if machine.machine_id in self._judged else 0)
        for machine in due[:MOST_AT_ONCE]:
            try:
                self.judge(machine)
            except StateUnusable as error:
                _log.error("drift not judged", machine_id=machine.machine_id, code=error.code, reason=str(error))
                return

    def report(self, machine: LiveMachine) -> DriftReport:
        """Judge a machine now, and return its report. Raises MachineUnavailable, StateUnusable."""
        self._flush()
        model = model_of(machine)
        judged = self.judge(machine)
        machine_id, version = machine.machine_id, model.bundle.manifest.version
        return DriftReport(
            **judged.drift.model_dump(),
            machine_id=machine_id,
            model_version=version,
            judged_s=judged.at_s,
            named_s=judged.named_s,
            summary=summary_of(judged.drift),
            proposal=_proposal(machine_id, version, judged.drift) if judged.drift.state == "drifted" else None,
        )

    def judge(self, machine: LiveMachine) -> _Judged:
        """Judge a machine now; name a drift that is new, and end one that is over.

        Raises:
            MachineUnavailable: it has no model.
            StateUnusable: the database cannot be read or written.
        """
        model = model_of(machine)
        with self._lock:
            now_s, normal = self._clock(), normal_of(model)
            named_s = self._named_s(machine.machine_id, normal)
            table = HourTable.of(self._store.normal_hours(machine.machine_id, normal))
            edges_hz = model.bundle.manifest.pipeline.band_edges_hz
            drift = judge_drift(table, edges_hz, int(now_s // HOUR_S), named=named_s is not None)
            drifted = drift.state == "drifted"
            if drifted and named_s is None:
                named_s = now_s
                self._note(machine.machine_id, NAMED, now_s, model, drift)
            elif not drifted and named_s is not None:
                named_s = None
                self._note(machine.machine_id, OVER, now_s, model, drift)
            judged = self._judged[machine.machine_id] = _Judged(normal, now_s, drift, named_s)
            self._metrics.show_drift(machine.machine_id, drift.state, drift.since_s)
            since_s = drift.since_s
            machine.drift = None if since_s is None else (since_s, summary_of(drift))
            return judged

    def _is_due(self, machine: LiveMachine, now_s: float) -> bool:
        judged = self._judged.get(machine.machine_id)
        if judged is None or machine.model is None or judged.normal != normal_of(machine.model):
            return True
        return now_s - judged.at_s >= JUDGED_EVERY_S

    def _named_s(self, machine_id: str, normal: str) -> float | None:
        """Return when the drift from this calibration was named; a drift from another one is over."""
        judged = self._judged.get(machine_id)
        if judged is not None and judged.normal == normal:
            return judged.named_s
        last = self._store.last_event(machine_id, (NAMED, OVER))
        if last is None or last.kind == OVER:
            return None
        if last.details.get("normal") == normal:
            return last.at_s
        self._store.note(
            machine_id, OVER, self._clock(), None, None, details={"normal": normal, "because": "another calibration"}
        )
        _log.info("drift over", machine_id=machine_id, because="another calibration")
        return None

    def _note(self, machine_id: str, kind: str, at_s: float, model: LiveModel, drift: Drift) -> None:
        self._store.note(
            machine_id,
            kind,
            at_s,
            None,
            None,
            details={
                "normal": normal_of(model),
                "version": model.bundle.manifest.version,
                "drift": drift.model_dump(mode="json"),
            },
        )
        if kind == NAMED:
            _log.warning("drift named", machine_id=machine_id, summary=summary_of(drift), since_s=drift.since_s)
        else:
            _log.info("drift over", machine_id=machine_id, because="as before again")


def summary_of(drift: Drift) -> str:
    """Return a judgement as a sentence."""
    if drift.state == "too_little":
        return f"too little to tell: {drift.days} of {drift.days_needed} whole days"
    if drift.kind is None or drift.since_s is None or drift.since_low_s is None or drift.since_high_s is None:
        return f"no drift in {drift.days} days"
    bands = "; ".join(f"{each.low_hz:.0f} to {each.high_hz:.0f} Hz {each.shift_db:+.1f} dB" for each in drift.bands[:3])
    what = bands or f"score {drift.score_shift:+.2f}"
    since, low, high = (
        time.strftime("%Y-%m-%d", time.gmtime(at_s)) for at_s in (drift.since_s, drift.since_low_s, drift.since_high_s)
    )
    between = "" if low == high else f" (between {low} and {high})"
    return f"{_KINDS[drift.kind]}: {what}, {'at once on' if drift.shape == 'step' else 'slowly since'} {since}{between}"


def _proposal(machine_id: str, version: str, drift: Drift) -> CalibrationProposal:
    return CalibrationProposal(
        path=f"/v1/machines/{machine_id}/calibration",
        body={"why": f"drift: {summary_of(drift)}"[:500]},
        replaces_version=version,
        compare=f"/v1/machines/{machine_id}/versions",
    )
