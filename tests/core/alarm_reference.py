"""Independent model of the alarm state machine that states the rules: all that happened is a list, every answer a loop.

Beside each happening stands what was found to follow from it. Nothing is counted on from step to step: there is no
clock, no counter and no queue. It is slow, and shares with `humwatch.alarm.state_machine` only the types. It was
written from the rules beside the state machine, not copied from it, and is kept because 100,000 random steps compared
with it reach orders of events that no list of cases does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from humwatch.alarm.events import (
    DECIDING,
    NO_SOUND,
    STARTING,
    ActiveAlarm,
    AlarmEvent,
    AlarmSnapshot,
    MachineState,
    Mark,
    Observation,
    Shelf,
)
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.errors import OperationRefused, ShelfTooLong


@dataclass
class Happening:
    """An observation or command, and what was found to follow from it."""

    kind: str
    at_s: float
    observation: Observation | None = None
    mark: Mark | None = None
    in_service: bool = True
    suppressed: bool = False
    judged: bool = False
    below_warning: bool = False
    warning: bool = False
    over: bool = False
    events: list[AlarmEvent] = field(default_factory=list)

    @property
    def interrupts(self) -> bool:
        return self.kind in ("take_out_of_service", "change_rule") or (self.kind == "observe" and not self.judged)


class ReferenceMachine:
    """Speaks as `AlarmStateMachine` does; `do` takes the name of its method."""

    def __init__(
        self,
        rule: AlarmRule,
        *,
        warn_level: float,
        limits: SequentialLimits | None = None,
        snapshot: AlarmSnapshot | None = None,
    ) -> None:
        self.rule = rule
        self.warn_level = warn_level
        self.limits = limits
        self.start = snapshot or AlarmSnapshot()
        self.past: list[Happening] = []

    def observe(self, observation: Observation) -> list[AlarmEvent]:
        before = self.state
        now = Happening("observe", observation.at_s, observation)
        now.suppressed = observation.condition == "scored" and self._is_starting()
        now.in_service = self._out_of_service() is None
        now.judged = now.in_service and observation.condition == "scored" and not now.suppressed
        score = observation.score if now.judged else None
        now.below_warning = score is not None and score < self.warn_level
        self._end_shelf(now)
        was_over = self._was("over")
        now.warning = self._follow("warning", self.warn_level)
        now.over = self._follow("over", 1.0)
        if now.over and not was_over and self._alarm() is None:
            self._add("raised", self._last_number() + 1, score=score, announced=self._shelf() is None)
        elif was_over and not now.over and not (self.rule.latch and self._is_unanswered()):
            self._add("cleared", score=score, announced=self._shelf() is None)
        elif now.in_service and self._is_unanswered() and self._is_due_again():
            self._add("realarmed", announced=self._shelf() is None)
        return self._finish(before, score)

    def tick(self, at_s: float) -> list[AlarmEvent]:
        before = self.state
        self._end_shelf(self._command("tick", at_s))
        return self._finish(before)

    def acknowledge(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        if not self._is_unanswered():
            raise OperationRefused
        before = self.state
        now = self._command("acknowledge", at_s, Mark(who=who, why=why, at_s=at_s))
        self.past.append(now)
        self._add("acknowledged", who=who, why=why)
        if not now.over:
            self._add("cleared", announced=self._shelf() is None)
        return self._finish(before)

    def shelve(self, *, who: str, why: str, at_s: float, for_s: float) -> list[AlarmEvent]:
        if for_s > self.rule.shelve_max_s:
            raise ShelfTooLong
        if for_s <= 0:
            raise OperationRefused
        before, until_s = self.state, at_s + for_s
        self.past.append(self._command("shelve", at_s, Shelf(who=who, why=why, at_s=at_s, until_s=until_s)))
        self._add("shelved", who=who, why=why, until_s=until_s)
        return self._finish(before)

    def unshelve(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        if self._shelf() is None:
            raise OperationRefused
        before = self.state
        self.past.append(self._command("unshelve", at_s))
        told = self._is_unanswered() and self._out_of_service() is None
        self._add("unshelved", who=who, why=why, announced=told)
        return self._finish(before)

    def take_out_of_service(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        if self._out_of_service() is not None:
            raise OperationRefused
        before = self.state
        self.past.append(self._command("take_out_of_service", at_s, Mark(who=who, why=why, at_s=at_s)))
        self.past[-1].warning = False
        self._add("out_of_service", who=who, why=why)
        return self._finish(before)

    def return_to_service(self, *, who: str, why: str, at_s: float) -> list[AlarmEvent]:
        if self._out_of_service() is None:
            raise OperationRefused
        before = self.state
        self.past.append(self._command("return_to_service", at_s))
        self._add("in_service", who=who, why=why)
        return self._finish(before)

    def change_rule(
        self, rule: AlarmRule, warn_level: float, limits: SequentialLimits | None = None
    ) -> list[AlarmEvent]:
        self.past.append(self._command("change_rule", 0.0))
        self.rule, self.warn_level, self.limits = rule, warn_level, limits
        return []

    @property
    def state(self) -> MachineState:
        return self._shown()[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        return self._shown()[1]

    @property
    def snapshot(self) -> AlarmSnapshot:
        alarm = self._alarm()
        return AlarmSnapshot(
            last_number=self._last_number(),
            active=alarm and alarm.model_copy(update={"over": not self._was("over")}),
            shelf=self._shelf(),
            out_of_service=self._out_of_service(),
        )

    def _shown(self) -> tuple[MachineState, tuple[str, ...]]:
        if self._out_of_service() is not None:
            return "out_of_service", ()
        heard, returned = None, False
        for happening in self.past:
            if happening.observation is not None:
                heard, returned = happening, False
            if happening.kind == "return_to_service":
                returned = True
        if heard is None or heard.observation is None:
            return "unknown", (NO_SOUND,)
        if heard.suppressed:
            return "unknown", (STARTING,)
        if heard.observation.condition != "scored":
            return heard.observation.condition, heard.observation.reasons
        reasons = (NO_SOUND,) if returned else heard.observation.reasons
        if self._alarm() is not None:
            return "alarm", reasons
        if self._was("warning"):
            return "warning", reasons
        if not reasons and not self._was_below_warning():
            reasons = (DECIDING,)
        return ("unknown" if reasons else "normal"), reasons

    def _was_below_warning(self) -> bool:
        """Whether a score was below the warn level since the last interruption."""
        found = False
        for happening in self.past:
            if happening.interrupts and happening.kind != "change_rule":
                found = False
            found = found or happening.below_warning
        return found

    def _was(self, flag: str, upto: int | None = None) -> bool:
        """Whether the level was passed after the last happening of ``past[:upto]``."""
        past = self.past[:upto]
        if past:
            return bool(getattr(past[-1], flag))
        return flag == "over" and self.start.active is not None and not self.start.active.over

    def _follow(self, flag: str, level: float) -> bool:
        """Whether the level is passed after the newest happening, by every score since it last was or was not."""
        was = self._was(flag, -1)
        if not self.past[-1].judged:
            return was and flag == "over"
        stretch = self._stretch(flag)
        charts = self.limits.charts if self.limits is not None and self.rule.decision == "sequential" else ()
        share = 0.5 if flag == "warning" else 1.0
        if charts and not was:
            return any(self._average(flag, chart, share, None) >= share * chart.limit for chart in charts)
        conditions = []
        for position, (index, score, _, sure) in enumerate(stretch):
            last_n = stretch[max(0, position - self.rule.n + 1) : position + 1]
            at_least_k = len([one for _, one, _, _ in last_n if one >= level]) >= self.rule.k
            below = score < level - self.rule.dead_band
            if charts:
                below = all(self._average(flag, c, share, index) < 0.75 * (share * c.limit) for c in charts)
            conditions.append(sure and below if was else at_least_k)
        since = len(conditions)
        while since > 0 and conditions[since - 1]:
            since -= 1
        held_s = [audio_s for _, _, audio_s, _ in stretch[since:]][1:]
        delay_s = self.rule.off_delay_s if was else self.rule.on_delay_s
        half_s = held_s[-1] / 2 if held_s else 0.0  # the score that is nearest to the end of the delay
        turned = since < len(stretch) and sum(held_s) + half_s >= delay_s
        return was != turned

    def _average(self, flag: str, chart: Chart, share: float, upto: int | None) -> float:
        """The average of a chart after the happening ``past[upto]``; None: after the newest, before it is cut off."""
        limit = share * chart.limit
        average = limit if self._was(flag, 0) else 0.0
        last = len(self.past) - 1 if upto is None else upto
        for index, happening in enumerate(self.past[: last + 1]):
            was = self._was_at(flag, index - 1)
            stopped = happening.kind == "observe" and happening.in_service and not happening.judged
            stopped = stopped and happening.observation is not None and happening.observation.condition == "off"
            if happening.kind == "change_rule":
                average = limit if was else 0.0
            elif (stopped or happening.kind == "take_out_of_service") and not (was and flag == "over"):
                average = 0.0
            heard = happening.observation
            if happening.judged and heard is not None and heard.score is not None:
                kept = math.exp(-heard.audio_s / chart.time_constant_s)
                new = kept * average + (1 - kept) * min(heard.score, 3 * chart.limit)
                average = max(average, new) if heard.reasons else new
                if index < len(self.past) - 1 or upto is not None:
                    average = min(average, limit)
        return average

    def _stretch(self, flag: str) -> list[tuple[int, float, float, bool]]:
        """Where each score is, the score, its seconds of sound, and whether it is sure, since the last interruption
        and the last turn."""
        stretch: list[tuple[int, float, float, bool]] = []
        for index in range(len(self.past) - 1, -1, -1):
            happening = self.past[index]
            turned = index < len(self.past) - 1 and getattr(happening, flag) != self._was_at(flag, index - 1)
            if happening.interrupts or turned:
                break
            if happening.judged and happening.observation is not None and happening.observation.score is not None:
                heard = happening.observation
                stretch.insert(0, (index, happening.observation.score, heard.audio_s, not heard.reasons))
        return stretch

    def _was_at(self, flag: str, index: int) -> bool:
        return bool(getattr(self.past[index], flag)) if index >= 0 else self._was(flag, 0)

    def _is_starting(self) -> bool:
        since_off: list[float] | None = None
        for happening in self.past:
            if happening.observation is None:
                continue
            if happening.observation.condition == "off":
                since_off = []
            elif since_off is not None:
                since_off.append(happening.observation.audio_s)
        return since_off is not None and sum(since_off) < self.rule.startup_s

    def _is_due_again(self) -> bool:
        """Whether as much sound as re-alarming takes came since people were last told, or could have been."""
        heard_s: list[float] = []
        for happening in self.past:
            kinds = [event.kind for event in happening.events if event.kind != "unshelved" or event.announced]
            if happening.kind == "change_rule" or "unshelved" in kinds:
                heard_s = []
            if happening.observation is not None and happening.in_service:
                heard_s.append(happening.observation.audio_s)
            if "raised" in kinds or "realarmed" in kinds:
                heard_s = []
        return self.rule.realarm_s is not None and sum(heard_s) >= self.rule.realarm_s

    def _out_of_service(self) -> Mark | None:
        mark = self.start.out_of_service
        for happening in self.past:
            if happening.kind in ("take_out_of_service", "return_to_service"):
                mark = happening.mark
        return mark

    def _shelf(self) -> Shelf | None:
        shelf = self.start.shelf
        for happening in self.past:
            if isinstance(happening.mark, Shelf):
                shelf = happening.mark
            ends = happening.kind in ("observe", "tick") and shelf is not None and happening.at_s >= shelf.until_s
            if happening.kind == "unshelve" or ends:
                shelf = None
        return shelf

    def _last_number(self) -> int:
        raised = [event.alarm for happening in self.past for event in happening.events if event.kind == "raised"]
        return max([self.start.last_number, *(number for number in raised if number is not None)])

    def _alarm(self) -> ActiveAlarm | None:
        alarm = self.start.active
        for happening in self.past:
            for event in happening.events:
                if event.kind == "raised" and event.alarm is not None:
                    alarm = ActiveAlarm(number=event.alarm, raised_s=event.at_s)
                elif event.kind == "cleared":
                    alarm = None
                elif event.kind == "acknowledged" and alarm is not None:
                    alarm = alarm.model_copy(update={"acknowledged": happening.mark})
        return alarm

    def _is_unanswered(self) -> bool:
        alarm = self._alarm()
        return alarm is not None and alarm.acknowledged is None

    def _command(self, kind: str, at_s: float, mark: Mark | None = None) -> Happening:
        return Happening(kind, at_s, mark=mark, warning=self._was("warning"), over=self._was("over"))

    def _end_shelf(self, now: Happening) -> None:
        shelved = self._shelf() is not None
        now.warning, now.over = self._was("warning"), self._was("over")
        self.past.append(now)
        if shelved and self._shelf() is None:
            self._add("unshelved", announced=self._is_unanswered() and self._out_of_service() is None)

    def _add(self, kind: Any, number: int | None = None, **said: Any) -> None:
        alarm = self._alarm()
        about = number if alarm is None else alarm.number
        self.past[-1].events.append(AlarmEvent(kind, self.past[-1].at_s, "unknown", "unknown", about, **said))

    def _finish(self, before: MachineState, score: float | None = None) -> list[AlarmEvent]:
        after, reasons = self._shown()
        if after != before:
            self._add("state_changed", score=score)
        now = self.past[-1]
        now.events = [replace(event, from_state=before, to_state=after, reasons=reasons) for event in now.events]
        return now.events
