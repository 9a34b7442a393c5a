"""What each part of the rule does, to the second."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from humwatch.alarm.events import Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine

WARN_LEVEL = 0.7


class Heard:
    """A machine that hears seconds of sound: the first ends at second 1."""

    def __init__(self, rule: AlarmRule) -> None:
        self.machine = AlarmStateMachine(rule, warn_level=WARN_LEVEL)
        self.second = 0

    def scores(self, *scores: float) -> list[tuple[int, str]]:
        """The events that one score a second leads to, with the second of each; changes of state are left out."""
        return [event for score in scores for event in self._hear("scored", score)]

    def nothing(self, seconds: int) -> list[tuple[int, str]]:
        return [event for _ in range(seconds) for event in self._hear("unknown")]

    def stopped(self, seconds: int = 1) -> list[tuple[int, str]]:
        return [event for _ in range(seconds) for event in self._hear("off")]

    def _hear(self, condition: str, score: float | None = None) -> list[tuple[int, str]]:
        self.second += 1
        reasons = ("no_sound",) if condition == "unknown" else ()
        events = self.machine.observe(Observation(self.second, 1.0, condition, score, reasons))  # type: ignore[arg-type]
        return [(self.second, event.kind) for event in events if event.kind != "state_changed"]


def alarmed(rule: AlarmRule) -> Heard:
    """A machine whose alarm was raised at second 1."""
    heard = Heard(rule.model_copy(update={"on_delay_s": 0.0}))
    assert heard.scores(1.2) == [(1, "raised")]
    return heard


def test_the_first_score_over_the_level_starts_the_on_delay_at_zero() -> None:
    heard = Heard(AlarmRule(on_delay_s=5))
    assert heard.scores(0.1, *[1.2] * 5) == []
    assert heard.machine.state == "normal"
    assert heard.scores(1.2) == [(7, "raised")]


def test_a_machine_whose_first_scores_are_over_is_not_shown_as_normal_meanwhile() -> None:
    heard = Heard(AlarmRule(on_delay_s=5))
    heard.scores(0.8)
    assert (heard.machine.state, heard.machine.reasons) == ("unknown", ("deciding",))
    heard.scores(0.69)
    assert (heard.machine.state, heard.machine.reasons) == ("normal", ())
    heard.scores(1.2)
    assert heard.machine.state == "normal"
    heard.nothing(1)
    heard.scores(1.2)
    assert (heard.machine.state, heard.machine.reasons) == ("unknown", ("deciding",))


def test_only_scores_that_are_not_doubtful_end_an_alarm() -> None:
    heard = alarmed(AlarmRule(on_delay_s=0, off_delay_s=3))
    for second in range(60):
        assert heard.machine.observe(Observation(second, 1.0, "scored", 0.1, ("clipped",))) == []
    assert heard.machine.state == "alarm"
    assert heard.scores(0.1, 0.1, 0.1)[-1:] != [(64, "cleared")]
    assert heard.scores(0.1)[0][1] == "cleared"


def test_nobody_is_told_when_a_shelf_ends_out_of_service() -> None:
    machine = alarmed(AlarmRule(on_delay_s=0)).machine
    machine.shelve(who="ann", why="", at_s=100.0, for_s=60.0)
    machine.take_out_of_service(who="ann", why="", at_s=101.0)
    assert [(event.kind, event.announced) for event in machine.tick(200.0)] == [("unshelved", False)]


def test_without_on_delay_one_score_alarms() -> None:
    assert Heard(AlarmRule(on_delay_s=0)).scores(1.2) == [(1, "raised")]


def test_one_score_below_the_level_starts_the_on_delay_anew() -> None:
    heard = Heard(AlarmRule(on_delay_s=5))
    assert heard.scores(*[1.2] * 5, 0.99, *[1.2] * 5) == []
    assert heard.scores(1.2) == [(12, "raised")]


def test_a_score_at_the_level_is_over_it() -> None:
    assert Heard(AlarmRule(on_delay_s=0)).scores(math.nextafter(1.0, 0), 1.0) == [(2, "raised")]


def test_delays_count_sound_and_not_the_wall_clock() -> None:
    machine = AlarmStateMachine(AlarmRule(on_delay_s=1), warn_level=WARN_LEVEL)
    states = []
    for at_s in (0.0, 3_600.0, 3_600.1):
        machine.observe(Observation(at_s, 0.5, "scored", 1.2))
        states.append(machine.state)
    assert states == ["unknown", "unknown", "alarm"]


def test_an_observation_without_sound_lengthens_no_delay() -> None:
    machine = AlarmStateMachine(AlarmRule(on_delay_s=1), warn_level=WARN_LEVEL)
    for second in range(100):
        machine.observe(Observation(second, 0.0, "scored", 1.2))
        assert machine.state == "unknown"


def test_the_alarm_clears_once_the_score_was_low_for_the_off_delay() -> None:
    heard = alarmed(AlarmRule(off_delay_s=30))
    assert heard.scores(*[0.2] * 30) == []
    assert heard.machine.state == "alarm"
    assert heard.scores(0.2) == [(32, "cleared")]
    assert heard.machine.state == "normal"


def test_without_off_delay_one_low_score_clears() -> None:
    assert alarmed(AlarmRule(off_delay_s=0)).scores(0.2) == [(2, "cleared")]


def test_a_score_in_the_dead_band_keeps_the_alarm_and_starts_the_off_delay_anew() -> None:
    heard = alarmed(AlarmRule(off_delay_s=3, dead_band=0.1))
    assert heard.scores(*[0.2] * 3, 0.95, *[0.2] * 3) == []
    assert heard.scores(0.2) == [(9, "cleared")]


def test_the_dead_band_ends_just_below_its_lower_edge() -> None:
    heard = alarmed(AlarmRule(off_delay_s=0, dead_band=0.25))
    assert heard.scores(*[0.75] * 100) == []
    assert heard.scores(math.nextafter(0.75, 0)) == [(102, "cleared")]


def test_k_of_the_last_n_scores_have_to_be_over_the_level() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, k=3, n=5))
    assert heard.scores(1.2, 0.2, 1.2, 0.2, 0.2, 1.2, 0.2, 1.2) == []
    assert heard.scores(1.2) == [(9, "raised")]


def test_k_of_n_does_not_wait_for_n_scores() -> None:
    assert Heard(AlarmRule(on_delay_s=0, k=2, n=5)).scores(1.2, 1.2) == [(2, "raised")]


def test_the_on_delay_begins_when_k_of_n_are_over() -> None:
    heard = Heard(AlarmRule(on_delay_s=2, k=2, n=3))
    assert heard.scores(1.2, 1.2, 0.2) == []
    assert heard.scores(1.2) == [(4, "raised")]


def test_k_of_n_is_counted_anew_after_an_alarm() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, off_delay_s=0, k=2, n=5))
    assert heard.scores(1.2, 1.2, 0.2) == [(2, "raised"), (3, "cleared")]
    assert heard.scores(1.2) == []
    assert heard.scores(1.2) == [(5, "raised")]


def test_a_second_without_a_score_starts_delay_and_k_of_n_anew() -> None:
    heard = Heard(AlarmRule(on_delay_s=2, k=2, n=3))
    assert heard.scores(1.2, 1.2, 1.2) + heard.nothing(1) + heard.scores(1.2, 1.2, 1.2) == []
    assert heard.scores(1.2) == [(8, "raised")]


def test_the_rule_holds_for_warnings_too() -> None:
    heard = Heard(AlarmRule(on_delay_s=5, off_delay_s=3, dead_band=0.1))
    shown = []
    for score in [0.8] * 6 + [0.65] * 4 + [0.5] * 4:
        heard.scores(score)
        shown.append(heard.machine.state)
    assert shown == ["unknown"] * 5 + ["warning"] * 8 + ["normal"]


def test_an_alarm_that_clears_between_the_levels_leaves_a_warning() -> None:
    heard = alarmed(AlarmRule(off_delay_s=0))
    assert heard.scores(0.8) == [(2, "cleared")]
    assert heard.machine.state == "warning"


def test_a_latched_alarm_that_is_over_clears_when_it_is_acknowledged() -> None:
    heard = alarmed(AlarmRule(off_delay_s=3, latch=True))
    assert heard.scores(*[0.2] * 60) == []
    assert heard.machine.state == "alarm"
    assert heard.machine.snapshot.active is not None
    assert heard.machine.snapshot.active.over
    events = heard.machine.acknowledge(who="ada", why="bearing oiled", at_s=61)
    assert [(event.kind, event.alarm) for event in events] == [
        ("acknowledged", 1),
        ("cleared", 1),
        ("state_changed", None),
    ]
    assert heard.machine.state == "normal"


def test_a_latched_alarm_that_was_acknowledged_clears_by_itself() -> None:
    heard = alarmed(AlarmRule(off_delay_s=3, latch=True))
    assert [event.kind for event in heard.machine.acknowledge(who="ada", why="", at_s=1)] == ["acknowledged"]
    assert heard.scores(*[0.2] * 4) == [(5, "cleared")]


def test_a_latched_alarm_goes_on_under_its_number_when_the_score_is_over_again() -> None:
    heard = alarmed(AlarmRule(off_delay_s=0, latch=True))
    assert heard.scores(0.2, 1.2) == []
    assert heard.machine.snapshot.last_number == 1
    assert heard.machine.snapshot.active is not None
    assert not heard.machine.snapshot.active.over


def test_an_alarm_that_nobody_acknowledges_is_announced_again_and_again() -> None:
    heard = alarmed(AlarmRule(realarm_s=10))
    assert heard.scores(*[1.2] * 25) == [(11, "realarmed"), (21, "realarmed")]


def test_sound_that_cannot_be_judged_counts_for_the_re_alarm() -> None:
    heard = alarmed(AlarmRule(realarm_s=10))
    assert heard.nothing(5) + heard.stopped(4) == []
    assert heard.nothing(1) == [(11, "realarmed")]


def test_a_latched_alarm_that_is_over_is_announced_again() -> None:
    assert alarmed(AlarmRule(realarm_s=10, off_delay_s=0, latch=True)).scores(*[0.2] * 10) == [(11, "realarmed")]


def test_an_acknowledged_alarm_is_not_announced_again() -> None:
    heard = alarmed(AlarmRule(realarm_s=10))
    heard.machine.acknowledge(who="ada", why="", at_s=1)
    assert heard.scores(*[1.2] * 50) == []


@pytest.mark.parametrize("never", [None, math.inf])
def test_re_alarming_can_be_switched_off(never: float | None) -> None:
    assert alarmed(AlarmRule(realarm_s=never)).scores(*[1.2] * 10_000) == []


def test_scores_decide_nothing_for_the_start_up_time() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, startup_s=10))
    heard.stopped(100)
    assert heard.scores(*[1.2] * 10) == []
    assert (heard.machine.state, heard.machine.reasons) == ("unknown", ("starting",))
    assert heard.scores(1.2) == [(111, "raised")]


def test_the_on_delay_begins_after_the_start_up_time() -> None:
    heard = Heard(AlarmRule(on_delay_s=5, startup_s=10))
    heard.stopped()
    assert heard.scores(*[1.2] * 16) == [(17, "raised")]


def test_sound_that_cannot_be_judged_counts_for_the_start_up() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, startup_s=10))
    assert heard.stopped() + heard.nothing(4) + heard.scores(*[1.2] * 6) == []
    assert heard.scores(1.2) == [(12, "raised")]


def test_a_machine_that_stops_again_starts_again() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, startup_s=10))
    assert heard.stopped() + heard.scores(*[1.2] * 9) + heard.stopped() + heard.scores(*[1.2] * 10) == []
    assert heard.scores(1.2) == [(22, "raised")]


def test_without_start_up_time_the_first_score_decides() -> None:
    heard = Heard(AlarmRule(on_delay_s=0, startup_s=0))
    assert heard.stopped() + heard.scores(1.2) == [(2, "raised")]


def test_a_machine_that_was_never_off_is_not_starting() -> None:
    assert Heard(AlarmRule(on_delay_s=0, startup_s=86_400)).scores(1.2) == [(1, "raised")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("on_delay_s", -1),
        ("on_delay_s", math.nan),
        ("off_delay_s", math.inf),
        ("dead_band", -0.1),
        ("k", 0),
        ("n", 601),
        ("realarm_s", 0),
        ("startup_s", 86_401),
        ("shelve_max_s", 0),
        ("on_delay", 5),
    ],
)
def test_a_rule_outside_its_limits_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        AlarmRule.model_validate({field: value})


def test_k_is_at_most_n() -> None:
    assert AlarmRule(k=4, n=4).k == 4
    with pytest.raises(ValidationError, match="k is more than n"):
        AlarmRule(k=5, n=4)
