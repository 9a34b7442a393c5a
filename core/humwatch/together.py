"""Work of many streams in arrays: what several need at the same time is computed at once.

A piece of work is a generator. Where it needs something computed that others may need as well it yields jobs, and is
sent their results; whether anything was computed beside it, it cannot tell. So there is one code for a stream alone and
for streams in company, and a result does not depend on the company as long as no job's does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Job(Protocol[R_co]):
    """Computation that others may need at the same time.

    Attributes:
        company: those with an equal one are computed together; they are of one class.
        leaves_python: True if the computation takes long, and none of that in Python.
    """

    company: Hashable
    leaves_python: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def results(cls, jobs: Sequence[Any]) -> Sequence[R_co]:
        """Return the result of each of some jobs of one company, none of which depends on the others."""


Work: TypeAlias = Generator[Sequence[Job[Any]], Sequence[Any], R]
"""Work that yields jobs, is sent a result for each, and returns its own result."""


class Failed(Generic[R]):
    """Failure of a piece of work.

    Attributes:
        error: exception that ended it.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error


def alone(work: Work[R]) -> R:
    """Do one piece of work; raise what it raises."""
    [done] = together([work])
    if isinstance(done, Failed):
        raise done.error
    return done


def together(works: Sequence[Work[R]], *, beside: AbstractContextManager[object] | None = None) -> list[R | Failed[R]]:
    """Do several pieces of work at the same time, jobs of one company in arrays.

    Args:
        works: pieces of work.
        beside: context, entered again and again, for what leaves Python: others may have it meanwhile.

    Returns:
        The result of each; one that fails leaves the others alone, unless it was their common job that failed.
    """
    done: dict[int, R | Failed[R]] = {}
    asked: dict[int, Sequence[Job[Any]]] = {}
    for number, work in enumerate(works):
        _go_on(number, work, None, asked, done)
    while asked:
        answers = _computed(asked, beside or nullcontext())
        asked = {}
        for number, answer in answers.items():
            _go_on(number, works[number], answer, asked, done)
    return [done[number] for number in range(len(works))]


def _go_on(
    number: int,
    work: Work[R],
    answer: Sequence[Any] | Exception | None,
    asked: dict[int, Sequence[Job[Any]]],
    done: dict[int, R | Failed[R]],
) -> None:
    """Let a piece of work go on with the results of its jobs, or with what was raised for one of them."""
    try:
        if isinstance(answer, Exception):
            asked[number] = work.throw(answer)
        else:
            asked[number] = next(work) if answer is None else work.send(answer)
    except StopIteration as over:
        done[number] = over.value
    except Exception as error:
        done[number] = Failed(error)


def _computed(
    asked: dict[int, Sequence[Job[Any]]], beside: AbstractContextManager[object]
) -> dict[int, Sequence[Any] | Exception]:
    """Return the results of all jobs of each piece of work, or what was raised for one of them."""
    companies: dict[Hashable, list[tuple[int, int, Job[Any]]]] = {}
    for number, jobs in asked.items():
        for place, job in enumerate(jobs):
            companies.setdefault((type(job), job.company), []).append((number, place, job))
    answers: dict[int, Any] = {number: [None] * len(jobs) for number, jobs in asked.items()}
    for members in companies.values():
        try:
            kind = type(members[0][2])
            with beside if kind.leaves_python else nullcontext():
                results = kind.results([job for _, _, job in members])
        except Exception as error:
            answers.update((number, error) for number, _, _ in members)
            continue
        for (number, place, _), result in zip(members, results, strict=True):
            if not isinstance(answers[number], Exception):
                answers[number][place] = result
    return answers
