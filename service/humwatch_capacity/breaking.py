"""What breaks at a number of streams that is not followed, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from humwatch_capacity.report import LevelReport

FULL: Final = 0.9
"""Share of all processors from which on they are taken to be the limit."""
INTERPRETER_FULL: Final = 0.7
"""Of the time of the processor that runs Python; at 0.8 it was measured full."""


def what_broke(level: LevelReport, loads: Mapping[str, float], cores: float) -> str | None:
    """Return what a level fails by, and what was used up; None for one that is sustained.

    Args:
        level: level, all but this.
        loads: the service's own measure of each resource (`humwatch_live_load_ratio`), 1 where no more is let in.
        cores: processors that service and player share.
    """
    if level.sustained:
        return None
    return f"{'; '.join(_symptoms(level))}: {_cause(level, loads, cores)}"


def _symptoms(level: LevelReport) -> list[str]:
    found = []
    if level.refusals or level.admitted < level.streams:
        codes = ", ".join(sorted({ended.code for ended in level.refusals})) or "no answer"
        found.append(f"{level.streams - level.admitted} of {level.streams} streams were refused ({codes})")
    if level.breaks:
        codes = ", ".join(sorted({ended.code for ended in level.breaks}))
        found.append(f"{sum(ended.times for ended in level.breaks)} connections were ended ({codes})")
    if "latency" in level.failed_by:
        p99 = level.latency.p99_s
        found.append("more than 1 % of the scores never came" if p99 is None else f"scores are late, p99 {p99:.2f} s")
    if "lost" in level.failed_by:
        found.append(f"{level.latency.lost_scores} scores are lost")
    if "dropped" in level.failed_by:
        found.append("the service dropped sound or scores")
    return found


def _cause(level: LevelReport, loads: Mapping[str, float], cores: float) -> str:
    busy = level.service_cores + level.player_cores + level.other_cores
    if any(ended.code == "streams_full" for ended in level.refusals):
        return "the setting max_streams is reached, not the machine"
    if level.other_cores > 1.0 - FULL and busy > FULL * cores:
        return f"all processors are busy, {level.other_cores:.2f} of them with other programs"
    if busy > FULL * cores:
        return f"all processors are busy ({level.service_cores:.2f} of {cores:g} by the service)"
    interpreter = loads.get("interpreter", 0.0)
    if interpreter > INTERPRETER_FULL and interpreter >= loads.get("cores", 0.0):
        return (
            f"the one processor that runs Python is full ({interpreter:.2f} of what it may use), with"
            f" {busy:.2f} of {cores:g} processors busy"
        )
    if loads.get("cores", 0.0) > INTERPRETER_FULL:
        return f"the service protects what it has: {loads['cores']:.2f} of the processor time that it may use is used"
    if level.backlog_s > 1.0:
        return f"the event loop reads late: {level.backlog_s:.1f} s of sound waited in a socket"
    return f"nothing is used up ({busy:.2f} of {cores:g} processors busy): the service waits for its own threads"
