"""Limits of the alarms of a version, by what it scored on live sound; wide ones until then."""

from __future__ import annotations

from typing import Final

from humwatch.calibration.plan import CollectionPlan
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.provisional import provisional_decision
from humwatch_service.calibration.candidates import AlarmsWanted, CandidateRunner, DecisionFit

MARGIN: Final = 0.01
"""Share of the declared period before its end at which the last version is made: it is used within the period."""
LEAST_MARGIN_S: Final = 60.0


class LiveLimits:
    """Limits of the versions of machines, fitted to what they scored.

    Args:
        candidates: those who know what a version scored; None: nobody does.
        fit: fit of limits to scores; None: there are none to fit.
        wanted_a_week: false alarms a week that the rule of a machine asks for.
    """

    def __init__(
        self, candidates: CandidateRunner | None, fit: DecisionFit | None, *, wanted_a_week: AlarmsWanted
    ) -> None:
        self._live = None if candidates is None or fit is None else (candidates, fit)
        self._wanted_a_week = wanted_a_week

    @property
    def can_fit(self) -> bool:
        """Whether limits can be fitted at all."""
        return self._live is not None

    def wide(self, machine_id: str, *, reason: str) -> Decision:
        """Return wide limits, which rest on no scores, and why there are no others."""
        return provisional_decision(wanted_a_week=self._wanted_a_week(machine_id), reason=reason)

    def fit(self, machine_id: str, version: str, *, until_s: float | None) -> Decision:
        """Fit limits to what a version scored within the period that was declared normal (blocking).

        They are wide where that is too little.

        Raises:
            StateUnusable: the scores cannot be read.
        """
        assert self._live is not None  # callers ask for can_fit
        candidates, fit = self._live
        scores = candidates.scores(machine_id, version)
        if until_s is not None:
            scores = scores.between(0.0, until_s)
        try:
            return fit(scores, wanted_a_week=self._wanted_a_week(machine_id))
        except CalibrationError as error:
            return self.wide(machine_id, reason=str(error))


def limits_due_s(plan: CollectionPlan) -> float:
    """Return the time at which limits are fitted: just before the period ends that was declared normal."""
    if plan.until_s is None:
        return plan.start_s
    return plan.until_s - max(LEAST_MARGIN_S, MARGIN * (plan.until_s - plan.start_s))
