"""Inputs and outputs of the alarm state machine, and its state that outlives a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

MachineState = Literal["normal", "warning", "alarm", "unknown", "off", "out_of_service"]
"""States of a monitored machine, as shown.

``unknown``: it cannot be known (no sound, bad sound, warming up, starting). ``off``: the machine does not run.
"""
MACHINE_STATES: Final[tuple[MachineState, ...]] = get_args(MachineState)

EventKind = Literal[
    "state_changed",
    "raised",
    "cleared",
    "realarmed",
    "acknowledged",
    "shelved",
    "unshelved",
    "out_of_service",
    "in_service",
]
EVENT_KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)

NO_SOUND: Final = "no_sound"
"""Reason of an ``unknown`` without any sound to judge."""
WARMING_UP: Final = "warming_up"
"""Reason of an ``unknown`` until there is a whole clip."""
STARTING: Final = "starting"
"""Reason of an ``unknown`` after the machine was started."""
RATE_UNCONFIRMED: Final = "rate_unconfirmed"
"""Reason of an ``unknown`` until a clock has shown that a source that sends in real time does."""
DECIDING: Final = "deciding"
"""Reason of an ``unknown`` from which the first scores are over a level, until the rule has decided."""


@dataclass(frozen=True)
class Observation:
    """Result for a stretch of sound, usually one step.

    Attributes:
        at_s: wall clock at its end, seconds since 1970 (UTC); for the record, never for a delay.
        audio_s: length of the sound that it adds, seconds; 0 where no sound came.
        condition: ``scored`` when there is a score to judge, else the reason for none.
        score: normalised score of the last clip (1 = alarm level); None unless ``scored``.
        reasons: stable codes that explain an unknown or, beside a score, make it doubtful. A doubtful score can
            warn and alarm; it is never shown as ``normal``.
    """

    at_s: float
    audio_s: float
    condition: Literal["scored", "unknown", "off"]
    score: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlarmEvent:
    """A change of a machine's alarm or state.

    Attributes:
        kind: kind of the change.
        at_s: time of the change, seconds since 1970 (UTC).
        from_state: state before the observation or command that it follows from.
        to_state: state after that (the same where no other state is shown).
        alarm: number of the alarm that is in force, or is cleared by it, counted from 1 for each machine; None
            without one.
        score: score that decided; None where none did.
        reasons: codes that explain ``to_state``.
        who: operator who gave the command; None for a change by the rule.
        why: reason that the operator gave.
        until_s: end of a shelf, seconds since 1970; None for all other events.
        announced: True if people are to be notified; False while shelved.
    """

    kind: EventKind
    at_s: float
    from_state: MachineState
    to_state: MachineState
    alarm: int | None = None
    score: float | None = None
    reasons: tuple[str, ...] = ()
    who: str | None = None
    why: str | None = None
    until_s: float | None = None
    announced: bool = False


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mark(_Kept):
    """What an operator did: who, when and why."""

    who: str
    at_s: float = Field(description="seconds since 1970, UTC")
    why: str = ""


class Shelf(Mark):
    """An alarm that is not announced for a while."""

    until_s: float = Field(description="seconds since 1970, UTC")


class ActiveAlarm(_Kept):
    """The alarm in force."""

    number: int = Field(ge=1, description="counted from 1 for each machine")
    raised_s: float = Field(description="seconds since 1970, UTC")
    acknowledged: Mark | None = None
    over: bool = Field(False, description="the score is back, and only the latch keeps the alarm")


class AlarmSnapshot(_Kept):
    """State that outlives a restart: everything but running delays and the last scores."""

    last_number: int = Field(0, ge=0, description="number of the newest alarm; 0 before the first")
    active: ActiveAlarm | None = None
    shelf: Shelf | None = None
    out_of_service: Mark | None = None
