"""What a commissioning needs of those who watch a candidate: another part of the service, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.scores import NormalScores


class CandidateReport(Protocol):
    """What a candidate did beside the version in use."""

    @property
    def version(self) -> str:
        """Version of the candidate."""

    @property
    def running(self) -> bool:
        """Whether it hears the stream."""

    @property
    def failure(self) -> str | None:
        """Why it does not; None where it does."""

    @property
    def heard_s(self) -> float:
        """Sound that it scored, seconds."""

    @property
    def alarms_only_new(self) -> int:
        """Alarms that it raised and the version in use did not."""


class CandidateRunner(Protocol):
    """Versions that score the live stream of their machine beside the one in use, and tell nobody.

    Its methods belong to the event loop, but for ``scores``, which blocks.
    """

    async def start(self, machine_id: str, version: str, *, who: str, why: str) -> object:
        """Let a version score beside the one in use, in place of another candidate. Raises :class:`HumwatchError`."""

    async def stop(self, machine_id: str, *, who: str, why: str) -> object:
        """Let it score no more. Raises :class:`HumwatchError`."""

    def report(self, machine_id: str) -> CandidateReport | None:
        """Return what the machine's candidate did; None without one."""

    def scores(self, machine_id: str, version: str) -> NormalScores:
        """Return the scores that a version gave so far, in use or as a candidate (blocking)."""


class DecisionFit(Protocol):
    """Fit of the limits of alarms to the scores of a version."""

    def __call__(self, scores: NormalScores, *, wanted_a_week: float = 1.0) -> Decision:
        """Return the limits. Raises :class:`CalibrationError`: the scores are too few."""


AlarmsWanted = Callable[[str], float]
"""Function from a machine's id to the false alarms a week that its rule asks for."""
