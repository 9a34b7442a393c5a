"""False alarms a week to expect of candidates, estimated by what they scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import SequentialLimits
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch.false_alarms.decision import FalseAlarmRate, decision_under
from humwatch.false_alarms.scores import NormalScores
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.telemetry.logs import event_logger

ESTIMATE_S: Final = 600.0
"""Scored sound from which false alarms a week are estimated."""
MORE: Final = 1.1
"""How much more sound is worth another estimate."""

_log = event_logger("humwatch.shadow")


class RateEstimate(Protocol):
    """Estimate of the false alarms a week from normal scores (blocking)."""

    def __call__(
        self, scores: NormalScores, rule: AlarmRule, limits: SequentialLimits | None, *, wanted_a_week: float
    ) -> FalseAlarmRate:
        """Return the rate. Raises :class:`humwatch.errors.CalibrationError` where nothing can be said."""


def estimate_anew(
    candidate: Candidate,
    repository: ModelRepository,
    *,
    scores: Callable[[str, str], NormalScores],
    estimate: RateEstimate,
) -> None:
    """Estimate the false alarms a week of a candidate, if it heard more (blocking).

    Args:
        candidate: the candidate; it takes the estimate.
        repository: models, among them the candidate's.
        scores: normal live scores of a machine by a version.
        estimate: the estimate.
    """
    state, heard_s = candidate.state, candidate.state.heard_s
    if heard_s < max(ESTIMATE_S, MORE * state.estimated_at_s):
        return
    try:
        decision = decision_under(state.rule, repository.manifest(candidate.machine_id, state.version).decision)
        expected = estimate(
            scores(candidate.machine_id, state.version),
            state.rule,
            None if decision is None else decision.limits,
            wanted_a_week=state.rule.false_alarms_a_week,
        )
        candidate.estimated(expected, heard_s)
    except HumwatchError as error:
        _log.info("rate not estimated", machine_id=candidate.machine_id, reason=str(error))
