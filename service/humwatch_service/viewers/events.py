"""Server-sent events for viewers; ``docs/events.md`` is the specification."""

from __future__ import annotations

from typing import Final

from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import MachineState
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import ChartFinding
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.scoring.explain import BandRange
from humwatch_service.live.status import AlarmDecision, Fault
from humwatch_service.protocol.detections import LINE_MEANING

RETRY_MS: Final = 2_000
"""Time after which a browser connects again, milliseconds."""


class _EventData(BaseModel):
    model_config = ConfigDict(frozen=True)


class Tile(_EventData):
    """One machine, as far as it is shown among all."""

    machine_id: str = Field(description="id of the machine")
    machine_type: str | None = Field(description="what kind of machine it is; null while it has no model")
    model_version: str | None = Field(description="version of the model in use; null while it has none")
    state: MachineState = Field(description="what is shown")
    reasons: list[str] = Field(description="codes: why it is unknown, or why the score is doubtful")
    since_s: float | None = Field(description="when this state began, seconds since 1970; null: before the service did")
    score: float | None = Field(description="of the last clip: 0 is the median of normal, 1 the alarm level")
    step_score: float | None = Field(description="of the last second, on the step scale")
    warn_level: float = Field(description="score at which a warning begins")
    level_dbfs: float | None = Field(description="of the last second; null before any sound")
    heard_s: float | None = Field(description="end of the last sound that was scored, seconds since 1970 (UTC)")
    running: bool | None = Field(description="whether the machine runs; null: not known")
    faults: list[Fault] = Field(description="of the source")
    alarm_id: str | None = Field(description="alarm in force")
    alarm_since_s: float | None = Field(description="when the sound was heard that raised it, seconds since 1970")
    acknowledged: bool = Field(description="whether somebody has said that they know of that alarm")
    shelved_until_s: float | None = Field(description="nobody is told until then, seconds since 1970")
    out_of_service: bool = Field(description="whether it was taken out of service")
    connected: bool = Field(description="whether somebody feeds its stream now")
    listened: bool = Field(description="whether sound is expected: a stream fed it before, or a source is configured")
    commissioned: bool = Field(description="whether a commissioning goes on")
    provisional: bool = Field(description="whether the version that judges is provisional: its commissioning goes on")
    drifted: bool = Field(description="whether its normal sound has moved since the calibration")


class FleetNow(_EventData):
    """All machines. First event of the fleet's stream, and again where events were missed."""

    at_s: float = Field(description="seconds since 1970, by the service's clock")
    machines: list[Tile] = Field(description="every machine, by id")


class FleetChanges(_EventData):
    """Machines of which anything is new; once a second, also with nothing in it."""

    at_s: float = Field(description="seconds since 1970, by the service's clock")
    machines: list[Tile] = Field(description="what is new, whole machines, by id")
    gone: list[str] = Field(description="ids of machines that are not there any more")


class AlarmAnnouncement(_EventData):
    """Event of an alarm, or command of an operator; it is on the disk."""

    kind: str = Field(description="kind of the event")
    machine_id: str = Field(description="whose it is")
    alarm_id: str | None = Field(description="alarm that it is about; null where it is about none")
    at_s: float = Field(description="seconds since 1970 (UTC)")
    announced: bool = Field(description="whether people are to be told: false while shelved")


class MachineHello(_EventData):
    """Context of the events that follow. First event of a machine's stream, and again after a new model."""

    machine_id: str = Field(description="id of the machine")
    state: MachineState = Field(description="what is shown")
    warn_level: float = Field(description="score at which a warning begins")
    rule: AlarmRule = Field(description="in force")
    decision: AlarmDecision = Field(description="what the rule comes to with the model in use")
    model_version: str | None = Field(description="of the model that judges; null while there is none")
    bands_hz: list[tuple[float, float]] = Field(description="lower and upper edge of each of the F bands; empty so")
    column_s: float | None = Field(description="length of a column, seconds; null so")
    level_db: tuple[float, float] | None = Field(description="what 0 and 255 of `level` stand for, dB; null so")
    departure_db: float = Field(description="what 127 of `departure` stands for, dB; -127 for as much below")


class SoundStep(_EventData):
    """Sound of a step, usually a second."""

    start_s: float = Field(description="where the first column begins, seconds since 1970 (UTC)")
    end_s: float = Field(description="where the last column ends")
    columns: int = Field(description="how many there are")
    level: str = Field(description="base64 of uint8, `columns` times F bands, the lowest band first")
    departure: str = Field(description="base64 of int8, the same shape; -128: this band does not count")
    score: float | None = Field(description="of the clip that ends here; null before a whole one")
    step_score: float = Field(description="of this step alone, on the step scale")
    level_dbfs: float = Field(description="of the last second")
    state: MachineState = Field(description="of the machine, after this step")
    nearest: ChartFinding | None = Field(
        description="average that is nearest to its limit, after this step; null where the on-delay decides"
    )
    detector: DetectorName | None = Field(description="which detector decided `score`; null with it")
    irregular_times: list[IrregularTime] = Field(
        description="when the clip was irregular, seconds since 1970 (UTC), the largest share first; empty unless"
        " `rhythm` decided a score from the warning level on"
    )
    line: LineFinding | None = Field(description=LINE_MEANING)
    bands: list[BandRange] = Field(
        description="what makes most of the clip's score of `profile` or `error`, the largest first"
    )


class Tick(_EventData):
    """Sign of life: nothing else was sent for a second."""

    at_s: float = Field(description="seconds since 1970, by the service's clock")


class Missed(_EventData):
    """Number of events dropped for a client that read too slowly: the oldest that waited for it."""

    events: int = Field(description="how many")


def event_bytes(name: str, data: BaseModel, *, event_id: str | None = None, retry_ms: int | None = None) -> bytes:
    """Return an event as it is sent."""
    return format_sse_event(data_str=data.model_dump_json(), event=name, id=event_id, retry=retry_ms)
