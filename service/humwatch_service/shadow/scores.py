"""Scores that a version gave on a machine's normal live sound, in use or as a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from humwatch.false_alarms.scores import NormalScores, ScoreSegment
from humwatch_service.storage.second_series import SecondSeries
from humwatch_service.storage.shadow_rows import ShadowRows, Span, VersionChange

FAULTY_BEFORE_S: Final = 60.0
"""Sound before an alarm that was right in which the fault may have begun."""
LONGEST_STEP_S: Final = 2
"""Seconds between two scores without a break: where clocks differ, a second of the record may stay empty."""


def scores_of(rows: ShadowRows, machine_id: str, version: str, *, in_use: str | None) -> NormalScores:
    """Return what a version gave so far on live sound of a machine (blocking); nothing of alarms that were right.

    Args:
        rows: seconds, alarms and changes of versions.
        machine_id: id of the machine.
        version: version of its model.
        in_use: version in use now; None without one.

    Raises:
        StateUnusable: the database cannot be read.
    """
    spans = spans_in_use(rows.version_changes(machine_id), version, in_use=in_use)
    return segmented(
        [rows.seconds_beside(machine_id, version), rows.seconds_in_use(machine_id, spans)],
        without=rows.true_alarms(machine_id),
    )


def spans_in_use(changes: Sequence[VersionChange], version: str, *, in_use: str | None) -> list[Span]:
    """Return when a version was in use, by the audit trail; what happened without it is not known."""
    versions = [*(change.before for change in changes), changes[-1].version if changes else in_use]
    starts = [0.0, *(change.at_s for change in changes)]
    ends = [*(change.at_s for change in changes), math.inf]
    after = [None, *(change.version for change in changes)]  # another, where it was changed without the trail
    return [
        Span(start_s, end_s)
        for start_s, end_s, said_before, said_after in zip(starts, ends, versions, after, strict=True)
        if said_before == version and said_after in (None, version) and (end_s < math.inf or in_use == version)
    ]


def segmented(series: Sequence[SecondSeries], *, without: Sequence[Span]) -> NormalScores:
    """Return the scores that decided, in stretches without a break, but for some spans and what led to them."""
    judged = [each.only(each.judged()) for each in series]
    at_s = np.concatenate([each.at_s for each in judged])
    scores = np.concatenate([each.scores for each in judged]).astype(np.float64)
    at_s, first = np.unique(at_s, return_index=True)
    scores = scores[first]
    chosen = np.ones(len(at_s), np.bool_)
    for span in without:
        chosen &= ~((at_s >= span.start_s - FAULTY_BEFORE_S) & (at_s <= span.end_s))
    at_s, scores = at_s[chosen], scores[chosen]
    unjudged = np.searchsorted(at_s, np.concatenate([each.only(~each.judged()).at_s for each in series]))
    breaks = np.union1d(np.flatnonzero(np.diff(at_s) > LONGEST_STEP_S) + 1, unjudged)
    parts = zip(np.split(at_s, breaks), np.split(scores, breaks), strict=True)
    return NormalScores([ScoreSegment(float(when[0]), part) for when, part in parts if len(part)])
