"""Candidates in the database: written while they hear, and taken up after a restart. All of it blocks."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from humwatch_service.errors import StateUnusable
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.shadow.candidate_state import CandidateState
from humwatch_service.shadow.comparison import Comparison
from humwatch_service.storage.shadow_rows import KeptShadow, ShadowRows
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.shadow")


class KeptCandidate(NamedTuple):
    """A candidate from before a restart."""

    machine_id: str
    state: CandidateState
    comparison: Comparison


def read_candidates(rows: ShadowRows) -> list[KeptCandidate]:
    """Return the candidates that are kept; one that cannot be read is named in the log. Raises StateUnusable."""
    found = []
    for kept in rows.all():
        try:
            state = CandidateState.model_validate_json(kept.state)
            comparison = Comparison.model_validate_json(kept.comparison)
        except ValidationError as error:
            _log.error("candidate cannot be read", machine_id=kept.machine_id, reason=str(error))
            continue
        found.append(KeptCandidate(kept.machine_id, state, comparison))
    return found


def write_candidate(rows: ShadowRows, candidate: Candidate) -> None:
    """Write what is new of a candidate. Raises :class:`StateUnusable`: the candidate holds it on."""
    unwritten = candidate.take_unwritten()
    if unwritten is None:
        return
    try:
        kept = KeptShadow(candidate.machine_id, unwritten.state, unwritten.comparison)
        rows.write(kept, candidate.state.version, unwritten.seconds)
    except StateUnusable:
        candidate.put_back(unwritten)
        raise
