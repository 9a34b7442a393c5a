"""Acceptance of a version that a commissioning made: by itself within the period declared normal, else by somebody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from humwatch_service.calibration.candidates import CandidateReport
from humwatch_service.calibration.record import Acceptance

HEARD_S: Final = 600.0
"""Live sound that a candidate has to have scored before it is used."""


@dataclass(frozen=True)
class Verdict:
    """Verdict on a candidate: use it, let it go on, or wait for an operator; and why."""

    kind: Literal["use", "listen", "wait"]
    reason: str


@dataclass(frozen=True)
class Question:
    """What decides whether a candidate is used.

    Attributes:
        accept: who accepts.
        now_s: time now, seconds since 1970.
        until_s: end of the period that was declared normal; None where none was declared.
        minutes: minutes that the candidate rests on.
        provisional: whether a later version follows.
        in_use_recordings: recordings that the version in use rests on, if it is of no stage of this commissioning;
            None where it is, or where there is none.
        nothing_in_use: whether the machine has no version in use.
        same_levels: whether the version in use has the levels of the candidate already.
        watched: whether candidates are watched.
        report: what the candidate did so far; None where nothing is known yet.
    """

    accept: Acceptance
    now_s: float
    until_s: float | None
    minutes: int
    provisional: bool
    in_use_recordings: int | None
    nothing_in_use: bool
    same_levels: bool
    watched: bool
    report: CandidateReport | None


def judge(question: Question) -> Verdict:
    """Return what becomes of a candidate now."""
    if question.nothing_in_use:
        return Verdict("use", "the machine had no version before")
    if question.accept == "operator":
        return Verdict("wait", "an operator accepts")
    if question.until_s is not None and question.now_s >= question.until_s:
        return Verdict("wait", "the period that was declared normal is over")
    rests_on = question.in_use_recordings
    if question.provisional and rests_on is not None and rests_on >= question.minutes:
        return Verdict(
            "wait", f"the version in use rests on {rests_on} recordings; a later stage replaces it by itself"
        )
    if question.same_levels:
        return Verdict("use", "its levels are those of the version in use")
    if not question.watched:
        return Verdict("use", "it was made within the period that was declared normal")
    report = question.report
    if report is None:
        return Verdict("listen", "it begins to score beside the version in use")
    if not report.running:
        return Verdict("wait", f"it could not go on beside the version in use: {report.failure or 'it was stopped'}")
    if report.alarms_only_new:
        alarms = f"{report.alarms_only_new} alarm" + "s" * (report.alarms_only_new > 1)
        return Verdict("wait", f"it raised {alarms} that the version in use did not")
    if report.heard_s < HEARD_S:
        return Verdict("listen", f"it scored {report.heard_s:.0f} of {HEARD_S:.0f} s beside the version in use")
    return Verdict("use", f"it scored {report.heard_s:.0f} s and raised no alarm of its own")
