"""Rows of alarms, events and machines, as records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, select

from humwatch.alarm.events import AlarmSnapshot, Mark
from humwatch_service.errors import AlarmNotFound
from humwatch_service.storage.records import (
    AlarmContext,
    AlarmPage,
    AlarmRecord,
    EventPage,
    EventRecord,
    Feedback,
    KeptMachine,
    StreamPosition,
    alarm_id_of,
    split_alarm_id,
)
from humwatch_service.storage.schema import ALARMS, EVENTS, HEARD, MACHINES
from humwatch_service.storage.score_trace import unpacked_trace

MAX_PAGE: Final = 500
_MAX_ID: Final = (1 << 63) - 1

_LISTED: Final = [
    *(column for column in ALARMS.c if column is not ALARMS.c.trace),
    MACHINES.c.snapshot,
    HEARD.c.heard_s,
]
_JOINED: Final = ALARMS.join(MACHINES, ALARMS.c.machine_id == MACHINES.c.machine_id).outerjoin(
    HEARD, and_(HEARD.c.machine_id == ALARMS.c.machine_id, HEARD.c.number == ALARMS.c.number)
)

Row = Mapping[str, Any]


def row_of(alarm_id: str) -> ColumnElement[bool]:
    """Return the condition for an alarm's row of ``ALARMS``. Raises :class:`AlarmNotFound` for an impossible id."""
    machine_id, number = split_alarm_id(alarm_id)
    return and_(ALARMS.c.machine_id == machine_id, ALARMS.c.number == number)


def read_alarm(connection: Connection, alarm_id: str) -> AlarmRecord:
    """Return one alarm, with its trace. Raises :class:`AlarmNotFound`."""
    statement = select(*_LISTED, ALARMS.c.trace).select_from(_JOINED).where(row_of(alarm_id))
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise AlarmNotFound(f"there is no alarm {alarm_id!r}")
    return _alarm(dict(row))


def late_alarms(connection: Connection) -> dict[tuple[str, int], float]:
    """Return how late the sound was heard that raised the alarms that are not over, seconds, by machine and number."""
    rows = connection.execute(
        select(ALARMS.c.machine_id, ALARMS.c.number, HEARD.c.heard_s - ALARMS.c.raised_s)
        .select_from(_JOINED)
        .where(ALARMS.c.cleared_s.is_(None), HEARD.c.heard_s.is_not(None))
    )
    return {(machine_id, number): max(0.0, late_s) for machine_id, number, late_s in rows}


def read_alarms(
    connection: Connection, conditions: list[ColumnElement[bool]], *, limit: int, before: int | None
) -> AlarmPage:
    """Return a page of alarms that meet all conditions, the newest first, without traces."""
    listed = select(*_LISTED).select_from(_JOINED).where(*conditions)
    rows, next_before = _page(connection, listed, ALARMS.c.id, limit, before)
    return AlarmPage(alarms=tuple(_alarm(row) for row in rows), next_before=next_before)


def read_events(
    connection: Connection, conditions: list[ColumnElement[bool]], *, limit: int, before: int | None
) -> EventPage:
    """Return a page of events that meet all conditions, the newest first."""
    rows, next_before = _page(connection, select(EVENTS).where(*conditions), EVENTS.c.id, limit, before)
    return EventPage(events=tuple(event_of(row) for row in rows), next_before=next_before)


def _page(
    connection: Connection, statement: Select[Any], key: ColumnElement[int], limit: int, before: int | None
) -> tuple[list[Row], int | None]:
    wanted = max(1, min(limit, MAX_PAGE))
    if before is not None:
        statement = statement.where(key < min(before, _MAX_ID))
    rows: list[Row] = [
        dict(row) for row in connection.execute(statement.order_by(key.desc()).limit(wanted + 1)).mappings()
    ]
    return rows[:wanted], rows[wanted - 1]["id"] if len(rows) > wanted else None


def machine_of(row: Row) -> KeptMachine:
    """Return the record of a row of ``MACHINES``."""
    position = None
    if row["stream_id"] is not None:
        position = StreamPosition.model_validate({name: row[name] for name in StreamPosition.model_fields})
    return KeptMachine(
        machine_id=row["machine_id"],
        snapshot=AlarmSnapshot.model_validate_json(row["snapshot"]),
        running=row["running"],
        position=position,
    )


def event_of(row: Row) -> EventRecord:
    """Return the record of a row of ``EVENTS``."""
    values = {name: row[name] for name in EventRecord.model_fields if name not in ("alarm_id", "reasons", "details")}
    return EventRecord(
        alarm_id=None if row["number"] is None else alarm_id_of(row["machine_id"], row["number"]),
        reasons=json.loads(row["reasons"]),
        details=json.loads(row["details"]),
        **values,
    )


def _alarm(row: Row) -> AlarmRecord:
    snapshot = AlarmSnapshot.model_validate_json(row["snapshot"])
    active = row["cleared_s"] is None
    in_force = snapshot.active if snapshot.active is not None and snapshot.active.number == row["number"] else None
    return AlarmRecord(
        id=alarm_id_of(row["machine_id"], row["number"]),
        status="active" if active else "cleared",
        over=active and in_force is not None and in_force.over,
        acknowledged=_acknowledged(row),
        shelved=active and snapshot.shelf is not None,
        context=_context(row),
        feedback=_feedback(row),
        late_s=None if row["heard_s"] is None else max(0.0, row["heard_s"] - row["raised_s"]),
        **{name: row[name] for name in _PLAIN},
    )


_PLAIN: Final = (
    "machine_id",
    "number",
    "raised_s",
    "heard_s",
    "cleared_s",
    "announced_s",
    "score",
    "peak_score",
    "evidence",
)


def _acknowledged(row: Row) -> Mark | None:
    if row["acknowledged_s"] is None:
        return None
    return Mark(who=row["acknowledged_by"] or "", at_s=row["acknowledged_s"], why=row["acknowledged_why"] or "")


def _context(row: Row) -> AlarmContext | None:
    if row["context"] is None:
        return None
    trace = unpacked_trace(row.get("trace"))
    return AlarmContext.model_validate_json(row["context"]).model_copy(update={"trace": trace})


def _feedback(row: Row) -> Feedback | None:
    if row["verdict"] is None:
        return None
    return Feedback(
        verdict=row["verdict"],
        cause=row["cause"],
        action=row["action"],
        who=row["feedback_by"],
        at_s=row["feedback_s"],
    )
