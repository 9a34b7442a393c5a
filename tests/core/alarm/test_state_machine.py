from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from humwatch.alarm.events import (
    EVENT_KINDS,
    MACHINE_STATES,
    ActiveAlarm,
    AlarmEvent,
    AlarmSnapshot,
    Mark,
    Observation,
    Shelf,
)
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.errors import OperationRefused, ShelfTooLong
from tests.core.alarm_reference import ReferenceMachine

SEEDS = range(20)
STEPS = 5_000  # of each seed: 100,000 in all
Machine = AlarmStateMachine | ReferenceMachine


def random_rule(draw: random.Random) -> AlarmRule:
    n = draw.choice([1, 1, 2, 3, 5])
    return AlarmRule(
        decision=draw.choice(["sequential", "sequential", "on_delay"]),
        on_delay_s=draw.choice([0, 0, 0.5, 1, 2, 3.25]),
        off_delay_s=draw.choice([0, 0.5, 1, 2, 4.5]),
        dead_band=draw.choice([0, 0.125, 0.25]),
        k=draw.randint(1, n),
        n=n,
        latch=draw.random() < 0.5,
        realarm_s=draw.choice([None, 0.25, 2, 5.5]),
        startup_s=draw.choice([0, 1, 3.5]),
        shelve_max_s=draw.choice([5, 60]),
    )


def random_limits(draw: random.Random) -> SequentialLimits | None:
    """Limits that no score and no average of few scores is exactly at."""
    if draw.random() < 0.4:
        return None
    times_s = sorted(draw.sample([0.5, 2.0, 7.0, 20.0], draw.randint(1, 3)))
    return SequentialLimits(
        charts=tuple(Chart(time_constant_s=time_s, limit=draw.uniform(0.3, 1.2)) for time_s in times_s)
    )


class Plant:
    """Draws what happens to a machine. Seconds of sound are sums of quarters, so that no sum is ever rounded."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.at_s = 1_000.0
        self.mood = 0.5

    def next_step(self, machine: Machine) -> tuple[str, dict[str, Any]]:
        self.at_s += self.draw.choice([0, 0.5, 1, 1, 3, -2])
        kind = self.draw.choices(["observe", "tick", "change_rule", "command"], [80, 5, 1, 14])[0]
        if kind == "observe":
            return kind, {"observation": self.observation(machine)}
        if kind == "tick":
            return kind, {"at_s": self.at_s}
        if kind == "change_rule":
            level = self.draw.choice([0.5, 0.75, 1.0])
            return kind, {"rule": random_rule(self.draw), "warn_level": level, "limits": random_limits(self.draw)}
        return self.command()

    def command(self) -> tuple[str, dict[str, Any]]:
        kinds = ["acknowledge", "shelve", "unshelve", "take_out_of_service", "return_to_service"]
        kind = self.draw.choices(kinds, [4, 3, 2, 1, 4])[0]
        said: dict[str, Any] = {"who": self.draw.choice(["ada", "bob"]), "why": f"{kind} it", "at_s": self.at_s}
        return kind, said | ({"for_s": self.draw.choice([-1, 0, 1, 5, 20, 61])} if kind == "shelve" else {})

    def observation(self, machine: Machine) -> Observation:
        condition = self.draw.choices(["scored", "unknown", "off"], [90, 6, 4])[0]
        audio_s = self.draw.choice([0, 0.25, 0.5, 1, 1, 1, 2])
        if condition == "unknown":
            return Observation(self.at_s, audio_s, "unknown", reasons=(self.draw.choice(["no_sound", "silent"]),))
        if condition == "off":
            return Observation(self.at_s, audio_s, "off")
        reasons = ("clipped",) if self.draw.random() < 0.2 else ()
        return Observation(self.at_s, audio_s, "scored", self.score(machine), reasons)

    def score(self, machine: Machine) -> float:
        """Runs of like scores, about the levels, at them, and at the ends of their dead-bands."""
        if self.draw.random() < 0.2:
            levels = [machine.warn_level, 1.0]
            self.mood = self.draw.choice(
                [0.0, *levels, *(level - machine.rule.dead_band for level in levels), 1.25, 5.0]
            )
        return self.mood + self.draw.choice([0, 0, 0, -0.0625, 0.0625, 1e-9, -1e-9])


def happen(machine: Machine, kind: str, said: dict[str, Any]) -> list[AlarmEvent] | type[OperationRefused]:
    try:
        return getattr(machine, kind)(**said)  # type: ignore[no-any-return]
    except OperationRefused as refused:
        return type(refused)


def restarted(machine: AlarmStateMachine, plant: Plant) -> tuple[AlarmStateMachine, ReferenceMachine]:
    snapshot = AlarmSnapshot.model_validate_json(machine.snapshot.model_dump_json())
    rule = machine.rule if plant.draw.random() < 0.7 else random_rule(plant.draw)
    limits = machine.limits if plant.draw.random() < 0.7 else random_limits(plant.draw)
    parts: dict[str, Any] = {"rule": rule, "warn_level": machine.warn_level, "limits": limits, "snapshot": snapshot}
    return AlarmStateMachine(**parts), ReferenceMachine(**parts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_machine_does_what_the_plain_reference_does(seed: int) -> None:
    draw = random.Random(seed)
    plant, rule, seen = Plant(draw), random_rule(draw), Counter[str]()
    machine, reference = AlarmStateMachine(rule, warn_level=0.75), ReferenceMachine(rule, warn_level=0.75)
    for step in range(STEPS):
        if draw.random() < 0.05:
            machine, reference = restarted(machine, plant)
        kind, said = plant.next_step(machine)
        expected, events = happen(reference, kind, said), happen(machine, kind, said)
        assert events == expected, (step, kind, said)
        assert (machine.state, machine.reasons) == (reference.state, reference.reasons), (step, kind, said)
        assert machine.snapshot == reference.snapshot, (step, kind, said)
        seen.update([machine.state, *([event.kind for event in events] if isinstance(events, list) else ["refused"])])
    assert min(seen[name] for name in (*MACHINE_STATES, *EVENT_KINDS, "refused")) >= 20, seen


ADA: dict[str, Any] = {"who": "ada", "why": "inspected"}
AT_ONCE = AlarmRule(on_delay_s=0, off_delay_s=0)


def machine_of(rule: AlarmRule = AT_ONCE, snapshot: AlarmSnapshot | None = None) -> AlarmStateMachine:
    return AlarmStateMachine(rule, warn_level=0.7, snapshot=snapshot)


def alarmed(rule: AlarmRule = AT_ONCE) -> AlarmStateMachine:
    machine = machine_of(rule)
    assert kinds(hear(machine, 1.2)) == ["raised", "state_changed"]
    return machine


def hear(machine: AlarmStateMachine, score: float, *reasons: str, at_s: float = 1.0) -> list[AlarmEvent]:
    return machine.observe(Observation(at_s, 1.0, "scored", score, reasons))


def hear_nothing(machine: AlarmStateMachine, reason: str = "no_sound", at_s: float = 1.0) -> list[AlarmEvent]:
    return machine.observe(Observation(at_s, 0.0, "unknown", None, (reason,)))


def stop(machine: AlarmStateMachine) -> list[AlarmEvent]:
    return machine.observe(Observation(1.0, 1.0, "off"))


def kinds(events: list[AlarmEvent]) -> list[str]:
    return [event.kind for event in events]


def announced(events: list[AlarmEvent]) -> list[tuple[str, int | None]]:
    return [(event.kind, event.alarm) for event in events if event.announced]


def test_before_anything_was_heard_the_machine_is_unknown() -> None:
    machine = machine_of()
    assert (machine.state, machine.reasons, machine.snapshot) == ("unknown", ("no_sound",), AlarmSnapshot())


def test_an_alarm_is_raised_before_its_state_is_shown() -> None:
    machine = machine_of()
    hear(machine, 0.1)
    events = hear(machine, 1.2, "clipped", at_s=7.0)
    said: dict[str, Any] = {"alarm": 1, "score": 1.2, "reasons": ("clipped",)}
    assert events == [
        AlarmEvent("raised", 7.0, "normal", "alarm", **said, announced=True),
        AlarmEvent("state_changed", 7.0, "normal", "alarm", **said),
    ]


def test_the_end_of_an_alarm_is_announced_with_its_number() -> None:
    assert hear(alarmed(), 0.1, at_s=8.0) == [
        AlarmEvent("cleared", 8.0, "alarm", "normal", alarm=1, score=0.1, announced=True),
        AlarmEvent("state_changed", 8.0, "alarm", "normal", score=0.1),
    ]


def test_alarms_are_numbered_from_one() -> None:
    machine = machine_of()
    raised = [event.alarm for score in (1.2, 0.1) * 3 for event in hear(machine, score) if event.kind == "raised"]
    assert raised == [1, 2, 3]


def test_a_doubtful_score_is_never_shown_as_normal() -> None:
    machine = machine_of()
    assert hear(machine, 0.1, "clipped") == []
    assert (machine.state, machine.reasons) == ("unknown", ("clipped",))
    assert kinds(hear(machine, 0.1)) == ["state_changed"]
    assert (machine.state, machine.reasons) == ("normal", ())


@pytest.mark.parametrize(("score", "state"), [(0.8, "warning"), (1.2, "alarm")])
def test_a_doubtful_score_warns_and_alarms(score: float, state: str) -> None:
    machine = machine_of()
    hear(machine, score, "clipped")
    assert (machine.state, machine.reasons) == (state, ("clipped",))


def test_a_reason_that_changes_alone_is_no_event() -> None:
    machine = machine_of()
    assert hear_nothing(machine, "silent") == []
    assert machine.reasons == ("silent",)


def test_without_sound_an_alarm_stays_in_force_and_is_not_raised_again() -> None:
    machine = alarmed()
    lost, back = hear_nothing(machine), hear(machine, 1.2)
    assert [(event.kind, event.to_state, event.alarm) for event in lost + back] == [
        ("state_changed", "unknown", 1),
        ("state_changed", "alarm", 1),
    ]


def test_without_sound_a_warning_ends() -> None:
    machine = machine_of()
    hear(machine, 0.8)
    hear_nothing(machine)
    hear(machine, 0.65)
    assert machine.state == "normal"


def test_a_machine_that_stops_keeps_its_alarm_until_it_sounds_normal() -> None:
    machine = alarmed(AlarmRule(on_delay_s=0, off_delay_s=0, startup_s=2))
    shown = []
    for happens in (stop, stop, lambda of: hear(of, 0.1), lambda of: hear(of, 0.1), lambda of: hear(of, 0.1)):
        happens(machine)
        shown.append((machine.state, machine.snapshot.active is not None))
    assert shown == [("off", True)] * 2 + [("unknown", True)] * 2 + [("normal", False)]


def test_acknowledging_is_recorded_and_announces_nothing() -> None:
    machine = alarmed()
    assert machine.acknowledge(**ADA, at_s=5.0) == [
        AlarmEvent("acknowledged", 5.0, "alarm", "alarm", alarm=1, who="ada", why="inspected")
    ]
    mark = Mark(who="ada", why="inspected", at_s=5.0)
    assert machine.snapshot.active == ActiveAlarm(number=1, raised_s=1.0, acknowledged=mark)


def test_an_alarm_is_acknowledged_while_nothing_is_heard() -> None:
    machine = alarmed()
    hear_nothing(machine)
    assert kinds(machine.acknowledge(**ADA, at_s=5.0)) == ["acknowledged"]


def test_there_has_to_be_an_alarm_to_acknowledge() -> None:
    machine = machine_of()
    hear(machine, 0.8)
    with pytest.raises(OperationRefused, match="there is no alarm to acknowledge"):
        machine.acknowledge(**ADA, at_s=5.0)


def test_an_alarm_is_acknowledged_once() -> None:
    machine = alarmed()
    machine.acknowledge(**ADA, at_s=5.0)
    with pytest.raises(OperationRefused, match="alarm 1 is acknowledged already, by ada"):
        machine.acknowledge(who="bob", why="", at_s=6.0)
    assert machine.snapshot.active is not None
    assert machine.snapshot.active.acknowledged == Mark(who="ada", why="inspected", at_s=5.0)


def test_a_shelved_alarm_is_raised_realarmed_and_cleared_unannounced() -> None:
    machine = machine_of(AT_ONCE.model_copy(update={"realarm_s": 1.0}))
    shelved = machine.shelve(**ADA, at_s=0.0, for_s=100.0)
    assert shelved == [
        AlarmEvent(
            "shelved", 0.0, "unknown", "unknown", reasons=("no_sound",), who="ada", why="inspected", until_s=100.0
        )
    ]
    events = hear(machine, 1.2) + hear(machine, 1.2) + hear(machine, 0.1)
    assert kinds(events) == ["raised", "state_changed", "realarmed", "cleared", "state_changed"]
    assert announced(events) == []


def test_the_end_of_a_shelf_announces_the_alarm_that_nobody_has_acknowledged() -> None:
    machine = alarmed()
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    assert machine.tick(69.9) == []
    assert machine.tick(70.0) == [AlarmEvent("unshelved", 70.0, "alarm", "alarm", alarm=1, announced=True)]
    assert machine.tick(71.0) == []


def test_people_who_were_told_at_the_end_of_a_shelf_are_told_again_a_re_alarm_time_later() -> None:
    machine = alarmed(AT_ONCE.model_copy(update={"realarm_s": 3.0}))
    hear(machine, 1.2)
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    machine.tick(70.0)
    assert [kinds(hear(machine, 1.2)) for _ in range(3)] == [[], [], ["realarmed"]]


def test_an_observation_ends_a_shelf_before_it_is_judged() -> None:
    machine = machine_of()
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    events = hear(machine, 1.2, at_s=70.0)
    assert kinds(events) == ["unshelved", "raised", "state_changed"]
    assert announced(events) == [("raised", 1)]


def test_the_end_of_a_shelf_announces_no_alarm_that_is_acknowledged() -> None:
    machine = alarmed()
    machine.acknowledge(**ADA, at_s=5.0)
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    assert [(event.kind, event.announced) for event in machine.tick(70.0)] == [("unshelved", False)]


def test_unshelving_names_who_did_it_and_announces_the_alarm() -> None:
    machine = alarmed()
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    assert machine.unshelve(who="bob", why="wrong machine", at_s=20.0) == [
        AlarmEvent("unshelved", 20.0, "alarm", "alarm", alarm=1, who="bob", why="wrong machine", announced=True)
    ]
    assert machine.snapshot.shelf is None


def test_only_what_is_shelved_is_unshelved() -> None:
    with pytest.raises(OperationRefused, match="not shelved"):
        alarmed().unshelve(**ADA, at_s=5.0)


def test_another_shelf_replaces_the_first() -> None:
    machine = machine_of()
    machine.shelve(**ADA, at_s=0.0, for_s=10.0)
    machine.shelve(who="bob", why="", at_s=5.0, for_s=10.0)
    assert machine.tick(14.9) == []
    assert machine.snapshot.shelf == Shelf(who="bob", at_s=5.0, until_s=15.0)
    assert kinds(machine.tick(15.0)) == ["unshelved"]


def test_a_shelf_has_a_maximum() -> None:
    machine = machine_of(AlarmRule(shelve_max_s=3_600))
    with pytest.raises(ShelfTooLong, match="shelved for 3601 s; at most 3600 s"):
        machine.shelve(**ADA, at_s=0.0, for_s=3_601.0)
    assert machine.snapshot.shelf is None
    assert kinds(machine.shelve(**ADA, at_s=0.0, for_s=3_600.0)) == ["shelved"]


@pytest.mark.parametrize("for_s", [0.0, -1.0, math.nan])
def test_a_shelf_lasts_some_time(for_s: float) -> None:
    with pytest.raises(OperationRefused, match="more than 0"):
        machine_of().shelve(**ADA, at_s=0.0, for_s=for_s)


def test_out_of_service_no_score_raises_an_alarm() -> None:
    machine = machine_of()
    hear(machine, 0.1)
    (taken, changed) = machine.take_out_of_service(who="ada", why="new belt", at_s=5.0)
    assert taken == AlarmEvent("out_of_service", 5.0, "normal", "out_of_service", who="ada", why="new belt")
    assert changed == AlarmEvent("state_changed", 5.0, "normal", "out_of_service")
    assert [hear(machine, 1.2), hear_nothing(machine), stop(machine)] == [[], [], []]
    assert (machine.state, machine.reasons) == ("out_of_service", ())
    assert machine.snapshot.out_of_service == Mark(who="ada", why="new belt", at_s=5.0)


def test_out_of_service_an_alarm_stays_as_it_is() -> None:
    machine = alarmed(AT_ONCE.model_copy(update={"realarm_s": 1.0}))
    machine.take_out_of_service(**ADA, at_s=5.0)
    assert [hear(machine, 0.1), hear(machine, 0.1)] == [[], []]
    assert machine.snapshot.active == ActiveAlarm(number=1, raised_s=1.0)


@pytest.mark.parametrize("heard_before", [True, False])
def test_a_returned_machine_is_not_normal_before_it_was_heard(heard_before: bool) -> None:
    machine = machine_of()
    if heard_before:
        hear(machine, 0.1)
    machine.take_out_of_service(**ADA, at_s=5.0)
    assert kinds(machine.return_to_service(**ADA, at_s=9.0)) == ["in_service", "state_changed"]
    assert (machine.state, machine.reasons) == ("unknown", ("no_sound",))
    hear(machine, 0.1)
    assert machine.state == "normal"


def test_a_returned_machine_shows_the_alarm_that_was_in_force() -> None:
    machine = alarmed()
    machine.take_out_of_service(**ADA, at_s=5.0)
    hear(machine, 0.1)
    machine.return_to_service(**ADA, at_s=9.0)
    assert (machine.state, machine.reasons) == ("alarm", ("no_sound",))
    assert kinds(hear(machine, 0.1)) == ["cleared", "state_changed"]


def test_an_alarm_acknowledged_after_the_return_does_not_make_it_normal_unheard() -> None:
    machine = alarmed(AT_ONCE.model_copy(update={"latch": True}))
    hear(machine, 0.1)
    machine.take_out_of_service(**ADA, at_s=5.0)
    machine.return_to_service(**ADA, at_s=9.0)
    assert kinds(machine.acknowledge(**ADA, at_s=9.5)) == ["acknowledged", "cleared", "state_changed"]
    assert machine.state == "unknown"


def test_a_machine_returned_while_it_stands_still_is_off_and_then_starts() -> None:
    machine = machine_of()
    machine.take_out_of_service(**ADA, at_s=5.0)
    stop(machine)
    machine.return_to_service(**ADA, at_s=9.0)
    assert machine.state == "off"
    hear(machine, 1.2)
    assert (machine.state, machine.reasons) == ("unknown", ("starting",))


def test_a_machine_started_out_of_service_is_still_starting_when_it_returns() -> None:
    machine = machine_of()
    machine.take_out_of_service(**ADA, at_s=5.0)
    stop(machine)
    hear(machine, 1.2)
    machine.return_to_service(**ADA, at_s=9.0)
    assert (machine.state, machine.reasons) == ("unknown", ("starting",))


def test_the_on_delay_begins_anew_after_the_return() -> None:
    machine = machine_of(AlarmRule(on_delay_s=1))
    hear(machine, 1.2)
    machine.take_out_of_service(**ADA, at_s=5.0)
    machine.return_to_service(**ADA, at_s=5.5)
    assert "raised" not in kinds(hear(machine, 1.2))
    assert "raised" in kinds(hear(machine, 1.2))


def test_service_is_left_once_and_returned_to_once() -> None:
    machine = machine_of()
    with pytest.raises(OperationRefused, match="in service already"):
        machine.return_to_service(**ADA, at_s=1.0)
    machine.take_out_of_service(**ADA, at_s=2.0)
    with pytest.raises(OperationRefused, match="out of service already, by ada"):
        machine.take_out_of_service(who="bob", why="", at_s=3.0)
    assert machine.snapshot.out_of_service == Mark(**ADA, at_s=2.0)


def restart(machine: AlarmStateMachine) -> AlarmStateMachine:
    snapshot = AlarmSnapshot.model_validate_json(machine.snapshot.model_dump_json())
    return machine_of(machine.rule, snapshot)


def test_after_a_restart_an_alarm_is_in_force_and_not_raised_again() -> None:
    machine = alarmed(AlarmRule(on_delay_s=0, off_delay_s=1))
    machine.acknowledge(**ADA, at_s=5.0)
    again = restart(machine)
    assert again.snapshot == machine.snapshot
    assert (again.state, again.reasons) == ("unknown", ("no_sound",))
    assert [kinds(hear(again, score)) for score in (1.2, 0.1, 0.1)] == [
        ["state_changed"],
        [],
        ["cleared", "state_changed"],
    ]


def test_after_a_restart_numbers_go_on() -> None:
    machine = alarmed()
    hear(machine, 0.1)
    assert [event.alarm for event in hear(restart(machine), 1.2)] == [2, 2]


def test_after_a_restart_a_latched_alarm_is_still_over() -> None:
    machine = alarmed(AT_ONCE.model_copy(update={"latch": True}))
    hear(machine, 0.1)
    again = restart(machine)
    hear(again, 0.1)
    assert again.state == "alarm"
    assert kinds(again.acknowledge(**ADA, at_s=5.0)) == ["acknowledged", "cleared", "state_changed"]


def test_after_a_restart_a_shelf_goes_on_and_ends_in_time() -> None:
    machine = alarmed()
    machine.shelve(**ADA, at_s=10.0, for_s=60.0)
    again = restart(machine)
    assert again.tick(69.0) == []
    assert announced(again.tick(70.0)) == [("unshelved", 1)]


def test_after_a_restart_a_machine_is_out_of_service_until_it_is_returned() -> None:
    machine = machine_of()
    machine.take_out_of_service(**ADA, at_s=5.0)
    again = restart(machine)
    assert hear(again, 1.2) == []
    assert again.state == "out_of_service"


def test_after_a_restart_delays_begin_anew() -> None:
    machine = machine_of(AlarmRule(on_delay_s=1))
    hear(machine, 1.2)
    again = restart(machine)
    assert "raised" not in kinds(hear(again, 1.2))
    assert "raised" in kinds(hear(again, 1.2))


def test_another_rule_starts_delays_anew_and_keeps_the_alarm() -> None:
    machine = alarmed(AlarmRule(on_delay_s=0, off_delay_s=1))
    hear(machine, 0.1)
    assert machine.change_rule(AlarmRule(off_delay_s=1), 0.5) == []
    assert (machine.state, machine.rule, machine.warn_level) == ("alarm", AlarmRule(off_delay_s=1), 0.5)
    assert [kinds(hear(machine, 0.1)) for _ in range(2)] == [[], ["cleared", "state_changed"]]


@pytest.mark.parametrize("warn_level", [0.0, -1.0, 1.01, math.nan])
def test_a_warn_level_that_is_none_is_refused_and_changes_nothing(warn_level: float) -> None:
    machine = machine_of()
    with pytest.raises(ValueError, match="warn level"):
        machine.change_rule(AlarmRule(), warn_level)
    assert (machine.rule, machine.warn_level) == (AT_ONCE, 0.7)
    with pytest.raises(ValueError, match="warn level"):
        AlarmStateMachine(AlarmRule(), warn_level=warn_level)


@pytest.mark.parametrize(("score", "audio_s"), [(None, 1.0), (math.nan, 1.0), (0.1, -1.0), (0.1, math.nan)])
def test_what_is_no_observation_is_never_shown_as_normal(score: float | None, audio_s: float) -> None:
    machine = machine_of()
    with pytest.raises(ValueError, match="observation"):
        machine.observe(Observation(1.0, audio_s, "scored", score))
    assert machine.state == "unknown"


def test_a_shelf_does_not_last_longer_because_the_clock_was_set_back() -> None:
    machine = AlarmStateMachine(AlarmRule(on_delay_s=0), warn_level=0.7)
    now_s = 1.8e9
    machine.shelve(who="ann", why="", at_s=now_s, for_s=3_600.0)
    assert machine.tick(now_s - 30.0) == []
    assert machine.snapshot.shelf is not None
    assert machine.snapshot.shelf.until_s == now_s + 3_600.0  # a clock that is corrected a little
    back_s = now_s - 3 * 86_400.0
    assert machine.tick(back_s) == []
    machine.observe(Observation(back_s - 86_400.0, 1.0, "scored", 0.1))  # old sound is no clock
    assert machine.tick(back_s + 3_599.0) == []
    assert [event.kind for event in machine.tick(back_s + 3_600.0)] == ["unshelved"]


def test_sound_from_before_an_alarm_does_not_end_it() -> None:
    machine = AlarmStateMachine(AlarmRule(on_delay_s=0, off_delay_s=10, decision="on_delay"), warn_level=0.7)
    now_s = 1.8e9
    assert machine.observe(Observation(now_s, 1.0, "scored", 2.0))[0].kind == "raised"
    for second in range(100):
        assert not machine.observe(Observation(now_s - 86_400.0 + second, 1.0, "scored", 0.1))
    cleared = [machine.observe(Observation(now_s + 1 + second, 1.0, "scored", 0.1)) for second in range(11)]
    assert next(event.kind for events in cleared for event in events) == "cleared"


def test_an_alarm_of_a_clock_that_was_ahead_ends_by_what_is_heard_now() -> None:
    machine = AlarmStateMachine(AlarmRule(on_delay_s=0, off_delay_s=10, decision="on_delay"), warn_level=0.7)
    ahead_s, now_s = 2.2e9, 1.8e9
    machine.observe(Observation(ahead_s, 1.0, "scored", 2.0))
    machine = AlarmStateMachine(machine.rule, warn_level=0.7, snapshot=machine.snapshot)  # also after a restart
    machine.tick(now_s)
    events = [machine.observe(Observation(now_s + second, 1.0, "scored", 0.1)) for second in range(12)]
    assert "cleared" in [event.kind for several in events for event in several]
