"""The sequential rule: fast for strong faults, patient for faint ones."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from humwatch.alarm.characteristic import curve, seconds_to_alarm, sentence
from humwatch.alarm.events import Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.alarm.state_machine import AlarmStateMachine

LIMITS = SequentialLimits(
    charts=(
        Chart(time_constant_s=5, limit=1.4),
        Chart(time_constant_s=20, limit=0.9),
        Chart(time_constant_s=80, limit=0.5),
        Chart(time_constant_s=300, limit=0.35),
    )
)
RULE = AlarmRule(off_delay_s=30, startup_s=0)


class Heard:
    """A machine that hears a score a second."""

    def __init__(self, rule: AlarmRule = RULE, limits: SequentialLimits | None = LIMITS) -> None:
        self.machine = AlarmStateMachine(rule, warn_level=0.6, limits=limits)
        self.second = 0

    def scores(self, score: float, seconds: int, *reasons: str) -> list[tuple[int, str]]:
        return [event for _ in range(seconds) for event in self._hear("scored", score, reasons)]

    def nothing(self, seconds: int) -> list[tuple[int, str]]:
        return [event for _ in range(seconds) for event in self._hear("unknown", None, ("no_sound",))]

    def stopped(self, seconds: int = 1) -> list[tuple[int, str]]:
        return [event for _ in range(seconds) for event in self._hear("off", None, ())]

    def _hear(self, condition: str, score: float | None, reasons: tuple[str, ...]) -> list[tuple[int, str]]:
        self.second += 1
        events = self.machine.observe(Observation(self.second, 1.0, condition, score, reasons))  # type: ignore[arg-type]
        return [(self.second, event.kind) for event in events if event.kind != "state_changed"]


@pytest.mark.parametrize("score", [0.36, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 100.0])
def test_a_constant_score_alarms_when_the_curve_says(score: float) -> None:
    expected_s = LIMITS.seconds_to_alarm(score)
    assert expected_s is not None
    ((second, kind),) = Heard().scores(score, int(expected_s) + 2)
    assert kind == "raised"
    assert expected_s <= second < expected_s + 1


def test_what_is_under_every_limit_never_alarms() -> None:
    heard = Heard()
    assert heard.scores(0.34, 3_000) == []
    assert LIMITS.seconds_to_alarm(0.34) is None
    assert heard.machine.state == "warning"  # over half of the limit of the most patient average


def test_a_fault_at_half_the_level_alarms_that_the_on_delay_never_finds() -> None:
    assert [kind for _, kind in Heard().scores(0.5, 600)] == ["raised"]
    assert Heard(limits=None).scores(0.5, 600) == []


def test_no_single_second_raises_an_alarm_however_strange() -> None:
    heard = Heard()
    assert heard.scores(1e9, 1) == []
    assert heard.scores(0.0, 60) == []


def test_the_higher_the_score_the_sooner_the_alarm() -> None:
    waits = [point.seconds for point in curve(RULE, LIMITS) if point.seconds is not None]
    assert len(waits) > 8
    assert waits == sorted(waits, reverse=True)


def test_an_alarm_ends_when_every_average_has_come_back_for_the_off_delay() -> None:
    heard = Heard()
    ((raised, _),) = heard.scores(0.5, 400)
    ((cleared, kind),) = heard.scores(0.0, 300)
    assert kind == "cleared"
    # The most patient average was cut off at its limit, and falls to three quarters of it in 300 log(4/3) = 86 s.
    assert raised == 362
    assert cleared == 400 + 87 + 30


def test_a_short_fault_of_the_source_does_not_undo_minutes_of_patience() -> None:
    undisturbed, disturbed = Heard(), Heard()
    ((second, _),) = undisturbed.scores(0.5, 400)
    assert disturbed.scores(0.5, second - 10) == []
    assert disturbed.nothing(60) == []
    assert disturbed.scores(0.5, 10) == [(second + 60, "raised")]


def test_a_machine_that_was_off_begins_anew() -> None:
    heard = Heard()
    ((second, _),) = Heard().scores(0.5, 400)
    heard.scores(0.5, second - 1)
    heard.stopped()
    assert heard.scores(0.5, second - 1) == []
    assert heard.scores(0.5, 1) == [(2 * second, "raised")]


def test_a_doubtful_score_adds_to_the_evidence_and_never_takes_from_it() -> None:
    heard = Heard()
    heard.scores(0.5, 100)
    before = heard.machine.nearest
    heard.scores(0.0, 500, "clipped")
    assert heard.machine.nearest == before
    assert [kind for _, kind in heard.scores(2.0, 30, "clipped")] == ["raised"]
    assert heard.scores(0.0, 500, "clipped") == []


def test_after_a_restart_an_alarm_ends_by_normal_sound_alone() -> None:
    heard = Heard()
    heard.scores(2.0, 60)
    snapshot = heard.machine.snapshot
    heard.machine = AlarmStateMachine(RULE, warn_level=0.6, limits=LIMITS, snapshot=snapshot)
    assert heard.scores(0.5, 500) == []
    assert [kind for _, kind in heard.scores(0.0, 500)] == ["cleared"]


def test_the_average_that_raised_is_named() -> None:
    heard = Heard()
    heard.scores(0.4, 3_000)
    nearest = heard.machine.nearest
    assert nearest is not None
    assert (nearest.time_constant_s, nearest.limit, nearest.average) == (300, 0.35, 0.35)


def test_a_rule_that_asks_for_the_on_delay_gets_it() -> None:
    heard = Heard(AlarmRule(decision="on_delay", on_delay_s=5))
    assert heard.machine.limits is None
    assert heard.machine.nearest is None
    assert heard.scores(1.2, 6) == [(6, "raised")]


def test_the_rule_in_words() -> None:
    assert sentence(RULE, LIMITS) == (
        "An alarm is raised when the average of the score passes 1.40 over 5 s, 0.90 over 20 s, 0.50 over 80 s or 0.35"
        " over 5 min: at twice the level after 6 s, at the level after 46 s, at half the level after 6 min."
    )
    assert sentence(AlarmRule(k=3, n=5, on_delay_s=0), None) == (
        "An alarm is raised when 3 of the last 5 scores have been over the level for 0 s."
    )
    assert sentence(AlarmRule(decision="on_delay"), LIMITS) == (
        "An alarm is raised when the score has been over the level for 5 s."
    )
    assert seconds_to_alarm(AlarmRule(), None, 0.99) is None
    assert seconds_to_alarm(AlarmRule(), None, 1.0) == 5.0


@pytest.mark.parametrize(
    "charts",
    [[], [(20, 1.0), (5, 1.0)], [(5, 1.0), (5, 0.9)], [(5, 0.0)], [(0, 1.0)]],
    ids=["none", "disordered", "twice", "no limit", "no time"],
)
def test_limits_that_are_none_are_refused(charts: list[tuple[float, float]]) -> None:
    with pytest.raises(ValidationError):
        SequentialLimits.model_validate(
            {"charts": [{"time_constant_s": time_s, "limit": limit} for time_s, limit in charts]}
        )
