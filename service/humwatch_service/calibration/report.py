"""What a calibration from live sound made, as JSON."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.bundle.manifest import Manifest
from humwatch.calibration.calibration_buffer import RECORDING_S
from humwatch.calibration.collector_progress import CollectorProgress
from humwatch.false_alarms.decision import Decision
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.record import CommissioningRecord, LostMinute, OddMinuteCard, StageCard
from humwatch_service.models.cards import CalibrationFacts, DetectorFacts, detector_facts
from humwatch_service.models.levels import FalseAlarms, Levels

MUCH_REJECTED: Final = 0.2
"""Share of the sound that came; beyond it the report advises to look at the source."""


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
        minutes_needed=record.minutes_needed,
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
