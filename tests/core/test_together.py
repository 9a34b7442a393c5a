"""Work in company: who is computed together, whose failure is whose, and what is entered for what leaves Python."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest

from humwatch.together import Failed, Work, alone, together


class Doubled:
    """A job that doubles a number; notes who was computed together."""

    leaves_python: ClassVar[bool] = False
    calls: ClassVar[list[list[int]]] = []

    def __init__(self, number: int, company: Hashable = "all") -> None:
        self.number = number
        self.company = company

    @classmethod
    def results(cls, jobs: Sequence[Doubled]) -> list[int]:
        numbers = [job.number for job in jobs]
        cls.calls.append(numbers)
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


class DoubledOutside(Doubled):
    """The same, which says that it leaves Python."""

    leaves_python: ClassVar[bool] = True
    calls: ClassVar[list[list[int]]] = []


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    Doubled.calls.clear()
    DoubledOutside.calls.clear()


def doubled(number: int, company: Hashable = "all") -> Work[int]:
    [result] = yield [Doubled(number, company)]
    return int(result)


def quadrupled(number: int) -> Work[int]:
    [twice] = yield [Doubled(number)]
    return (yield from doubled(twice))


def nothing() -> Work[str]:
    return "at once"
    yield []


def test_results_come_in_the_order_of_the_works_and_of_their_jobs() -> None:
    def two(first: int, second: int) -> Work[tuple[int, int]]:
        one, other = yield [Doubled(first, first), Doubled(second, second)]
        return one, other

    assert together([two(1, 2), two(2, 1), two(3, 3)]) == [(2, 4), (4, 2), (6, 6)]


def test_jobs_of_one_company_are_computed_in_one_call_and_others_apart() -> None:
    works = [doubled(number, "odd" if number % 2 else "even") for number in range(1, 6)]
    assert together(works) == [2, 4, 6, 8, 10]
    assert Doubled.calls == [[1, 3, 5], [2, 4]]


def test_jobs_of_two_classes_are_computed_apart_though_their_company_is_equal() -> None:
    def outside() -> Work[int]:
        [result] = yield [DoubledOutside(2)]
        return int(result)

    assert together([doubled(1), outside()]) == [2, 4]
    assert (Doubled.calls, DoubledOutside.calls) == ([[1]], [[2]])


def test_works_of_different_length_go_on_until_the_last_is_done() -> None:
    assert together([doubled(1), quadrupled(2), nothing()]) == [2, 8, "at once"]
    assert Doubled.calls == [[1, 2], [4]]


def test_works_that_need_nothing_computed_are_done() -> None:
    assert together([nothing(), nothing()]) == ["at once", "at once"]
    assert together([]) == []
    assert Doubled.calls == []


def test_none_is_a_result_and_an_empty_list_of_jobs_is_answered() -> None:
    def idle() -> Work[None]:
        answer = yield []
        assert list(answer) == []

    assert together([idle()]) == [None]


def test_a_job_that_fails_fails_those_who_share_it_and_nobody_else() -> None:
    done = together([doubled(1), doubled(13), doubled(2, "apart")])
    assert done[2] == 4
    assert [str(each.error) for each in done[:2] if isinstance(each, Failed)] == ["thirteen", "thirteen"]


def test_a_work_that_fails_by_itself_leaves_the_others_alone() -> None:
    def broken() -> Work[int]:
        yield [Doubled(1)]
        raise ZeroDivisionError

    done = together([broken(), quadrupled(1)])
    assert isinstance(done[0], Failed)
    assert isinstance(done[0].error, ZeroDivisionError)
    assert done[1] == 4


def test_a_work_may_catch_what_its_job_raised_and_go_on() -> None:
    def patient() -> Work[int]:
        try:
            yield [Doubled(13), Doubled(5, "apart")]
        except ValueError:
            return (yield from doubled(3))
        return 0

    assert together([patient(), doubled(1)])[0] == 6


def test_a_work_alone_gives_its_result_or_raises() -> None:
    assert alone(quadrupled(3)) == 12
    with pytest.raises(ValueError, match="thirteen"):
        alone(doubled(13))


def test_beside_is_entered_for_what_leaves_python_alone_and_left_when_that_fails() -> None:
    entered: list[str] = []

    class Beside(AbstractContextManager[None]):
        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *_: object) -> None:
            entered.append("out")

    def outside(number: int) -> Work[int]:
        [twice] = yield [Doubled(number)]
        [result] = yield [DoubledOutside(twice)]
        return int(result)

    assert together([outside(1), outside(2)], beside=Beside()) == [4, 8]
    assert entered == ["in", "out"]

    def failing() -> Work[int]:
        [result] = yield [DoubledOutside(13)]
        return int(result)

    assert isinstance(together([failing()], beside=Beside())[0], Failed)
    assert entered == ["in", "out", "in", "out"]
    assert together([doubled(1)], beside=Beside()) == [2]
    assert entered == ["in", "out", "in", "out"]
