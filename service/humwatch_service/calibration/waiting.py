"""What a commissioning waits for: sound, a candidate, the end of the declared period, or an operator."""

from __future__ import annotations

from typing import Literal, NamedTuple

from humwatch_service.calibration.commissioning import Commissioning

WaitsFor = Literal["sound", "candidate", "period", "operator"]


class Waiting(NamedTuple):
    """What a commissioning waits for, and why."""

    waits_for: WaitsFor
    why: str


def waiting_of(running: Commissioning) -> Waiting:
    """Return what a commissioning waits for now."""
    stage, verdict, plan = running.last_stage, running.verdict, running.record.plan
    if stage is not None and not stage.provisional:
        if stage.state == "candidate":
            return Waiting("candidate", f"version {stage.version}: {verdict.reason if verdict else stage.reason}")
        return Waiting("operator", f"accept version {stage.version}: {stage.reason}")
    if not running.plan_over:
        if running.period_over:
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
