"""The progress and the report of a calibration from live sound, as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from humwatch.bundle.manifest import Manifest
from humwatch.calibration.calibration_buffer import RECORDING_S
from humwatch.calibration.collector import CollectorProgress
from humwatch.calibration.plan import MIN_MINUTES, PlanKind
from humwatch.detectors.normal_level import CONFIDENCE
from humwatch.detectors.thresholds import DEFAULT_METHOD, recordings_needed
from humwatch.false_alarms.decision import Decision
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.record import Acceptance, CommissioningRecord, LostMinute, OddMinuteCard, StageCard
from humwatch_service.models.cards import CalibrationFacts, DetectorFacts, detector_facts
from humwatch_service.models.levels import FalseAlarms, Levels

MUCH_REJECTED: Final = 0.2
"""Share of the sound that came; beyond it the report advises to look at the source."""
DAY_S: Final = 86_400.0

WaitsFor = Literal["sound", "candidate", "period", "operator"]


class Waiting(NamedTuple):
    """What a commissioning waits for, and why."""

    waits_for: WaitsFor
    why: str


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


class CalibrationReport(BaseModel):
    """What a calibration made."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="machine that was calibrated")
    version: str = Field(description="the new version of its model")
    activated: bool = Field(description="whether it is the one to be used from now on")
    from_machine: str = Field(description="machine whose network is used")
    from_version: str = Field(description="version of that machine's model")
    score: ScoreKind = Field(description="which score the new version uses")
    detectors: list[DetectorFacts] = Field(
        description="detectors that share the false alarms, on the scale of clips; empty where one score decides alone"
    )
    thresholds: Levels = Field(description="levels of a clip on the normalised scale; `alarm` is 1")
    raw_thresholds: Levels = Field(description="the same on the raw scale")
    raw_median: float = Field(description="raw score of the median normal clip: normalised score 0")
    expected_false_alarms_a_day: FalseAlarms = Field(description="what the alarm level costs on normal sound")
    minutes_needed: int = Field(description="minutes from which the alarm rate that was asked for can be promised")
    prior_recordings: int = Field(description="recordings of other machines of the type that lend their spread")
    quietest_dbfs: float | None = Field(
        description="level of the quietest second, dBFS: a machine much quieter than this is `off`"
    )
    calibration: CalibrationFacts = Field(description="what the thresholds rest on")
    collected_s: float = Field(description="sound in whole clips, seconds")
    rejected_s: float = Field(description="sound that came and was not used, seconds")
    rejected: dict[str, float] = Field(description="the same for each reason, seconds")
    warnings: list[str] = Field(description="what the thresholds cannot promise, and what should be looked at")
    decision: Decision | None = Field(
        description="limits of alarms, and the false alarms a week that they cost, if any"
    )
    decision_reason: str | None = Field(description="why there are no limits, or none that are promised; else null")
    stages: list[StageCard] = Field(description="the versions that were made, the first one first")
    odd_minutes: list[OddMinuteCard] = Field(description="minutes that were left out, because nobody judged them")
    lost_minutes: list[LostMinute] = Field(description="minutes that were thrown out, or whose files are damaged")


def details_of(running: Commissioning) -> Mapping[str, JsonValue]:
    """Return the details of a calibration for the audit trail."""
    record = running.record
    return {
        "from_machine": record.from_machine,
        "from_version": record.from_version,
        "score": record.score,
        "warn_rate": record.spec.warn_rate,
        "alarm_rate": record.spec.alarm_rate,
        "plan": record.plan.kind,
        "accept": record.accept,
        "minutes": running.collector.progress.minutes,
        "wanted_minutes": record.plan.minutes,
    }


def _minutes_needed(spec: CalibrationSpec) -> int:
    return recordings_needed(spec.alarm_rate, DEFAULT_METHOD if spec.method == "auto" else spec.method)


def _promised_rate(minutes: int, spec: CalibrationSpec) -> float | None:
    """Return the lowest rate that so many recordings can keep; None for too few."""
    if minutes < MIN_MINUTES:
        return None
    if spec.method == "order_statistic":
        return -math.expm1(math.log(1.0 - CONFIDENCE) / minutes)
    return 1.0 / (minutes + 1)


def progress_of(running: Commissioning, *, finishing: bool, waits: Waiting) -> CalibrationProgress:
    """Return the progress of a calibration."""
    record, collected = running.record, running.progress
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
        minutes_needed=_minutes_needed(spec),
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


def report_of(
    running: Commissioning, manifest: Manifest, *, activated: bool, decision_reason: str | None
) -> CalibrationReport:
    """Return the report of a calibration that made a bundle."""
    record, collected = running.record, running.progress
    clip = manifest.clip
    return CalibrationReport(
        machine_id=manifest.machine_id,
        version=manifest.version,
        activated=activated,
        from_machine=record.from_machine,
        from_version=record.from_version,
        score=manifest.scoring.kind,
        detectors=detector_facts(clip),
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        raw_median=clip.median,
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        minutes_needed=_minutes_needed(record.spec),
        prior_recordings=manifest.calibration.prior_recordings,
        quietest_dbfs=manifest.calibration.quietest_dbfs,
        calibration=CalibrationFacts.of(manifest),
        collected_s=collected.collected_s,
        rejected_s=collected.rejected_s,
        rejected=dict(collected.rejected),
        warnings=[*manifest.calibration.warnings, *_concerns(collected), *_held_back(record)],
        decision=manifest.decision,
        decision_reason=decision_reason,
        stages=record.stages,
        odd_minutes=record.odd,
        lost_minutes=record.lost,
    )


def _concerns(collected: CollectorProgress) -> list[str]:
    found = []
    total_s = collected.rejected_s + collected.minutes * RECORDING_S
    if collected.rejected_s > MUCH_REJECTED * total_s:
        worst = max(collected.rejected, key=lambda reason: collected.rejected[reason])
        found.append(f"{collected.rejected_s / total_s:.0%} of the sound was not used, most of it for `{worst}`")
    return found


def _held_back(record: CommissioningRecord) -> list[str]:
    if not record.odd:
        return []
    return [f"{len(record.odd)} odd minute(s) were left out: nobody said that they are normal"]
