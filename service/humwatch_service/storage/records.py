"""Records that go into the database and come out of it. Times are seconds since 1970 (UTC)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from humwatch.alarm.events import AlarmEvent, AlarmSnapshot, MachineState, Mark
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import ChartFinding, SequentialLimits
from humwatch.bundle.manifest import MACHINE_ID
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.scoring.explain import BandRange
from humwatch_service.errors import AlarmNotFound
from humwatch_service.protocol.detections import DETECTOR_MEANING, LINE_MEANING

Verdict = Literal["true_alarm", "false_alarm", "unsure"]
EvidenceState = Literal["none", "partial", "kept", "purged"]
Resolution = Literal["second", "minute", "hour"]

OLD_S: Final = 60.0
"""Age from which sound that is heard is said to be old: history and notifications tell."""

MAX_TRACE_POINTS: Final = 600
"""Points of a score trace that are kept; the history has every second of it."""

_ALARM_ID = re.compile(rf"({MACHINE_ID.pattern})-([0-9]{{6,9}})")


def alarm_id_of(machine_id: str, number: int) -> str:
    """Return the id of a machine's alarm: `fan-1`, 7 -> `fan-1-000007`."""
    return f"{machine_id}-{number:06d}"


def split_alarm_id(alarm_id: str) -> tuple[str, int]:
    """Return machine and number of an alarm. Raises :class:`AlarmNotFound` for an impossible id."""
    match = _ALARM_ID.fullmatch(alarm_id)
    if match is None or alarm_id_of(match[1], int(match[2])) != alarm_id:
        raise AlarmNotFound(f"there is no alarm {alarm_id[:90]!r}")
    return match[1], int(match[2])


class _StoredRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AlarmLevels(_StoredRecord):
    """Two levels of a score."""

    warn: float = Field(description="at or over this a score warns")
    alarm: float = Field(description="at or over this a score can become an alarm")


class SoundSource(_StoredRecord):
    """Which sound an alarm was raised on."""

    stream_id: str = Field(description="the unbroken count of samples")
    sample: int = Field(description="one past the last sample that the score depends on")
    rate_hz: int = Field(gt=0, description="samples a second")


class TracePoint(_StoredRecord):
    """A score and its time."""

    at_s: float = Field(description="seconds since 1970 (UTC)")
    score: float = Field(description="normalised: 0 is the median of normal, 1 the alarm level")


class AlarmContext(_StoredRecord):
    """What was in force and what was heard when an alarm was raised."""

    score: float = Field(description="normalised score that raised it")
    raw_score: float = Field(description="the same before normalisation")
    model_version: str = Field(description="version of the machine's model")
    model_sha256: str = Field(description="SHA-256 of the whole bundle, hexadecimal")
    levels: AlarmLevels = Field(description="in force, on the scale of `score`")
    raw_levels: AlarmLevels = Field(description="in force, on the scale of `raw_score`")
    rule: AlarmRule = Field(description="in force")
    limits: SequentialLimits | None = Field(
        None, description="in force where evidence adds up; null where the on-delay decided"
    )
    chart: ChartFinding | None = Field(
        None, description="average of the score that raised it; null where the on-delay did"
    )
    detector: DetectorName | None = Field(
        None, description=f"{DETECTOR_MEANING}; null for an alarm of a version that had one detector alone"
    )
    irregular_times: tuple[IrregularTime, ...] = Field(
        (),
        description="when the sound was irregular, seconds since 1970 (UTC), the largest share first; empty unless"
        " `rhythm` decided",
    )
    line: LineFinding | None = Field(None, description=LINE_MEANING)
    bands: tuple[BandRange, ...] = Field(
        (),
        description="frequencies that add most to the score of `profile` or `error`, the largest share first",
    )
    trace: tuple[TracePoint, ...] = Field(
        (),
        description=f"scores before and during the alarm, {MAX_TRACE_POINTS} at most: of a longer one the highest of"
        " each stretch; empty in lists of alarms",
    )
    reasons: tuple[str, ...] = Field((), description="codes of what made the score doubtful, if anything did")
    source: SoundSource | None = Field(None, description="the sound that raised it")


class Feedback(_StoredRecord):
    """What an operator found at the machine."""

    verdict: Verdict = Field(description="whether there was something wrong with the machine")
    cause: str = Field(description="what it was; may be empty")
    action: str = Field(description="what was done about it; may be empty")
    who: str = Field(description="operator who said so")
    at_s: float = Field(description="when, seconds since 1970 (UTC)")


class AlarmRecord(_StoredRecord):
    """An alarm, as it is now."""

    id: str = Field(description="machine id and number: `fan-1-000007`")
    machine_id: str = Field(description="machine that it is about")
    number: int = Field(description="counted from 1 for each machine")
    status: Literal["active", "cleared"] = Field(description="`active` until it is cleared")
    over: bool = Field(description="the score is back, and only the latch keeps the alarm")
    raised_s: float = Field(description="time of the sound that raised it, seconds since 1970 (UTC)")
    heard_s: float | None = Field(
        description="when that sound was heard, seconds since 1970 (UTC); null for an alarm of an earlier release"
    )
    late_s: float | None = Field(description="how much later that was, seconds; over 60 the alarm is about old sound")
    cleared_s: float | None = Field(description="seconds since 1970 (UTC); null while active")
    announced_s: float | None = Field(description="when people were last told; null if they never were (shelved)")
    acknowledged: Mark | None = Field(description="who saw it, when and why; null: nobody yet")
    shelved: bool = Field(description="active, but not announced for a while")
    score: float | None = Field(description="normalised score that raised it")
    peak_score: float | None = Field(description="highest normalised score so far")
    context: AlarmContext | None = Field(description="what was in force and heard; null if that was lost")
    evidence: EvidenceState = Field(
        description="the sound: `kept`; `partial`, what came after the alarm is missing; `purged`; `none`"
    )
    feedback: Feedback | None = Field(description="what was found; null: nobody said")


class AlarmPage(_StoredRecord):
    """Alarms, the newest first."""

    alarms: tuple[AlarmRecord, ...] = Field(description="without their score traces")
    next_before: int | None = Field(description="send as `before` for the next page; null: there is none")


class EventRecord(_StoredRecord):
    """A line of the audit trail."""

    id: int = Field(description="counts up")
    machine_id: str = Field(description="machine that it is about")
    at_s: float = Field(description="seconds since 1970 (UTC)")
    kind: str = Field(description="what happened")
    alarm_id: str | None = Field(description="alarm that it is about, if any")
    from_state: MachineState | None = Field(description="shown before; null where it is not about the state")
    to_state: MachineState | None = Field(description="shown afterwards; null where it is not about the state")
    score: float | None = Field(description="normalised score that decided; null where none did")
    reasons: tuple[str, ...] = Field(description="codes that explain the state")
    who: str | None = Field(description="operator; null for what the rule did")
    why: str | None = Field(description="the operator's reason")
    until_s: float | None = Field(description="end of a shelf, seconds since 1970 (UTC)")
    announced: bool = Field(description="whether people were told")
    details: dict[str, JsonValue] = Field(description="what else belongs to this kind of event")


class EventPage(_StoredRecord):
    """Lines of the audit trail, the newest first."""

    events: tuple[EventRecord, ...] = Field(description="the newest first")
    next_before: int | None = Field(description="send as `before` for the next page; null: there is none")


class StreamPosition(_StoredRecord):
    """Position up to which a stream was scored."""

    stream_id: str = Field(description="the unbroken count of samples")
    rate_hz: int = Field(gt=0, description="samples a second")
    next_sample: int = Field(ge=0, description="first sample that is not scored yet")


class KeptMachine(_StoredRecord):
    """State of a machine that is known after a restart."""

    machine_id: str
    snapshot: AlarmSnapshot
    running: bool | None = Field(description="the explicit signal; null: there is none")
    position: StreamPosition | None
    heard_s: float | None = Field(None, description="last second of its history, since 1970 (UTC)")
    alarm_late_s: float = Field(0.0, description="how late the sound was heard that raised the alarm in force, seconds")


class ScoreSecond(_StoredRecord):
    """One second of a machine's history."""

    machine_id: str
    at_s: int = Field(ge=0, description="start of the second, since 1970 (UTC)")
    score: float | None = Field(description="normalised; null: none")
    level_dbfs: float | None = Field(description="level of the sound; null: no sound")
    state: MachineState
    late: bool = Field(False, description="old sound: it takes no second that is judged already")


class HistoryPoint(_StoredRecord):
    """A second, minute or hour of a machine's history."""

    at_s: int = Field(description="its start, seconds since 1970 (UTC)")
    span_s: int = Field(description="its length, seconds")
    score_min: float | None = Field(description="lowest normalised score; null: none")
    score_mean: float | None = Field(description="mean normalised score; null: none")
    score_max: float | None = Field(description="highest normalised score; null: none")
    level_dbfs: float | None = Field(description="mean level of the sound (of its power); null: no sound")
    states: dict[MachineState, int] = Field(description="seconds spent in each state; what is missing, nobody heard")


class Delivery(_StoredRecord):
    """An event on its way to a webhook."""

    id: int
    webhook: str = Field(description="name of the webhook in the configuration")
    attempts: int = Field(description="that failed so far")
    event: EventRecord


class OutboxCounts(_StoredRecord):
    """Counts of the outbox."""

    pending: int = Field(description="deliveries that are still owed")
    delivered: int = Field(description="that arrived, as far back as they are kept")
    given_up: int = Field(description="that nobody tries any more, as far back as they are kept")
    oldest_pending_s: float | None = Field(description="time of the oldest event still owed, seconds since 1970")


@dataclass(frozen=True, kw_only=True)
class MachineChange:
    """Change of a machine: all of it is written, or nothing.

    Attributes:
        machine_id: the machine.
        snapshot: snapshot of its alarm state machine, after the events.
        events: events in order.
        position: position of its stream; None leaves it as it is.
        running: the explicit signal, None for none any more; "keep" leaves it as it is.
        signalled: who gave that signal, for the audit trail.
        context: context of the alarm that is raised among the events.
        evidence: state of its sound.
        webhooks: names of the webhooks that get each event, in the order of the events; may be shorter.
        heard_s: when the sound was heard that the events follow from, seconds since 1970; None for an operator's.
    """

    machine_id: str
    snapshot: AlarmSnapshot
    events: tuple[AlarmEvent, ...] = ()
    position: StreamPosition | None = None
    running: bool | Literal["keep"] | None = "keep"
    signalled: Mark | None = None
    context: AlarmContext | None = None
    evidence: EvidenceState = "none"
    webhooks: tuple[tuple[str, ...], ...] = ()
    heard_s: float | None = None

    def __post_init__(self) -> None:
        if not MACHINE_ID.fullmatch(self.machine_id):
            raise ValueError(f"{self.machine_id!r} is no machine's id")
