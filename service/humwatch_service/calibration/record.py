"""What is known of a commissioning, as it is on the disk."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.bundle.manifest import MachineId, Version
from humwatch.calibration.plan import CollectionPlan
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.thresholds import DEFAULT_METHOD, recordings_needed
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.models.levels import FalseAlarms, Levels

Acceptance = Literal["automatic", "operator"]
StageState = Literal["candidate", "waiting", "active", "replaced"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageCard(_Record):
    """A version that a commissioning made."""

    stage: int = Field(description="number of the stage, from 1")
    minutes: int = Field(description="minutes of normal sound that it rests on; odd ones are not among them")
    collected: int = Field(description="minutes that there were when it was made")
    minute_numbers: list[int] = Field(description="numbers of the minutes that it rests on")
    whole_plan: bool = Field(description="whether no more minutes come")
    version: Version = Field(description="version of the machine's model")
    provisional: bool = Field(description="whether another version follows: it is no last one")
    state: StageState = Field(
        description="`active`: it judges; `candidate`: it scores beside the version in use, or will; `waiting`: an"
        " operator has to accept it; `replaced`: a later stage, or another version, took its place"
    )
    reason: str = Field(description="why it is in this state")
    made_s: float = Field(description="when it was made, by the time of the sound, seconds since 1970")
    since_s: float = Field(description="since when it is in this state")
    used_s: float | None = Field(description="when it was used first; null: never so far")
    thresholds: Levels = Field(description="levels of a clip on the normalised scale; `alarm` is 1")
    raw_thresholds: Levels = Field(description="the same on the raw scale, which is the version's own")
    expected_false_alarms_a_day: FalseAlarms = Field(description="what the alarm level costs on normal sound, in clips")
    false_alarms_a_week: float | None = Field(
        description="alarms a week that its limits are expected to raise; null where it has no limits"
    )
    promised: bool = Field(description="whether its sound suffices to promise the false alarms that were asked for")
    decision_reason: str | None = Field(description="why it has no limits of its own, or none that are promised")


class MinuteBand(_Record):
    """A band in which a minute departs from the others."""

    low_hz: float = Field(description="lower edge, Hz")
    high_hz: float = Field(description="upper edge, Hz")
    share: float = Field(description="its share in the score, 0 to 1")


class OddMinuteCard(_Record):
    """A minute that is held back until somebody has listened to it."""

    number: int = Field(description="number of the minute")
    at_s: float = Field(description="when it began, seconds since 1970")
    why: Literal["score", "alarm"] = Field(
        description="`score`: it lies far over the level of the others; `alarm`: an alarm was in force"
    )
    score: float | None = Field(description="by the level of the others: 1 is their alarm level; null where not fitted")
    detector: DetectorName | None = Field(description="detector that gave that score")
    bands: list[MinuteBand] = Field(description="bands with the largest shares in it")
    sound: bool = Field(description="whether its sound is kept: `.../calibration/minutes/<number>.flac`")


class LostMinute(_Record):
    """A minute that is not used any more."""

    number: int = Field(description="number of the minute")
    reason: str = Field(description="why: somebody threw it out, or its file is damaged")


class CommissioningRecord(_Record):
    """A commissioning, but for its minutes."""

    form: Literal[1] = 1
    machine_id: MachineId
    from_machine: MachineId
    from_version: Version
    source: str = Field(description="network and front end of the evidence")
    score: ScoreKind
    channel: int
    spec: CalibrationSpec
    plan: CollectionPlan
    accept: Acceptance
    stage_minutes: list[int]
    who: str
    why: str
    started_s: float
    stages: list[StageCard] = []
    making: StageCard | None = Field(None, description="a version that a service that is killed meanwhile may find")
    odd: list[OddMinuteCard] = []
    alarmed: list[int] = []
    kept: list[int] = []
    lost: list[LostMinute] = []
    last_number: int = 0
    heard_s: float | None = None
    float_scale: float | None = Field(None, description="factor for float samples; null before any were heard")
    rejected_s: float = 0.0
    rejected: dict[str, float] = {}

    @property
    def minutes_needed(self) -> int:
        """Minutes from which the alarm rate that was asked for can be promised."""
        method = DEFAULT_METHOD if self.spec.method == "auto" else self.spec.method
        return recordings_needed(self.spec.alarm_rate, method)

    @property
    def in_alarm(self) -> set[int]:
        """Numbers of the minutes in which an alarm was in force, but for those that an operator kept."""
        return set(self.alarmed) - set(self.kept)
