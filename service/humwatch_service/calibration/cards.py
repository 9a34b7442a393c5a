"""The progress and the report of a calibration from live sound, as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from humwatch.bundle.manifest import Manifest
from humwatch.calibration.calibration_buffer import RECORDING_S
from humwatch.calibration.collector import MIN_MINUTES, CollectorProgress, NormalCollector
from humwatch.detectors.normal_level import CONFIDENCE
from humwatch.detectors.thresholds import DEFAULT_METHOD, recordings_needed
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.models.cards import CalibrationFacts, DetectorFacts, detector_facts
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.recalibration import RecalibrationRequest
from humwatch_service.models.registry import LoadedModel

MUCH_REJECTED: Final = 0.2
"""Share of the sound that came; beyond it the report advises to look at the source."""
DAY_S: Final = 86_400.0


class SourceTrouble(BaseModel):
    """A fault of the source."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(description="stable name of the fault, for programs")
    message: str = Field(description="the fault in words")


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


@dataclass(frozen=True)
class RunningCalibration:
    """A calibration that goes on.

    Attributes:
        machine_id: id of the machine that is calibrated.
        model: model with the network to use.
        collector: collector of its sound.
        request: request for the new bundle; the version is numbered when it is made.
        planned_bytes: most memory for the evidence, bytes.
        started_s: time of the start, seconds since 1970.
        who: person who started it.
        why: reason for it.
    """

    machine_id: str
    model: LoadedModel
    collector: NormalCollector
    request: RecalibrationRequest
    planned_bytes: int
    started_s: float
    who: str
    why: str


def plan_of(running: RunningCalibration) -> Mapping[str, JsonValue]:
    """Return the details of a calibration for the audit trail."""
    spec, source = running.request.spec, running.model.manifest
    return {
        "from_machine": source.machine_id,
        "from_version": source.version,
        "score": running.collector.spec.scoring.kind,
        "warn_rate": spec.warn_rate,
        "alarm_rate": spec.alarm_rate,
        "minutes": running.collector.progress.minutes,
        "wanted_minutes": running.collector.minutes,
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


def progress_of(running: RunningCalibration, collected: CollectorProgress, *, finishing: bool) -> CalibrationProgress:
    """Return the progress of a calibration."""
    spec, source = running.request.spec, running.model.manifest
    rate = _promised_rate(collected.minutes, spec)
    clips_a_day = DAY_S / source.windows.clip_seconds
    return CalibrationProgress(
        machine_id=running.machine_id,
        from_machine=source.machine_id,
        from_version=source.version,
        score=running.collector.spec.scoring.kind,
        warn_rate=spec.warn_rate,
        alarm_rate=spec.alarm_rate,
        started_s=running.started_s,
        who=running.who,
        why=running.why,
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
    )


def report_of(
    running: RunningCalibration, manifest: Manifest, collected: CollectorProgress, *, activated: bool
) -> CalibrationReport:
    """Return the report of a calibration that made a bundle."""
    source = running.model.manifest
    clip = manifest.clip
    return CalibrationReport(
        machine_id=manifest.machine_id,
        version=manifest.version,
        activated=activated,
        from_machine=source.machine_id,
        from_version=source.version,
        score=manifest.scoring.kind,
        detectors=detector_facts(clip),
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        raw_median=clip.median,
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        minutes_needed=_minutes_needed(running.request.spec),
        prior_recordings=manifest.calibration.prior_recordings,
        quietest_dbfs=manifest.calibration.quietest_dbfs,
        calibration=CalibrationFacts.of(manifest),
        collected_s=collected.collected_s,
        rejected_s=collected.rejected_s,
        rejected=dict(collected.rejected),
        warnings=[*manifest.calibration.warnings, *_concerns(collected)],
    )


def _concerns(collected: CollectorProgress) -> list[str]:
    found = []
    total_s = collected.rejected_s + collected.minutes * RECORDING_S
    if collected.rejected_s > MUCH_REJECTED * total_s:
        worst = max(collected.rejected, key=lambda reason: collected.rejected[reason])
        found.append(f"{collected.rejected_s / total_s:.0%} of the sound was not used, most of it for `{worst}`")
    return found
