"""How far a calibration from live sound is, as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.calibration.collector_progress import CollectorProgress
from humwatch.calibration.plan import MIN_MINUTES, PlanKind
from humwatch.detectors.normal_level import CONFIDENCE
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.record import Acceptance, LostMinute, OddMinuteCard, StageCard
from humwatch_service.calibration.waiting import WaitsFor, waiting_of

DAY_S: Final = 86_400.0


class SourceTrouble(BaseModel):
    """A fault of the source."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(description="stable name of the fault, for programs")
    message: str = Field(description="the fault in words")


class PlanCard(BaseModel):
    """Which minutes are wanted, and when; all times are of the sound, seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    kind: PlanKind = Field(description="`in_a_row`, or spread over a `day` or a `week`")
    start_s: float = Field(description="no sound from before is used")
    collect_until_s: float | None = Field(description="no minute is wanted from then on; null: until all are there")
    normal_until_s: float | None = Field(description="end of the period that was declared normal; null: none was")
    at_once_minutes: int = Field(description="minutes that are wanted without a break from the start")
    stretch_s: float = Field(description="after these one minute is wanted in each stretch of so many seconds")
    stage_minutes: list[int] = Field(description="minutes from which a version is made; the last one rests on all")
    next_wanted_s: float | None = Field(
        description="from when the next minute is wanted; in the past while it is collected or waited for, null: never"
    )
    heard_s: float | None = Field(description="end of the last sound; null before any")
    minutes_by_hour: list[int] = Field(description="minutes by the hour of the day, 24, in the service's time zone")
    minutes_kept: int = Field(description="minutes that are on the disk; they outlive a restart")


class CalibrationProgress(BaseModel):
    """How far a calibration is, and what could be promised if it were finished now."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="machine that is calibrated")
    from_machine: str = Field(description="machine whose network is used")
    from_version: str = Field(description="version of that machine's model")
    score: ScoreKind = Field(description="which score the new version will use; decided at the start")
    warn_rate: float = Field(description="share of normal clips that may exceed `warn`")
    alarm_rate: float = Field(description="share of normal clips that may exceed `alarm`")
    started_s: float = Field(description="when it was started, seconds since 1970")
    who: str = Field(description="who started it")
    why: str = Field(description="the reason")
    minutes: int = Field(description="whole minutes of normal sound so far; each counts as one recording")
    wanted_minutes: int = Field(description="it stops collecting at these")
    collected_s: float = Field(description="sound in whole clips so far, seconds")
    wanted_s: float = Field(description="sound that is wanted, seconds")
    rejected_s: float = Field(description="sound that came and was not used, seconds")
    rejected: dict[str, float] = Field(
        description="the same for each reason, seconds: a fault of the source, `not_running` or `stream_changed`"
    )
    faults: list[SourceTrouble] = Field(description="what is wrong with the source now; nothing is collected meanwhile")
    level_dbfs: float | None = Field(description="level of the last second, dBFS; null before there was one")
    paused: bool = Field(description="whether the machine is said not to run; nothing is collected meanwhile")
    done: bool = Field(description="whether all minutes are there: finish it")
    finishing: bool = Field(description="whether the new version is being made right now")
    can_finish: bool = Field(description=f"whether the {MIN_MINUTES} minutes are there that thresholds need at least")
    promised_rate: float | None = Field(
        description="lowest share of normal clips over the alarm level that these minutes could promise; null: none yet"
    )
    promised_false_alarms_a_day: float | None = Field(
        description="the same as clips a day of running, clips that do not overlap"
    )
    minutes_needed: int = Field(description="minutes from which `alarm_rate` can be promised")
    plan: PlanCard = Field(description="which minutes are wanted, and when")
    accept: Acceptance = Field(
        description="`automatic`: a version is used by itself within the period that was declared normal, never after"
        " it; `operator`: each waits for `calibration:accept`"
    )
    stages: list[StageCard] = Field(description="the versions that were made so far, the first one first")
    odd_minutes: list[OddMinuteCard] = Field(
        description="minutes that are held back until an operator keeps them or throws them out"
    )
    lost_minutes: list[LostMinute] = Field(description="minutes that were thrown out, or whose files are damaged")
    provisional_since_s: float | None = Field(
        description="since when the machine is watched by a version that is no last one; null where it is not"
    )
    waits_for: WaitsFor = Field(
        description="`sound`: minutes are missing; `candidate`: a version scores beside the one in use; `period`: the"
        " last version scores until the declared period ends; `operator`: somebody has to act"
    )
    waits_why: str = Field(description="the same in words")
    trouble: str | None = Field(description="why minutes cannot be kept, or no version made; null while all is well")


def progress_of(running: Commissioning, *, finishing: bool) -> CalibrationProgress:
    """Return the progress of a calibration."""
    record, collected, waits = running.record, running.progress, waiting_of(running)
    spec = record.spec
    rate = _promised_rate(collected.minutes, spec)
    clips_a_day = DAY_S / running.pipeline.windows.clip_seconds
    return CalibrationProgress(
        machine_id=record.machine_id,
        from_machine=record.from_machine,
        from_version=record.from_version,
        score=record.score,
        warn_rate=spec.warn_rate,
        alarm_rate=spec.alarm_rate,
        started_s=record.started_s,
        who=record.who,
        why=record.why,
        minutes=collected.minutes,
        wanted_minutes=collected.wanted_minutes,
        collected_s=collected.collected_s,
        wanted_s=collected.wanted_s,
        rejected_s=collected.rejected_s,
        rejected=dict(collected.rejected),
        faults=[SourceTrouble(code=fault.code, message=fault.message) for fault in collected.faults],
        level_dbfs=collected.level_dbfs,
        paused=collected.paused,
        done=collected.done,
        finishing=finishing,
        can_finish=collected.minutes >= MIN_MINUTES,
        promised_rate=rate,
        promised_false_alarms_a_day=None if rate is None else rate * clips_a_day,
        minutes_needed=record.minutes_needed,
        plan=_plan_card(running, collected),
        accept=record.accept,
        stages=record.stages,
        odd_minutes=record.odd,
        lost_minutes=record.lost,
        provisional_since_s=_provisional_since(record.stages),
        waits_for=waits.waits_for,
        waits_why=waits.why,
        trouble=running.trouble,
    )


def _plan_card(running: Commissioning, collected: CollectorProgress) -> PlanCard:
    record, plan = running.record, running.record.plan
    times = list(running.times.values())
    hours = [0] * 24
    for at_s in times:
        hours[time.localtime(at_s).tm_hour] += 1
    return PlanCard(
        kind=plan.kind,
        start_s=plan.start_s,
        collect_until_s=plan.collect_until_s,
        normal_until_s=plan.until_s,
        at_once_minutes=plan.at_once,
        stretch_s=plan.stretch_s,
        stage_minutes=record.stage_minutes,
        next_wanted_s=collected.next_s,
        heard_s=collected.heard_s,
        minutes_by_hour=hours,
        minutes_kept=len(times),
    )


def _provisional_since(stages: Sequence[StageCard]) -> float | None:
    """Return since when versions that are no last ones judge; None where none does now."""
    if not any(stage.state == "active" and stage.provisional for stage in stages):
        return None
    used = [stage.used_s for stage in stages if stage.used_s is not None]
    return min(used, default=None)


def _promised_rate(minutes: int, spec: CalibrationSpec) -> float | None:
    """Return the lowest rate that so many recordings can keep; None for too few."""
    if minutes < MIN_MINUTES:
        return None
    if spec.method == "order_statistic":
        return -math.expm1(math.log(1.0 - CONFIDENCE) / minutes)
    return 1.0 / (minutes + 1)
