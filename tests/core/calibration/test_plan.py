from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humwatch.calibration.plan import AT_ONCE, MAX_MINUTES, NORMAL_HOURS, SPREAD, CollectionPlan, PlanKind
from humwatch.errors import CalibrationError

START_S = 1_700_000_000.0
HOUR_S = 3_600.0


def plan_of(kind: PlanKind, **given: float) -> CollectionPlan:
    if kind == "in_a_row":
        return CollectionPlan.in_a_row(10, START_S)
    return CollectionPlan.over(kind, START_S, **given)


def followed(plan: CollectionPlan, standing: list[tuple[float, float]], until_s: float) -> list[float]:
    """Times of the minutes of a machine that stands now and then; sound is looked at every ten seconds."""
    taken: list[float] = []
    at_s = plan.start_s
    while at_s < until_s:
        stands = next((end for begin, end in standing if begin - 60.0 < at_s - START_S < end), None)
        if stands is not None:
            at_s = START_S + stands
        elif plan.wants(at_s, taken):
            taken.append(at_s)
            at_s += 60.0
        else:
            due_s = plan.due_s(taken)
            at_s = max(at_s + 10.0, until_s if due_s is None else at_s + (due_s - at_s) // 10.0 * 10.0)
    return taken


def hour_of(at_s: float) -> int:
    return time.gmtime(at_s).tm_hour


@pytest.mark.parametrize(
    ("kind", "minutes", "collected_h", "normal_h"), [("day", 101, 24.0, 50.0), ("week", 235, 168.0, 252.0)]
)
def test_a_plan_begins_at_once_and_covers_its_period(
    kind: PlanKind, minutes: int, collected_h: float, normal_h: float
) -> None:
    plan = plan_of(kind)
    taken = followed(plan, [], START_S + 300 * HOUR_S)
    assert (len(taken), plan.minutes) == (minutes, minutes) <= (MAX_MINUTES, MAX_MINUTES)
    assert [at_s - START_S for at_s in taken[:AT_ONCE]] == [60.0 * number for number in range(AT_ONCE)]
    assert plan.collect_until_s == START_S + collected_h * HOUR_S
    assert plan.until_s == START_S + normal_h * HOUR_S
    assert taken[-1] < plan.collect_until_s
    for number, at_s in enumerate(taken[AT_ONCE:]):
        assert 0.0 <= at_s - START_S - number * plan.stretch_s < plan.stretch_s  # one in each stretch
    hours = [hour_of(at_s) for at_s in taken[AT_ONCE:]]
    counts = [hours.count(hour) for hour in range(24)]
    assert 0.6 * len(hours) / 24 <= min(counts) <= max(counts) <= 1.4 * len(hours) / 24


def test_a_day_has_a_minute_in_each_quarter_of_an_hour() -> None:
    assert plan_of("day").stretch_s == 900.0
    assert plan_of("week").stretch_s == pytest.approx(168 * HOUR_S / 230)


@pytest.mark.parametrize(
    ("standing", "missing"),
    [
        ([(3 * HOUR_S, 4 * HOUR_S)], 0),
        ([(0.0, 600.0), (HOUR_S, 8 * HOUR_S)], 0),
        ([(8 * HOUR_S, 16 * HOUR_S)], 0),
        ([(120.0, 20 * HOUR_S)], 101 - 2 - 3 - 32),
        ([(2 * HOUR_S, 200 * HOUR_S)], 101 - 5 - 8),
    ],
)
def test_missed_stretches_are_made_up_half_a_stretch_apart(standing: list[tuple[float, float]], missing: int) -> None:
    plan = plan_of("day")
    taken = followed(plan, standing, START_S + 60 * HOUR_S)
    assert abs(plan.minutes - len(taken) - missing) <= 2
    gaps = [second - first for first, second in zip(taken[AT_ONCE:], taken[AT_ONCE + 1 :], strict=False)]
    assert min(gaps) >= plan.stretch_s / 2 - 10.0
    assert all(at_s < (plan.collect_until_s or 0) for at_s in taken)


def test_the_first_minutes_are_waited_for_while_the_sound_is_normal() -> None:
    plan = plan_of("day")
    late = START_S + 40 * HOUR_S
    assert plan.wants(late, [START_S] * (AT_ONCE - 1))
    assert not plan.wants(late, [START_S] * AT_ONCE)
    assert not plan.wants(START_S + 51 * HOUR_S, [])
    assert not plan.wants(START_S - 1.0, [])
    assert plan.due_s([START_S] * 101) is None


def test_minutes_in_a_row_are_the_simplest_plan() -> None:
    plan = CollectionPlan.in_a_row(10, START_S)
    taken = followed(plan, [(301.0, 90_000.0)], START_S + 200_000.0)
    assert [round(at_s - START_S) for at_s in taken] == [*range(0, 300, 60), *range(90_000, 90_300, 60)]
    assert (plan.stages(watched=True), plan.stages(watched=False)) == ([10], [5, 10])
    assert CollectionPlan.in_a_row(100).stages(watched=False) == [5, 15, 40, 100]
    assert plan_of("day").stages(watched=True) == [5, 15, 40, 101]
    assert CollectionPlan.in_a_row(5).stages(watched=False) == [5]


@pytest.mark.parametrize("kind", ["day", "week"])
def test_a_period_that_is_declared_shortens_or_stretches_the_plan(kind: PlanKind) -> None:
    plan = plan_of(kind, normal_s=2 * NORMAL_HOURS[kind] * HOUR_S)
    assert plan.stretch_s == 2 * plan_of(kind).stretch_s
    assert plan.minutes == AT_ONCE + SPREAD[kind]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CollectionPlan.in_a_row(2), "3 to 240"),
        (lambda: CollectionPlan.in_a_row(MAX_MINUTES + 1), "3 to 240"),
        (lambda: CollectionPlan.in_a_row(10, normal_s=600.0), "10 minutes in a row do not fit into 0.167 h"),
        (
            lambda: CollectionPlan.over("day", 0.0, normal_s=6 * HOUR_S),
            "over 2.88 h, the part of 6 h .*: declare 6.7 h normal",
        ),
    ],
)
def test_what_cannot_be_planned_is_named(make: object, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        make()  # type: ignore[operator]


@given(
    kind=st.sampled_from(["day", "week"]),
    times=st.lists(st.floats(0.0, 200 * HOUR_S), max_size=100),
    at_s=st.floats(0.0, 300 * HOUR_S),
)
def test_what_is_wanted_depends_on_the_times_alone(kind: PlanKind, times: list[float], at_s: float) -> None:
    plan = plan_of(kind)
    taken = [START_S + one for one in times]
    wanted = plan.wants(START_S + at_s, taken)
    assert plan.wants(START_S + at_s, taken[::-1]) == wanted
    assert CollectionPlan.model_validate_json(plan.model_dump_json()).wants(START_S + at_s, taken) == wanted
    due_s = plan.due_s(taken)
    assert due_s is not None
    assert not wanted or due_s <= START_S + at_s
