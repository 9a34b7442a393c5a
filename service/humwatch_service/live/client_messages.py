"""Messages that tell a stream's client of its machine: scores, changes of state, faults of the source."""

from __future__ import annotations

from collections.abc import Iterable

from humwatch.alarm.events import AlarmEvent, MachineState
from humwatch.live.step import LiveStep
from humwatch.source.faults import FaultReport
from humwatch_service.protocol.messages import Score, ServerMessage, StateChange, Warn
from humwatch_service.storage.records import alarm_id_of


def change_messages(machine_id: str, events: Iterable[AlarmEvent]) -> list[ServerMessage]:
    """Return a message for each event of a machine."""
    return [
        StateChange(
            event=event.kind,
            state=event.to_state,
            before=event.from_state,
            reasons=list(event.reasons),
            at_s=event.at_s,
            alarm_id=None if event.alarm is None else alarm_id_of(machine_id, event.alarm),
        )
        for event in events
    ]


def fault_messages(before: Iterable[FaultReport], now: Iterable[FaultReport]) -> list[ServerMessage]:
    """Return the messages for faults that began and for those that ended."""
    old, new = ({fault.code: fault for fault in faults} for faults in (before, now))
    begun = [Warn(code=code, message=new[code].message, active=True) for code in new if code not in old]
    ended = [Warn(code=code, message=old[code].message, active=False) for code in old if code not in new]
    return [*begun, *ended]


def score_messages(step: LiveStep, state: MachineState) -> list[ServerMessage]:
    """Return the message with the scores of a step, none where there are no scores; ``state`` is the machine's."""
    if step.scores is None:
        return []
    clip = step.scores.clip
    return [
        Score(
            start_sample=step.start_sample,
            end_sample=step.end_sample,
            step_score=step.scores.step.score,
            clip_start_sample=step.clip_start_sample,
            score=None if clip is None else clip.score,
            raw_score=None if clip is None else clip.raw_score,
            state=state,
            level_dbfs=step.level_dbfs,
        )
    ]
