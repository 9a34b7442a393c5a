"""How long each version of a model was in use under each rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.dialects.sqlite import insert

from humwatch_service.storage.changes import ensure_machine
from humwatch_service.storage.schema import MACHINES, WATCHES


@dataclass(frozen=True)
class Watch:
    """Scored sound of a machine by one version under one rule.

    Attributes:
        machine_id: the machine.
        version_sha256: digest of the whole bundle.
        rule: alarm rule, JSON.
        since_s: first second, since 1970.
        last_s: last second, since 1970.
        watched_s: scored sound, seconds.
    """

    machine_id: str
    version_sha256: str
    rule: str
    since_s: float
    last_s: float
    watched_s: float


def add_watches(connection: Connection, parts: Iterable[Watch]) -> None:
    """Add to the time that versions were in use."""
    for part in parts:
        row = insert(WATCHES).values(
            machine_key=ensure_machine(connection, part.machine_id),
            version_sha256=part.version_sha256,
            rule=part.rule,
            since_s=part.since_s,
            last_s=part.last_s,
            watched_s=part.watched_s,
        )
        longer = {
            "since_s": func.min(WATCHES.c.since_s, row.excluded.since_s),
            "last_s": func.max(WATCHES.c.last_s, row.excluded.last_s),
            "watched_s": WATCHES.c.watched_s + row.excluded.watched_s,
        }
        connection.execute(row.on_conflict_do_update(index_elements=list(WATCHES.primary_key), set_=longer))


def read_watch(connection: Connection, machine_id: str, version_sha256: str, rule: str) -> Watch | None:
    """Return the time that a version was in use under a rule; None where it never was."""
    key = select(MACHINES.c.key).where(MACHINES.c.machine_id == machine_id).scalar_subquery()
    of = and_(WATCHES.c.machine_key == key, WATCHES.c.version_sha256 == version_sha256, WATCHES.c.rule == rule)
    row = connection.execute(select(WATCHES).where(of)).one_or_none()
    return None if row is None else Watch(machine_id, version_sha256, rule, row.since_s, row.last_s, row.watched_s)
