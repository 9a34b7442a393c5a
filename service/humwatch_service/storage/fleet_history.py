"""The last minutes of all machines at a glance: for a small curve of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, and_, case, func, select

from humwatch.alarm.events import MACHINE_STATES, MachineState
from humwatch_service.storage.schema import MACHINES, MINUTES

STEP_S: Final = 60


_SPENT: Final = {state: MINUTES.c[f"{state}_s"] for state in MACHINE_STATES}
_STATE: Final = case(
    (_SPENT["alarm"] > 0, "alarm"),
    (_SPENT["warning"] > 0, "warning"),
    *((and_(spent > 0, spent == func.max(*_SPENT.values())), state) for state, spent in _SPENT.items()),
)
"""The state of a minute; the database says it, so that Python has less to do beside the scores."""


class FleetMinutes(BaseModel):
    """One machine's minutes, from the first to the running one."""

    model_config = ConfigDict(frozen=True)

    scores: list[float | None] = Field(description="highest score of each minute; null: none")
    states: list[MachineState | None] = Field(
        description="`alarm` or `warning` where there was any in the minute, else the longest; null: nobody heard"
    )


class FleetHistory(BaseModel):
    """The last minutes of all machines."""

    model_config = ConfigDict(frozen=True)

    start_s: int = Field(description="start of the first minute, seconds since 1970 (UTC)")
    step_s: int = Field(description="from one value to the next, seconds")
    machines: dict[str, FleetMinutes] = Field(description="by id; also those that nobody heard")


def read_fleet_history(connection: Connection, machine_ids: Sequence[str], now_s: float, minutes: int) -> FleetHistory:
    """Return the last ``minutes`` minutes of these machines, the running one included."""
    last = int(now_s) // STEP_S
    first = last - minutes + 1
    keys = select(MACHINES.c.key).where(MACHINES.c.machine_id.in_(machine_ids))  # so the table's own order is used
    inside = and_(MINUTES.c.machine_key.in_(keys), MINUTES.c.minute.between(first, last))
    table = MINUTES.join(MACHINES, MACHINES.c.key == MINUTES.c.machine_key)
    asked = select(MACHINES.c.machine_id, MINUTES.c.minute, MINUTES.c.score_max, _STATE).select_from(table)
    scores: dict[str, list[float | None]] = {machine_id: [None] * minutes for machine_id in machine_ids}
    states: dict[str, list[MachineState | None]] = {machine_id: [None] * minutes for machine_id in machine_ids}
    for machine_id, minute, score, state in connection.execute(asked.where(inside)):
        scores[machine_id][minute - first] = None if score is None else round(score, 4)
        states[machine_id][minute - first] = state
    return FleetHistory(
        start_s=first * STEP_S,
        step_s=STEP_S,
        machines={each: FleetMinutes(scores=scores[each], states=states[each]) for each in machine_ids},
    )
