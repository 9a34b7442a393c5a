from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from humwatch_capacity.search import search


@dataclass(frozen=True)
class Level:
    sustained: bool
    admitted: int


class Box:
    """A machine that follows so many streams, and a service that takes no more than ``takes``."""

    def __init__(self, follows: int, takes: int = 10_000) -> None:
        self.follows = follows
        self.takes = takes
        self.played: list[int] = []

    def __call__(self, streams: int) -> Level:
        self.played.append(streams)
        return Level(streams <= min(self.follows, self.takes), min(streams, self.takes))


def test_the_number_is_doubled_and_then_halved_in_between() -> None:
    box = Box(22)
    assert search([box])[0] == 22
    assert box.played == [1, 2, 4, 8, 16, 32, 24, 20, 22]


@pytest.mark.parametrize("follows", [1, 2, 3, 5, 9, 10, 11, 31, 100, 777])
def test_what_is_found_is_sustained_and_within_a_tenth(follows: int) -> None:
    found = search([Box(follows)])[0]
    assert found <= follows
    assert follows - found <= 0.1 * found


def test_a_precision_of_nothing_finds_the_number_itself() -> None:
    assert search([Box(777)], precision=0.0)[0] == 777


def test_not_even_one_stream_is_sustained() -> None:
    box = Box(0)
    assert search([box])[0] == 0
    assert box.played == [1]


def test_what_a_service_took_bounds_what_it_will_take() -> None:
    box = Box(1_000, takes=64)
    assert search([box])[0] == 64
    assert box.played == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_service_that_takes_fewer_than_were_followed_before_ends_the_search() -> None:
    played: list[int] = []

    def moody(streams: int) -> Level:
        played.append(streams)
        return Level(streams <= 8, admitted=streams if streams <= 8 else 3)

    assert search([moody])[0] == 8
    assert played[-1] == 16


@pytest.mark.parametrize(("most", "last"), [(1, 1), (6, 6), (8, 8)])
def test_the_search_ends_at_the_most(most: int, last: int) -> None:
    box = Box(10_000)
    assert search([box], most=most)[0] == last
    assert box.played[-1] == last


def test_it_measures_few_levels() -> None:
    boxes = [Box(follows) for follows in range(1, 300)]
    for box in boxes:
        search([box])
    assert max(len(box.played) for box in boxes) == 14


def test_versions_are_measured_in_turn_and_each_is_searched_for_itself() -> None:
    order: list[str] = []
    boxes = {"new": Box(22), "old": Box(6)}

    def playing(name: str) -> Callable[[int], Level]:
        def play(streams: int) -> Level:
            order.append(name)
            return boxes[name](streams)

        return play

    assert search([playing("new"), playing("old")], first=4) == [22, 6]
    assert boxes["new"].played == [4, 8, 16, 32, 24, 20, 22]
    assert boxes["old"].played == [4, 8, 6, 7]
    assert order[:8] == ["new", "old"] * 4


def test_a_search_that_begins_too_high_goes_down() -> None:
    box = Box(3)
    assert search([box], first=16) == [3]
    assert box.played == [16, 8, 4, 2, 3]
