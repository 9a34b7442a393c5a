"""Rows of candidates: their state, and the scores by the second that they gave beside the version in use.

The scores of versions in use are those of the history; the audit trail says which version that was, and when.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, and_, bindparam, delete, or_, select

from humwatch_service.storage.changes import ensure_machine
from humwatch_service.storage.database import Database
from humwatch_service.storage.history import writing
from humwatch_service.storage.packed_minute import PackedMinute
from humwatch_service.storage.records import ScoreSecond
from humwatch_service.storage.schema import ALARMS, EVENTS, MACHINES, SECONDS, SHADOW_SECONDS, SHADOWS
from humwatch_service.storage.second_series import SecondSeries

KEPT_S: Final = 30 * 86_400
"""How long scores of candidates are kept: as long as the history's seconds."""
CHANGES: Final = ("activated", "rolled_back", "calibrated", "calibration_stage", "limits_fitted")
"""Lines of the audit trail that say which version is in use from then on."""


class KeptShadow(NamedTuple):
    """What is kept of a machine's candidate; two JSON documents."""

    machine_id: str
    state: str
    comparison: str


class Span(NamedTuple):
    """A stretch of the wall clock, seconds since 1970; the end is not in it."""

    start_s: float
    end_s: float


class VersionChange(NamedTuple):
    """A change of the version in use."""

    at_s: float
    before: str
    version: str


class ShadowRows:
    """Candidates in the database; used from any thread. Every method blocks, and may raise :class:`StateUnusable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[KeptShadow]:
        """Return what is kept of every machine's candidate."""
        kept = select(MACHINES.c.machine_id, SHADOWS.c.state, SHADOWS.c.comparison).join_from(SHADOWS, MACHINES)
        with self._database.reading() as connection:
            return [KeptShadow(*row) for row in connection.execute(kept)]

    def write(self, kept: KeptShadow, version: str, seconds: Iterable[ScoreSecond]) -> None:
        """Keep a candidate and seconds that it scored, in one transaction; the last one written of a second stays."""
        with self._database.writing() as connection:
            key = ensure_machine(connection, kept.machine_id)
            values = {"machine_key": key, "state": kept.state, "comparison": kept.comparison}
            connection.execute(_WRITE, values)
            _add_seconds(connection, {"machine_key": key, "version": version}, seconds)

    def remove(self, machine_id: str) -> None:
        """Forget the candidate of a machine; its scores stay."""
        with self._database.writing() as connection:
            connection.execute(delete(SHADOWS).where(SHADOWS.c.machine_key == _key_of(machine_id)))

    def seconds_beside(self, machine_id: str, version: str) -> SecondSeries:
        """Return the seconds that a version scored as a candidate."""
        place = and_(SHADOW_SECONDS.c.machine_key == _key_of(machine_id), SHADOW_SECONDS.c.version == version)
        rows = select(SHADOW_SECONDS.c.minute, SHADOW_SECONDS.c.packed).where(place)
        with self._database.reading() as connection:
            return SecondSeries.of(connection.execute(rows.order_by(SHADOW_SECONDS.c.minute)))

    def seconds_in_use(self, machine_id: str, spans: Sequence[Span]) -> SecondSeries:
        """Return the seconds of the machine's history in some spans."""
        inside = or_(False, *(SECONDS.c.minute.between(_minute(span.start_s), _minute(span.end_s)) for span in spans))
        rows = select(SECONDS.c.minute, SECONDS.c.packed).where(SECONDS.c.machine_key == _key_of(machine_id), inside)
        with self._database.reading() as connection:
            found = SecondSeries.of(connection.execute(rows.order_by(SECONDS.c.minute)))
        chosen = [found.between(*span) for span in spans]
        return found.only(np.logical_or.reduce([np.zeros(len(found), np.bool_), *chosen]))

    def version_changes(self, machine_id: str) -> list[VersionChange]:
        """Return the changes of the version in use that the audit trail knows, the oldest first."""
        rows = select(EVENTS.c.at_s, EVENTS.c.details).where(
            EVENTS.c.machine_id == machine_id, EVENTS.c.kind.in_(CHANGES)
        )
        with self._database.reading() as connection:
            found = connection.execute(rows.order_by(EVENTS.c.at_s, EVENTS.c.id)).all()
        said = [(at_s, json.loads(details)) for at_s, details in found]
        return [VersionChange(at_s, str(what["before"]), str(what["version"])) for at_s, what in said if _whole(what)]

    def true_alarms(self, machine_id: str) -> list[Span]:
        """Return when alarms were in force of which an operator said that they were right; one that is, never ends."""
        rows = select(ALARMS.c.raised_s, ALARMS.c.cleared_s).where(
            ALARMS.c.machine_id == machine_id, ALARMS.c.verdict == "true_alarm"
        )
        with self._database.reading() as connection:
            found = connection.execute(rows).all()
        return [Span(raised_s, math.inf if cleared_s is None else cleared_s) for raised_s, cleared_s in found]


def drop_old(connection: Connection, now_s: float) -> None:
    """Drop seconds that are past their time."""
    connection.execute(delete(SHADOW_SECONDS).where(SHADOW_SECONDS.c.minute < (now_s - KEPT_S) // 60))


_WRITE: Final = writing(SHADOWS)
_WRITE_SECONDS: Final = writing(SHADOW_SECONDS)
_SECONDS_OF: Final = select(SHADOW_SECONDS.c.packed).where(
    *(column == bindparam(column.name) for column in SHADOW_SECONDS.primary_key)
)


def _add_seconds(connection: Connection, place: dict[str, Any], rows: Iterable[ScoreSecond]) -> None:
    minutes: dict[int, list[ScoreSecond]] = {}
    for row in rows:
        minutes.setdefault(row.at_s // 60, []).append(row)
    for minute, seconds in minutes.items():
        before = connection.execute(_SECONDS_OF, {**place, "minute": minute}).scalar_one_or_none()
        packed = PackedMinute.empty() if before is None else PackedMinute.from_bytes(before)
        for second in seconds:
            packed.put(second)
        connection.execute(_WRITE_SECONDS, {**place, "minute": minute, "packed": packed.to_bytes()})


def _key_of(machine_id: str) -> Any:
    return select(MACHINES.c.key).where(MACHINES.c.machine_id == machine_id).scalar_subquery()


def _minute(at_s: float) -> int:
    return int(min(max(at_s, 0.0), 1e11) // 60)


def _whole(details: dict[str, object]) -> bool:
    return {"before", "version"} <= set(details)
