"""Status of live machines, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.characteristic import CurvePoint, curve, sentence
from humwatch.alarm.events import MachineState, Mark, Shelf
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import ChartFinding
from humwatch.bundle.manifest import CommissioningCard
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch_service.live.machine import LiveMachine
from humwatch_service.protocol.detections import LINE_MEANING
from humwatch_service.storage.records import alarm_id_of


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)


class Fault(_Status):
    """Something wrong with the source of a machine's sound."""

    code: str = Field(description="stable name of the fault, for programs")
    message: str = Field(description="the fault in words")
    hard: bool = Field(description="nothing can be said of the machine; else its scores are doubtful, never normal")


class AlarmDecision(_Status):
    """When scores become an alarm, and what that is expected to cost."""

    kind: Literal["sequential", "on_delay"] = Field(
        description="`sequential`: evidence adds up; `on_delay`: by the rule, or for want of limits of the model"
    )
    sentence: str = Field(description="the rule in words")
    curve: list[CurvePoint] = Field(description="how far over the level, how soon")
    nearest: ChartFinding | None = Field(
        description="average that is nearest to its limit now; null where the on-delay decides"
    )
    false_alarms: FalseAlarmRate | None = Field(
        description="false alarms a week that the model's limits are expected to cost; null without limits"
    )


class StreamStatus(_Status):
    """The stream that a machine is heard by."""

    stream_id: str = Field(description="names the count of samples")
    connected: bool = Field(description="whether somebody feeds it now")
    rate_hz: int = Field(description="samples a second")
    channels: int = Field(description="channels that come")
    channel: int = Field(description="channel that is listened to, from 0")
    realtime: bool = Field(description="false: a recording")
    samples: int = Field(description="index of the next sample")
    gap_samples: int = Field(description="samples that never came")
    waiting_s: float = Field(description="sound that waits to be scored, seconds")


class DriftNote(_Status):
    """That the normal sound of a machine has moved; `/v1/machines/{id}/drift` says more."""

    since_s: float = Field(description="likeliest begin, seconds since 1970 (UTC)")
    summary: str = Field(description="where and since when, in a sentence")


class LiveStatus(_Status):
    """What is known of a machine right now."""

    machine_id: str = Field(description="id of the machine")
    state: MachineState = Field(description="what is shown")
    reasons: list[str] = Field(description="codes: why it is unknown, or why the score is doubtful")
    score: float | None = Field(description="of the last clip: 0 is the median of normal, 1 the alarm level")
    raw_score: float | None = Field(description="the same before normalisation")
    step_score: float | None = Field(description="of the last second, on the step scale")
    detector: DetectorName | None = Field(description="which detector decided `score`; null with it")
    irregular_times: list[IrregularTime] = Field(
        description="when that clip was irregular, seconds since 1970 (UTC), the largest share first; empty unless"
        " `rhythm` decided a score from the warning level on"
    )
    line: LineFinding | None = Field(description=LINE_MEANING)
    level_dbfs: float | None = Field(description="of the last second; null before any sound")
    heard_s: float | None = Field(description="end of the last sound that was scored, seconds since 1970 (UTC)")
    running: bool | None = Field(description="whether the machine runs; null: not known")
    run_signal: bool | None = Field(description="what somebody said about it; null: the level decides")
    faults: list[Fault] = Field(description="of the source")
    alarm_id: str | None = Field(description="alarm in force")
    acknowledged: Mark | None = Field(description="who has seen that alarm")
    shelf: Shelf | None = Field(description="nobody is told until then, by whom and why")
    out_of_service: Mark | None = Field(description="taken out of service by whom and why")
    rule: AlarmRule = Field(description="in force")
    decision: AlarmDecision = Field(description="what the rule comes to with the model in use")
    commissioning: CommissioningCard | None = Field(
        description="stage of the commissioning that made the version in use, `provisional` while others follow; null:"
        " another way made it"
    )
    drift: DriftNote | None = Field(description="its normal sound has moved since the calibration; null: not known to")
    commissioned: bool = Field(description="whether a commissioning goes on; `/v1/machines/{id}/calibration` says more")
    shadowed: bool = Field(description="whether a candidate runs beside; `/v1/machines/{id}/shadow` says more")
    stream: StreamStatus | None = Field(description="null: nothing was ever sent since the service started")


def status_of(machine: LiveMachine) -> LiveStatus:
    """Return the status of a machine now."""
    with machine.lock:
        reading, kept = machine.reading, machine.alarm.snapshot
        active = kept.active
        found = reading.detection if reading else None
        return LiveStatus(
            machine_id=machine.machine_id,
            state=machine.alarm.state,
            reasons=list(machine.alarm.reasons),
            score=reading.score if reading else None,
            raw_score=reading.raw_score if reading else None,
            step_score=reading.step_score if reading else None,
            detector=found.detector if found else None,
            irregular_times=list(found.irregular_times) if found else [],
            line=found.line if found else None,
            level_dbfs=reading.level_dbfs if reading else None,
            heard_s=reading.at_s if reading else None,
            running=reading.running if reading else machine.running,
            run_signal=machine.running,
            faults=[Fault(code=f.code, message=f.message, hard=f.hard) for f in reading.faults] if reading else [],
            alarm_id=alarm_id_of(machine.machine_id, active.number) if active else None,
            acknowledged=active.acknowledged if active else None,
            shelf=kept.shelf,
            out_of_service=kept.out_of_service,
            rule=machine.alarm.rule,
            decision=decision_of(machine),
            commissioning=commissioning_of(machine),
            drift=None if machine.drift is None else DriftNote(since_s=machine.drift[0], summary=machine.drift[1]),
            commissioned=machine.collector is not None,
            shadowed=machine.companion is not None,
            stream=_stream(machine),
        )


def commissioning_of(machine: LiveMachine) -> CommissioningCard | None:
    """Return the stage of a commissioning that made the version that judges; None where another way made it."""
    return None if machine.judge is None else machine.judge.bundle.manifest.commissioning


def decision_of(machine: LiveMachine) -> AlarmDecision:
    """Return what the rule of a machine comes to now."""
    alarm, judge = machine.alarm, machine.judge
    known = None if judge is None or alarm.limits is None else judge.bundle.manifest.decision
    return AlarmDecision(
        kind="on_delay" if alarm.limits is None else "sequential",
        sentence=sentence(alarm.rule, alarm.limits),
        curve=list(curve(alarm.rule, alarm.limits)),
        nearest=alarm.nearest,
        false_alarms=None if known is None else known.rate,
    )


def _stream(machine: LiveMachine) -> StreamStatus | None:
    stream = machine.stream
    if stream is None:
        return None
    form = stream.form
    return StreamStatus(
        stream_id=form.stream_id,
        connected=machine.is_fed,
        rate_hz=form.rate_hz,
        channels=form.channels,
        channel=form.channel,
        realtime=form.realtime,
        samples=stream.accepted,
        gap_samples=stream.gap_samples,
        waiting_s=stream.waiting_s,
    )
