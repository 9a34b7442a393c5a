from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humwatch_service.shadow.comparison import MAX_EPISODES, MAX_OPEN, Comparison
from humwatch_service.shadow.matching import SLACK_S, Interval, Match, match

OPEN = math.inf


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [], []),
        ([(0, 5)], [], [((0,), ())]),
        ([], [(0, 5)], [((), (0,))]),
        ([(0, 5)], [(3, 9)], [((0,), (0,))]),
        ([(3, 9)], [(0, 5)], [((0,), (0,))]),
        ([(0, 20)], [(5, 8)], [((0,), (0,))]),  # inside
        ([(0, 5)], [(15, 20)], [((0,), (0,))]),  # just near enough
        ([(0, 5)], [(15.1, 20)], [((0,), ()), ((), (0,))]),
        ([(0, 5), (6, 9)], [], [((0,), ()), ((1,), ())]),  # of one version: never joined
        ([(0, 5), (6, 9)], [(4, 7)], [((0, 1), (0,))]),  # but by one of the other
        ([(0, OPEN)], [(50, 60), (500, OPEN)], [((0,), (0, 1))]),
        ([(0, 5), (100, 110)], [(101, 105), (300, 310)], [((0,), ()), ((1,), (0,)), ((), (1,))]),
    ],
)
def test_alarms_that_overlap_or_nearly_are_about_the_same(
    old: list[tuple[float, float]],
    new: list[tuple[float, float]],
    expected: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    found = match([Interval(*each) for each in old], [Interval(*each) for each in new], slack_s=10.0)
    assert found == [Match(*each) for each in expected]


def test_a_match_says_who_raised_it() -> None:
    assert [Match((0,), (0,)).by, Match((0,), ()).by, Match((), (0,)).by] == ["both", "old", "new"]


intervals = st.lists(
    st.tuples(st.integers(0, 300), st.one_of(st.integers(0, 60), st.just(OPEN))).map(
        lambda each: Interval(float(each[0]), each[0] + each[1])
    ),
    max_size=12,
)


def near(one: Interval, other: Interval) -> bool:
    return one.start_s <= other.end_s + SLACK_S and other.start_s <= one.end_s + SLACK_S


@given(old=intervals, new=intervals)
def test_matches_are_the_connected_alarms_each_once(old: list[Interval], new: list[Interval]) -> None:
    found = match(old, new)
    assert sorted(at for each in found for at in each.old) == list(range(len(old)))
    assert sorted(at for each in found for at in each.new) == list(range(len(new)))
    where = {("old", at): place for place, each in enumerate(found) for at in each.old}
    where |= {("new", at): place for place, each in enumerate(found) for at in each.new}
    for i, one in enumerate(old):
        for j, other in enumerate(new):
            assert not near(one, other) or where["old", i] == where["new", j]
    for each in found:  # nobody is in it without a neighbour of the other version
        if each.by == "both":
            assert all(any(near(old[i], new[j]) for j in each.new) for i in each.old)
            assert all(any(near(old[i], new[j]) for i in each.old) for j in each.new)
        else:
            assert len(each.old) + len(each.new) == 1
    starts = [min(_starts(each, old, new)) for each in found]
    assert starts == sorted(starts)


def _starts(found: Match, old: list[Interval], new: list[Interval]) -> list[float]:
    return [*(old[at].start_s for at in found.old), *(new[at].start_s for at in found.new)]


@given(old=intervals, new=intervals)
def test_the_two_sides_can_be_exchanged(old: list[Interval], new: list[Interval]) -> None:
    mirrored = {(each.new, each.old) for each in match(new, old)}
    assert {(each.old, each.new) for each in match(old, new)} == mirrored


def in_turn(draws: list[tuple[int, int]]) -> list[Interval]:
    """Alarms of one version, one after the other."""
    at, found = 0.0, []
    for pause, length in draws:
        found.append(Interval(at + 1 + pause, at + 1 + pause + length))
        at = found[-1].end_s
    return found


turns = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=15).map(in_turn)


@given(old=turns, new=turns, settling=st.lists(st.integers(0, 1_500), max_size=8))
def test_a_comparison_counts_the_same_whenever_it_settles(
    old: list[Interval], new: list[Interval], settling: list[int]
) -> None:
    comparison = Comparison()
    events = [(each.start_s, 1, "raised", side) for side, alarms in (("old", old), ("new", new)) for each in alarms]
    events += [(each.end_s, 0, "cleared", side) for side, alarms in (("old", old), ("new", new)) for each in alarms]
    events += [(float(at_s), 2, "settle", "") for at_s in settling]
    settled = 0
    for at_s, _, what, side in sorted(events):
        if what == "settle":
            settled += len(comparison.settle(at_s))
        elif what == "raised":
            comparison.raised(side, at_s)  # type: ignore[arg-type]
        else:
            comparison.cleared(side, at_s)  # type: ignore[arg-type]
    expected = [each.by for each in match(old, new)]
    assert comparison.totals() == {by: expected.count(by) for by in ("both", "old", "new")}
    assert settled + len(comparison.settle(math.inf)) == len(expected)
    assert comparison.open == []
    again = Comparison.model_validate_json(comparison.model_dump_json())
    assert again == comparison
    assert again.totals() == comparison.totals()


def test_a_comparison_stays_small_beside_an_alarm_that_never_ends() -> None:
    comparison = Comparison()
    comparison.raised("old", 0.0, alarm_id="fan-1-000001")
    for number in range(1, 1_000):
        comparison.raised("new", 100.0 * number)
        comparison.scored(100.0 * number, 0.5, float(number))
        comparison.cleared("new", 100.0 * number + 50.0)
        comparison.settle(100.0 * number + 60.0)
    assert len(comparison.open) <= MAX_OPEN + 1
    (episode,) = comparison.episodes()
    assert (episode.by, episode.end_s, episode.peak_old, episode.peak_new) == ("both", None, 0.5, 999.0)
    assert comparison.totals() == {"both": 1, "old": 0, "new": 0}


def test_all_are_counted_and_the_newest_listed() -> None:
    comparison = Comparison()
    for number in range(300):
        comparison.raised("new", 100.0 * number)
        comparison.cleared("new", 100.0 * number + 5.0)
        comparison.settle(100.0 * number + 50.0)
    assert comparison.totals()["new"] == 300
    episodes = comparison.episodes()
    assert [episode.start_s for episode in episodes] == [
        100.0 * number for number in range(299, 299 - MAX_EPISODES, -1)
    ]


def test_an_alarm_is_not_taken_twice_and_only_one_in_force_is_cleared() -> None:
    comparison = Comparison()
    comparison.cleared("old", 1.0)
    comparison.raised("old", 2.0, alarm_id="fan-1-000001")
    comparison.raised("old", 3.0, alarm_id="fan-1-000002")
    (episode,) = comparison.episodes()
    assert (episode.start_s, episode.alarm_id) == (2.0, "fan-1-000001")
