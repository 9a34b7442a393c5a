"""Alarm state machine: from observations and operators' commands to states and alarms.

It reads no clock: time is that of observations and commands, so that the same ones in the same order always give the
same events. Delays are sums of ``Observation.audio_s``; only a shelf ends by the wall clock.
``docs/alarms.md`` holds its transition table, made by running it (``scripts/alarm_table.py``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from humwatch.alarm.events import (
    DECIDING,
    NO_SOUND,
    STARTING,
    ActiveAlarm,
    AlarmEvent,
    AlarmSnapshot,
    EventKind,
    MachineState,
    Mark,
    Observation,
    Shelf,
)
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import ChartFinding, EvidenceTracker, SequentialLimits
from humwatch.alarm.trackers import ALARM_LEVEL, trackers
from humwatch.errors import OperationRefused, ShelfTooLong

CLOCK_SET_S: Final = 60.0
"""Time by which clocks are set and nobody has to care, seconds."""


class _Observed(NamedTuple):
    """Condition after the last observation, and the reasons that explain it or make its score doubtful."""

    condition: Literal["scored", "unknown", "off"]
    reasons: tuple[str, ...]


class AlarmStateMachine:
    """State and alarm of one monitored machine.

    Every method that takes an observation, a command or a time returns the events that follow, in order;
    ``state_changed`` is the last, once, when another state is shown than before. Not thread-safe.

    Args:
        rule: rule of the machine.
        warn_level: warn level on the normalised scale, over 0 and at most 1 (the alarm level).
        limits: limits of the sequential rule, for a rule that decides by them; None: the on-delay decides.
        snapshot: state from before a restart; None starts anew.

    Raises:
        ValueError: the warn level is not over 0 and at most 1.

    Example:
        >>> from humwatch import AlarmRule, AlarmStateMachine
        >>> from humwatch.alarm.events import Observation
        >>> machine = AlarmStateMachine(AlarmRule(on_delay_s=2), warn_level=0.7)
        >>> for second, score in enumerate([0.2, 1.3, 1.4, 1.2]):
        ...     for event in machine.observe(Observation(second, 1.0, "scored", score)):
        ...         print(second, event.kind, event.to_state)
        0 state_changed normal
        3 raised alarm
        3 state_changed alarm
        >>> [event.kind for event in machine.acknowledge(who="ann", why="on my way", at_s=5)]
        ['acknowledged']
    """

    def __init__(
        self,
        rule: AlarmRule,
        *,
        warn_level: float,
        limits: SequentialLimits | None = None,
        snapshot: AlarmSnapshot | None = None,
    ) -> None:
        kept = snapshot or AlarmSnapshot()
        self._last_number = kept.last_number
        self._alarm = kept.active
        self._shelf = kept.shelf
        self._out_of_service = kept.out_of_service
        self._observed = _Observed("unknown", (NO_SOUND,))
        self._alarm_sound_s = -math.inf if kept.active is None else kept.active.raised_s
        self._since_off_s = math.inf
        self._settled = False
        self._set_rule(rule, warn_level, limits, warning=False, over=kept.active is not None and not kept.active.over)

    @property
    def rule(self) -> AlarmRule:
        """Rule in force."""
        return self._rule

    @property
    def warn_level(self) -> float:
        """Level of a warning on the normalised scale."""
        return self._warn_level

    @property
    def limits(self) -> SequentialLimits | None:
        """Limits of the sequential rule, where that decides; None where the on-delay does."""
        return self._limits

    @property
    def nearest(self) -> ChartFinding | None:
        """The chart of the sequential rule that is nearest to its limit, or passed it; None by the on-delay."""
        return self._alarm_tracker.nearest if isinstance(self._alarm_tracker, EvidenceTracker) else None

    @property
    def state(self) -> MachineState:
        """State that is shown; where several hold, the first of out of service, unknown or off, alarm, warning.

        A score that is neither is ``normal`` only when nothing makes it doubtful. After an interruption a machine is
        normal again once a score was below the warn level: one that is over a level at first is undecided till then.
        """
        if self._out_of_service is not None:
            return "out_of_service"
        if self._observed.condition != "scored":
            return self._observed.condition
        if self._alarm is not None:
            return "alarm"
        if self._warn_tracker.active:
            return "warning"
        return "unknown" if self.reasons else "normal"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes that explain an unknown state or a doubtful score."""
        if self._out_of_service is not None:
            return ()
        decided = self._settled or self._alarm is not None or self._warn_tracker.active
        return (
            self._observed.reasons
            if self._observed.reasons or decided or self._observed.condition == "off"
            else (DECIDING,)
        )

    @property
    def number_in_force(self) -> int | None:
        """Number of the alarm in force; None without one."""
        return None if self._alarm is None else self._alarm.number

    @property
    def snapshot(self) -> AlarmSnapshot:
        """State that has to outlive a restart."""
        active = self._alarm and self._alarm.model_copy(update={"over": not self._alarm_tracker.active})
        return AlarmSnapshot(
            last_number=self._last_number, active=active, shelf=self._shelf, out_of_service=self._out_of_service
        )

    def change_rule(
        self, rule: AlarmRule, warn_level: float, limits: SequentialLimits | None = None
    ) -> list[AlarmEvent]:
        """Judge by another rule or model from now on; running delays and evidence start anew.

        An alarm, a warning and a shelf stay in force, so no event ever follows.

        Raises:
            ValueError: the warn level is not over 0 and at most 1; the rule before stays in force.
        """
        self._set_rule(rule, warn_level, limits, warning=self._warn_tracker.active, over=self._alarm_tracker.active)
        return []

    def observe(self, observation: Observation) -> list[AlarmEvent]:
        """Take an observation.

        Raises:
            ValueError: ``scored`` without a score that is a number, or a length of sound that is none.
        """
        _check(observation)
        before = self.state
        events = self._expire_shelf(observation.at_s)
        self._note(observation)
        if self._out_of_service is None:
            events += self._judge(observation) or self._realarm(observation)
        return self._shown(before, events, observation.at_s, self._judged_score(observation))

    def tick(self, at_s: float) -> list[AlarmEvent]:
        """End a shelf that has run out, also while no sound comes; call it about once a second.

        Where the clock was set back behind its begin, a shelf begins anew: nobody wanted silence for longer than it is.
        """
        self._alarm_sound_s = min(self._alarm_sound_s, at_s)
        shelf = self._shelf
        if shelf is not None and at_s < shelf.at_s - CLOCK_SET_S:
            self._shelf = shelf.model_copy(update={"at_s": at_s, "until_s": at_s + shelf.until_s - shelf.at_s})
        return self._shown(self.state, self._expire_shelf(at_s), at_s)

    def acknowledge(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        """Note that an operator knows of the alarm; one that only the latch kept is cleared by it.

        Raises:
            OperationRefused: no alarm is in force, or somebody has acknowledged it.
        """
        if self._alarm is None:
            raise OperationRefused("there is no alarm to acknowledge")
        if self._alarm.acknowledged is not None:
            by = self._alarm.acknowledged.who
            raise OperationRefused(f"alarm {self._alarm.number} is acknowledged already, by {by}")
        before, mark = self.state, Mark(who=who, why=why, at_s=at_s)
        self._alarm = self._alarm.model_copy(update={"acknowledged": mark})
        events = [self._event("acknowledged", at_s, by=mark)]
        if not self._alarm_tracker.active:
            events.append(self._clear(at_s))
        return self._shown(before, events, at_s)

    def shelve(self, *, who: str, why: str, at_s: float, for_s: float) -> list[AlarmEvent]:
        """Announce nothing for ``for_s`` seconds of the wall clock; replaces the shelf that there is.

        Raises:
            ShelfTooLong: longer than the rule allows.
            OperationRefused: no time at all.
        """
        if for_s > self._rule.shelve_max_s:
            raise ShelfTooLong(f"shelved for {for_s:g} s; at most {self._rule.shelve_max_s:g} s are allowed")
        if not for_s > 0:
            raise OperationRefused(f"shelved for {for_s:g} s; it has to be more than 0")
        self._shelf = Shelf(who=who, why=why, at_s=at_s, until_s=at_s + for_s)
        return self._shown(self.state, [self._event("shelved", at_s, by=self._shelf)], at_s)

    def unshelve(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        """Announce again from now on, beginning with the alarm that nobody has acknowledged, if there is one.

        Raises:
            OperationRefused: it is not shelved.
        """
        if self._shelf is None:
            raise OperationRefused("the machine is not shelved")
        return self._shown(self.state, [self._end_shelf(at_s, Mark(who=who, why=why, at_s=at_s))], at_s)

    def take_out_of_service(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        """Judge nothing until the machine is returned; an alarm in force stays as it is.

        Raises:
            OperationRefused: it is out of service.
        """
        if self._out_of_service is not None:
            raise OperationRefused(f"the machine is out of service already, by {self._out_of_service.who}")
        before, mark = self.state, Mark(who=who, why=why, at_s=at_s)
        self._out_of_service = mark
        self._forget_scores()
        return self._shown(before, [self._event("out_of_service", at_s, by=mark)], at_s)

    def return_to_service(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        """Judge again from the next score on; until then the machine is not shown as normal.

        Raises:
            OperationRefused: it is in service.
        """
        if self._out_of_service is None:
            raise OperationRefused("the machine is in service already")
        before, mark = self.state, Mark(who=who, why=why, at_s=at_s)
        self._out_of_service = None
        if self._observed.condition == "scored":  # by a score that decided nothing
            self._observed = _Observed("scored", (NO_SOUND,))
        return self._shown(before, [self._event("in_service", at_s, by=mark)], at_s)

    def _set_rule(
        self, rule: AlarmRule, warn_level: float, limits: SequentialLimits | None, *, warning: bool, over: bool
    ) -> None:
        if not 0 < warn_level <= ALARM_LEVEL:
            raise ValueError(f"the warn level is {warn_level}, not over 0 and at most {ALARM_LEVEL:g}")
        self._rule = rule
        self._warn_level = warn_level
        self._limits = limits if rule.decision == "sequential" else None
        self._warn_tracker, self._alarm_tracker = trackers(
            rule, self._limits, warn_level=warn_level, warning=warning, over=over
        )
        self._unannounced_s = 0.0

    def _note(self, observation: Observation) -> None:
        """Remember the condition, out of service too: a machine may be started before it is returned."""
        starting = observation.condition == "scored" and self._since_off_s < self._rule.startup_s
        self._since_off_s = 0.0 if observation.condition == "off" else self._since_off_s + observation.audio_s
        observed = _Observed(observation.condition, observation.reasons)
        self._observed = _Observed("unknown", (STARTING,)) if starting else observed

    def _judged_score(self, observation: Observation) -> float | None:
        """Return the score, if it is one that decides."""
        judged = self._observed.condition == "scored" and self._out_of_service is None
        return observation.score if judged else None

    def _judge(self, observation: Observation) -> list[AlarmEvent]:
        score = self._judged_score(observation)
        if score is None:
            self._interrupt()
            return []
        sure = not observation.reasons and not self._is_before_the_alarm(observation.at_s)
        self._settled = self._settled or score < self.warn_level
        self._warn_tracker.judge(score, observation.audio_s, sure=sure)
        if not self._alarm_tracker.judge(score, observation.audio_s, sure=sure):
            return []
        return (self._raise if self._alarm_tracker.active else self._end)(observation.at_s, score)

    def _is_before_the_alarm(self, at_s: float) -> bool:
        """Return True for sound from before that which raised the alarm in force: it does not show that it is over."""
        return self._alarm is not None and at_s < self._alarm_sound_s - CLOCK_SET_S

    def _interrupt(self) -> None:
        """Take a second that cannot be judged; of a machine that is off, what was heard before counts no more."""
        if self._observed.condition == "off":
            self._forget_scores()
            return
        self._settled = False
        for tracker in (self._warn_tracker, self._alarm_tracker):
            tracker.interrupt()
        self._warn_tracker.active = False

    def _forget_scores(self) -> None:
        """Begin anew: a warning ends with it, an alarm does not, for only normal sound closes one."""
        self._settled = False
        self._warn_tracker.active = False
        self._warn_tracker.forget()
        self._alarm_tracker.forget()

    def _raise(self, at_s: float, score: float) -> list[AlarmEvent]:
        if self._alarm is not None:  # latched: the alarm that nobody has acknowledged goes on
            return []
        self._last_number += 1
        self._unannounced_s = 0.0
        self._alarm = ActiveAlarm(number=self._last_number, raised_s=at_s)
        self._alarm_sound_s = at_s
        return [self._event("raised", at_s, score=score, announced=self._shelf is None)]

    def _end(self, at_s: float, score: float) -> list[AlarmEvent]:
        latched = self._rule.latch and self._is_unacknowledged()
        return [] if latched else [self._clear(at_s, score)]

    def _clear(self, at_s: float, score: float | None = None) -> AlarmEvent:
        event = self._event("cleared", at_s, score=score, announced=self._shelf is None)
        self._alarm = None
        return event

    def _realarm(self, observation: Observation) -> list[AlarmEvent]:
        if self._rule.realarm_s is None or not self._is_unacknowledged():
            return []
        self._unannounced_s += observation.audio_s
        if self._unannounced_s < self._rule.realarm_s:
            return []
        self._unannounced_s = 0.0
        return [self._event("realarmed", observation.at_s, announced=self._shelf is None)]

    def _expire_shelf(self, at_s: float) -> list[AlarmEvent]:
        if self._shelf is None or at_s < self._shelf.until_s:
            return []
        return [self._end_shelf(at_s)]

    def _end_shelf(self, at_s: float, by: Mark | None = None) -> AlarmEvent:
        """End the shelf; an alarm that nobody has acknowledged is announced now."""
        self._shelf = None
        announced = self._is_unacknowledged() and self._out_of_service is None
        if announced:
            self._unannounced_s = 0.0
        return self._event("unshelved", at_s, by=by, announced=announced)

    def _is_unacknowledged(self) -> bool:
        return self._alarm is not None and self._alarm.acknowledged is None

    def _event(
        self,
        kind: EventKind,
        at_s: float,
        *,
        by: Mark | None = None,
        score: float | None = None,
        announced: bool = False,
    ) -> AlarmEvent:
        """Return an event about the alarm in force; ``_shown`` fills in its states and reasons at the end."""
        return AlarmEvent(
            kind,
            at_s,
            from_state=self.state,
            to_state=self.state,
            alarm=None if self._alarm is None else self._alarm.number,
            score=score,
            who=None if by is None else by.who,
            why=None if by is None else by.why,
            until_s=by.until_s if isinstance(by, Shelf) else None,
            announced=announced,
        )

    def _shown(
        self, before: MachineState, events: list[AlarmEvent], at_s: float, score: float | None = None
    ) -> list[AlarmEvent]:
        """Write the states before and now into every event; add ``state_changed`` if they differ."""
        if self.state != before:
            events = [*events, self._event("state_changed", at_s, score=score)]
        return [replace(event, from_state=before, to_state=self.state, reasons=self.reasons) for event in events]


def _check(observation: Observation) -> None:
    if observation.condition == "scored" and (observation.score is None or math.isnan(observation.score)):
        raise ValueError(f"a scored observation has the score {observation.score}")
    if not 0 <= observation.audio_s < math.inf:
        raise ValueError(f"an observation adds {observation.audio_s} s of sound")
