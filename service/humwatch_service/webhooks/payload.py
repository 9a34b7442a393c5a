"""The JSON that is posted; ``docs/webhooks.md`` is its specification."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import AlarmEvent, MachineState
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineScore
from humwatch.detectors.rhythm import IrregularTime
from humwatch_service.protocol.detections import DETECTOR_MEANING
from humwatch_service.storage.records import OLD_S, AlarmContext, AlarmLevels, EventRecord

PAYLOAD_VERSION: Final = 1

_ABOUT_MACHINES: Final = frozenset({"state_changed", "out_of_service", "in_service"})


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Payload):
    """Levels that were in force."""

    warn: float = Field(description="at or over this a score warns")
    alarm: float = Field(description="at or over this a score can become an alarm; 1")


class NotedBand(_Payload):
    """A range of frequencies that stuck out."""

    low_hz: float = Field(description="lower edge, Hz")
    high_hz: float = Field(description="upper edge, Hz")
    contribution: float = Field(description="share of the raw score's excess over all bands, 0 to 1")
    departure_db: float = Field(description="mean departure from normal in dB; above 0 is louder")


class NotedTime(_Payload):
    """A stretch of time that stood out."""

    start: str = Field(description="its start, ISO 8601, UTC")
    end: str = Field(description="its end, ISO 8601, UTC")
    change_db: float = Field(description="mean departure from the level of the whole clip, dB; above 0 is louder")
    share: float = Field(description="share of the irregularity of the clip, 0 to 1")


class NotedLine(_Payload):
    """What has become of narrow tones."""

    change: LineScore = Field(description="`missing`, `speed`, or `drift`: another pitch within the clip")
    before_hz: float | None = Field(description="frequency of the tone before, Hz; null where none stood out")
    after_hz: float | None = Field(description="frequency of it now, Hz; null where none is near")
    shift_percent: float | None = Field(description="shift of all tones, % of frequency; null for `missing`")
    change_db: float | None = Field(description="change of the missing tone's prominence, dB; else null")


class NotificationData(_Payload):
    """What happened."""

    machine_id: str = Field(description="machine that it is about")
    alarm_id: str | None = Field(description="alarm that it is about; null where it is about none")
    url: str | None = Field(description="path of the alarm at the service; null where it is about none")
    page_url: str | None = Field(
        description="URL of the alarm on the page, for people; null where it is about none, or `public_url` is not set"
    )
    state: MachineState | None = Field(description="of the machine, from now on")
    before: MachineState | None = Field(description="state of the machine before")
    score: float | None = Field(
        description="that decided: 0 is the median of normal, 1 the alarm level; null: none did"
    )
    thresholds: Thresholds | None = Field(description="levels on the scale of `score`; null where they are not known")
    model_version: str | None = Field(description="of the machine's model; null where it is not known")
    reasons: tuple[str, ...] = Field(description="codes that explain `state`; may be empty")
    who: str | None = Field(description="operator, for what an operator did; else null")
    why: str | None = Field(description="the operator's reason; else null")
    until: str | None = Field(description="end of a shelf, ISO 8601, UTC; else null")
    detector: DetectorName | None = Field(description=f"{DETECTOR_MEANING}; null where it is not known")
    irregular_times: tuple[NotedTime, ...] = Field(
        description="when the sound was irregular, the largest share first; empty unless `rhythm` decided"
    )
    line: NotedLine | None = Field(description="what has become of narrow tones; null unless `lines` decided")
    bands: tuple[NotedBand, ...] = Field(
        description="frequencies that stuck out, the largest share first; may be empty"
    )
    heard: str | None = Field(
        description="when old sound was heard that it is about, ISO 8601, UTC; null: within a minute, or about no sound"
    )
    late_s: float | None = Field(description="how long that was after it was recorded, seconds; null with `heard`")
    note: str | None = Field(description="the same in words, for people; null with `heard`")


class NotificationPayload(_Payload):
    """One notification."""

    version: Literal[1] = Field(PAYLOAD_VERSION, description="of this table; a field that is added does not change it")
    type: str = Field(description="`alarm.` or `machine.`, and the kind of event")
    timestamp: str = Field(description="when it happened, ISO 8601, UTC; the order of events, not of deliveries")
    data: NotificationData = Field(description="what happened")


def notification_of(
    event: AlarmEvent | EventRecord,
    *,
    machine_id: str,
    alarm_id: str | None,
    context: AlarmContext | None = None,
    page_url: str | None = None,
    heard: tuple[float, float] | None = None,
) -> bytes:
    """Return the payload for an event: JSON in UTF-8, about 600 bytes.

    Args:
        event: event to report, or its record.
        machine_id: machine that it is about.
        alarm_id: alarm that it is about, if any.
        context: context of that alarm, if it is known.
        page_url: URL of that alarm on the page, if what people call the service is known.
        heard: when the sound was recorded that it is about, and when heard, seconds since 1970; None: about no sound.
    """
    old = heard if heard is not None and heard[1] - heard[0] > OLD_S else None
    family = "machine" if event.kind in _ABOUT_MACHINES else "alarm"
    payload = NotificationPayload(
        type=f"{family}.{event.kind}",
        timestamp=iso_of(event.at_s),
        data=NotificationData(
            machine_id=machine_id,
            alarm_id=alarm_id,
            url=None if alarm_id is None else f"/v1/alarms/{alarm_id}",
            page_url=page_url,
            state=event.to_state,
            before=event.from_state,
            score=event.score,
            thresholds=None if context is None else _thresholds(context.levels),
            model_version=None if context is None else context.model_version,
            reasons=tuple(event.reasons),
            who=event.who,
            why=event.why,
            until=None if event.until_s is None else iso_of(event.until_s),
            detector=None if context is None else context.detector,
            irregular_times=() if context is None else tuple(map(_noted_time, context.irregular_times)),
            line=None if context is None or context.line is None else NotedLine(**context.line.model_dump()),
            bands=() if context is None else tuple(NotedBand(**band.model_dump()) for band in context.bands),
            heard=None if old is None else iso_of(old[1]),
            late_s=None if old is None else round(old[1] - old[0], 3),
            note=None if old is None else about_old_sound(*old),
        ),
    )
    return payload.model_dump_json().encode()


def about_old_sound(recorded_s: float, heard_s: float) -> str:
    """Return in words that sound was heard long after it was recorded, both seconds since 1970."""
    late_s = heard_s - recorded_s
    units = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))
    size_s, unit = next(((size_s, unit) for size_s, unit in units if late_s >= 2 * size_s), (60.0, "min"))
    at = datetime.fromtimestamp(recorded_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"about sound of {at}, heard {late_s / size_s:.0f} {unit} later"


def iso_of(at_s: float) -> str:
    """Return a time in ISO 8601: seconds since 1970 to `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _noted_time(time: IrregularTime) -> NotedTime:
    return NotedTime(start=iso_of(time.start_s), end=iso_of(time.end_s), change_db=time.change_db, share=time.share)


def _thresholds(levels: AlarmLevels) -> Thresholds:
    return Thresholds(warn=levels.warn, alarm=levels.alarm)
