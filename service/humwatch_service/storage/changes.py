"""Rows of a machine's change; all in the transaction of the caller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Final

from pydantic import JsonValue
from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert

from humwatch.alarm.events import AlarmEvent
from humwatch_service.storage.alarm_rows import row_of
from humwatch_service.storage.records import OLD_S, AlarmContext, MachineChange, TracePoint, alarm_id_of
from humwatch_service.storage.schema import ALARMS, EVENTS, HEARD, MACHINES, OUTBOX
from humwatch_service.storage.score_trace import packed_trace, unpacked_trace

_IDENTITY_BYTES: Final = 16


def apply_change(connection: Connection, change: MachineChange) -> None:
    """Write a change; one that was written before, wholly, is left alone with everything that came after it."""
    ensure_machine(connection, change.machine_id)
    recipients = (*change.webhooks, *[()] * len(change.events))
    events = [
        (event, _insert_event(connection, change, event), webhooks)
        for event, webhooks in zip(change.events, recipients, strict=False)
    ]
    fresh = [(event, event_id, webhooks) for event, event_id, webhooks in events if event_id is not None]
    if change.events and not fresh:
        return
    for event, event_id, webhooks in fresh:
        if event.alarm is not None:
            _update_alarm(connection, change, event, event.alarm)
        _post(connection, change, event, event_id, webhooks)
    if (by := change.signalled) is not None:
        details = {"running": None if change.running == "keep" else change.running}
        add_note(connection, change.machine_id, "run_signal", by.at_s, who=by.who, why=by.why, details=details)
    _update_machine(connection, change)


def ensure_machine(connection: Connection, machine_id: str) -> int:
    """Return the key of a machine, which may be new."""
    found: int | None = connection.execute(_KEY_OF, {"of": machine_id}).scalar_one_or_none()
    if found is None:
        added = insert(MACHINES).values(machine_id=machine_id).returning(MACHINES.c.key)
        found = int(connection.execute(added).scalar_one())
    return found


_KEY_OF: Final = select(MACHINES.c.key).where(MACHINES.c.machine_id == bindparam("of"))


def add_note(
    connection: Connection,
    machine_id: str,
    kind: str,
    at_s: float,
    *,
    who: str | None,
    why: str | None,
    number: int | None = None,
    details: Mapping[str, JsonValue] | None = None,
) -> None:
    """Write a line of the audit trail that no alarm machine made; the same line twice is one."""
    ensure_machine(connection, machine_id)
    values = {"at_s": at_s, "kind": kind, "number": number, "who": who, "why": why}
    more = {} if details is None else {"details": _json(dict(details))}
    _insert_once(connection, {"machine_id": machine_id, "announced": False, **values, **more})


def _insert_event(connection: Connection, change: MachineChange, event: AlarmEvent) -> int | None:
    values = asdict(event)
    values["number"] = values.pop("alarm")
    values["reasons"] = _json(list(event.reasons))
    late_s = 0.0 if change.heard_s is None else change.heard_s - event.at_s
    if late_s > OLD_S:
        values["details"] = _json({"heard_s": round(change.heard_s or 0.0, 3), "late_s": round(late_s, 3)})
    return _insert_once(connection, {"machine_id": change.machine_id, **values})


def _insert_once(connection: Connection, values: dict[str, object]) -> int | None:
    """Insert a line, and return its id; None if it is there already."""
    identity = hashlib.sha256(_json(values).encode()).digest()[:_IDENTITY_BYTES]
    statement = insert(EVENTS).values(identity=identity, **values).on_conflict_do_nothing()
    return connection.execute(statement.returning(EVENTS.c.id)).scalar_one_or_none()


def _update_alarm(connection: Connection, change: MachineChange, event: AlarmEvent, number: int) -> None:
    _ensure_alarm(connection, change, event, number)
    values = _alarm_values(event, change.heard_s)
    if event.kind == "raised" and change.evidence != "none":
        values["evidence"] = change.evidence
    if event.kind == "raised" and change.heard_s is not None:
        heard = {"machine_id": change.machine_id, "number": number, "heard_s": change.heard_s}
        connection.execute(insert(HEARD).values(**heard).on_conflict_do_nothing())
    if event.kind == "raised" and change.context is not None:
        values |= _context_values(change.context)
    if values:
        row = row_of(alarm_id_of(change.machine_id, number))
        connection.execute(update(ALARMS).where(row).values(**values))


def _ensure_alarm(connection: Connection, change: MachineChange, event: AlarmEvent, number: int) -> None:
    """Return the row of the alarm; also of one whose raising was lost, so that it is listed."""
    active = change.snapshot.active
    raised_s = active.raised_s if active is not None and active.number == number else event.at_s
    values = {"machine_id": change.machine_id, "number": number, "raised_s": raised_s}
    connection.execute(insert(ALARMS).values(**values).on_conflict_do_nothing())


def _alarm_values(event: AlarmEvent, heard_s: float | None) -> dict[str, object]:
    values: dict[str, object] = {}
    if event.kind == "raised":
        values |= {"raised_s": event.at_s, "score": event.score, "peak_score": _higher(event.score)}
    if event.kind == "cleared":
        values["cleared_s"] = event.at_s
    if event.kind == "acknowledged":
        values |= {"acknowledged_s": event.at_s, "acknowledged_by": event.who, "acknowledged_why": event.why}
    if event.announced and event.kind != "cleared":
        values["announced_s"] = event.at_s if heard_s is None else max(event.at_s, heard_s)
    return values


def _context_values(context: AlarmContext) -> dict[str, object]:
    return {"context": _json(context.model_dump(exclude={"trace"})), "trace": packed_trace(context.trace)}


def _higher(score: float | None) -> object:
    """Return the higher of the peak so far and a score."""
    return func.max(func.coalesce(ALARMS.c.peak_score, score), score) if score is not None else ALARMS.c.peak_score


def raise_peak(connection: Connection, alarm_id: str, score: float, trace: Iterable[TracePoint]) -> bool:
    """Keep an alarm's highest score, and add points to its trace; False if there is no such alarm."""
    row = row_of(alarm_id)
    before = connection.execute(select(ALARMS.c.trace).where(row)).one_or_none()
    if before is None:
        return False
    together = packed_trace([*unpacked_trace(before.trace), *trace])
    connection.execute(update(ALARMS).where(row).values(peak_score=_higher(score), trace=together))
    return True


def _post(
    connection: Connection, change: MachineChange, event: AlarmEvent, event_id: int, webhooks: tuple[str, ...]
) -> None:
    for webhook in dict.fromkeys(webhooks):
        values = {"webhook": webhook, "machine_id": change.machine_id, "event_id": event_id, "due_s": event.at_s}
        connection.execute(insert(OUTBOX).values(**values))


def _update_machine(connection: Connection, change: MachineChange) -> None:
    values: dict[str, object] = {"snapshot": change.snapshot.model_dump_json()}
    if change.position is not None:
        values |= change.position.model_dump()
    if change.running != "keep":
        values["running"] = change.running
    connection.execute(_UPDATE_MACHINE, {"of": change.machine_id, **values})


_UPDATE_MACHINE: Final = update(MACHINES).where(MACHINES.c.machine_id == bindparam("of"))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
