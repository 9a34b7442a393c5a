"""The database of alarms. A commit that returned is on the disk; one that raised is there wholly or not at all.

Every call blocks on the disk (a commit waits for it: a millisecond to tens of them), so an event loop calls from a
thread. Commits of several threads follow one another; reading never waits for them. No clock is read here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from sqlalchemy import ColumnElement, and_, or_, select, update

from humwatch.drift.hours import DriftHour
from humwatch.errors import OperationRefused
from humwatch_service.storage import history, normal_hours, outbox, watches
from humwatch_service.storage.alarm_rows import late_alarms, machine_of, read_alarm, read_alarms, read_events, row_of
from humwatch_service.storage.changes import add_note, apply_change, raise_peak
from humwatch_service.storage.database import Database
from humwatch_service.storage.fleet_history import FleetHistory, read_fleet_history
from humwatch_service.storage.folder_rows import FolderRows
from humwatch_service.storage.normal_hours import HourSum
from humwatch_service.storage.outbox import Outbox
from humwatch_service.storage.records import (
    AlarmPage,
    AlarmRecord,
    EventPage,
    EventRecord,
    EvidenceState,
    HistoryPoint,
    KeptMachine,
    MachineChange,
    Resolution,
    ScoreSecond,
    TracePoint,
    Verdict,
    alarm_id_of,
    split_alarm_id,
)
from humwatch_service.storage.schema import ALARMS, EVENTS, MACHINES
from humwatch_service.storage.shadow_rows import ShadowRows
from humwatch_service.storage.shadow_rows import drop_old as drop_old_shadows
from humwatch_service.storage.watches import Watch

FILE: Final = "humwatch.sqlite3"
DELIVERIES_KEPT_S: Final = 30 * 86_400
"""How long a delivered webhook is remembered."""


class StateStore:
    """Alarms, their audit trail, scores and the outbox, in one SQLite file; used from any thread.

    Nothing is opened before the first call, and what failed is opened anew by the next: after any
    :class:`StateUnusable` the store is as good as the disk is.

    Args:
        folder: folder of the file; it is made.
        busy_timeout_s: longest wait for another program or thread that writes, seconds.
    """

    def __init__(self, folder: Path, *, busy_timeout_s: float = 5.0) -> None:
        self._database = Database(folder / FILE, busy_timeout_s=busy_timeout_s)
        self.outbox = Outbox(self._database)
        self.shadows = ShadowRows(self._database)
        self.folders = FolderRows(self._database)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def close(self) -> None:
        """Give the file back; a later call opens it again."""
        self._database.close()

    def check(self) -> None:
        """Write nothing, durably. Raises :class:`StateUnusable` where a commit would."""
        with self._database.writing() as connection:
            connection.execute(update(MACHINES).values(running=MACHINES.c.running))

    def damage(self) -> list[str]:
        """Return the faults that SQLite's own check finds in the whole file (slow); empty when there are none."""
        with self._database.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if found == ["ok"] else list(found)

    def commit(self, *changes: MachineChange) -> None:
        """Write all of it in one transaction; the same change again changes nothing.

        A caller whose commit raised :class:`StateUnusable` calls again with the same change, and before later ones of
        that machine.
        """
        with self._database.writing() as connection:
            for change in changes:
                apply_change(connection, change)

    def peak(self, alarm_id: str, score: float, trace: Sequence[TracePoint]) -> bool:
        """Keep an alarm's highest score, and add points to its trace; False if there is no such alarm."""
        with self._database.writing() as connection:
            return raise_peak(connection, alarm_id, score, trace)

    def note(
        self,
        machine_id: str,
        kind: str,
        at_s: float,
        who: str | None,
        why: str | None,
        alarm_id: str | None = None,
        details: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Write a line of the audit trail."""
        number = None if alarm_id is None else split_alarm_id(alarm_id)[1]
        with self._database.writing() as connection:
            add_note(connection, machine_id, kind, at_s, who=who, why=why, number=number, details=details)

    def feedback(
        self, alarm_id: str, verdict: Verdict, *, cause: str, action: str, who: str, at_s: float
    ) -> AlarmRecord:
        """Write what an operator found, over what was said before; the audit trail has both.

        Raises:
            AlarmNotFound: no such alarm.
        """
        said: dict[str, JsonValue] = {"verdict": verdict, "cause": cause, "action": action}
        with self._database.writing() as connection:
            alarm = read_alarm(connection, alarm_id)
            values = {**said, "feedback_by": who, "feedback_s": at_s}
            connection.execute(update(ALARMS).where(row_of(alarm_id)).values(**values))
            add_note(
                connection,
                alarm.machine_id,
                "feedback",
                at_s,
                who=who,
                why=None,
                number=alarm.number,
                details=said,
            )
            return read_alarm(connection, alarm_id)

    def acknowledge_cleared(self, alarm_id: str, *, who: str, why: str, at_s: float) -> AlarmRecord:
        """Acknowledge an alarm that is over (ISA-18.2: returned to normal, unacknowledged).

        Raises:
            AlarmNotFound: no such alarm.
            OperationRefused: it is active (the alarm machine acknowledges it), or it is acknowledged.
        """
        with self._database.writing() as connection:
            alarm = read_alarm(connection, alarm_id)
            if alarm.status == "active":
                raise OperationRefused(f"{alarm_id} is active")
            if alarm.acknowledged is not None:
                raise OperationRefused(f"{alarm_id} is acknowledged already, by {alarm.acknowledged.who}")
            values = {"acknowledged_s": at_s, "acknowledged_by": who, "acknowledged_why": why}
            connection.execute(update(ALARMS).where(row_of(alarm_id)).values(**values))
            add_note(connection, alarm.machine_id, "acknowledged", at_s, who=who, why=why, number=alarm.number)
            return read_alarm(connection, alarm_id)

    def kept(self, machine_id: str) -> KeptMachine | None:
        """Return the state of a machine; None if nothing was ever written."""
        return next(iter(self._machines(MACHINES.c.machine_id == machine_id)), None)

    def machines(self) -> list[KeptMachine]:
        """Return the state of every machine, by id."""
        with self._database.reading() as connection:
            heard = history.last_seconds(connection)
            late = late_alarms(connection)
        return [
            kept.model_copy(
                update={
                    "heard_s": heard.get(kept.machine_id),
                    "alarm_late_s": 0.0
                    if kept.snapshot.active is None
                    else late.get((kept.machine_id, kept.snapshot.active.number), 0.0),
                }
            )
            for kept in self._machines()
        ]

    def alarm(self, alarm_id: str) -> AlarmRecord:
        """Return one alarm, with its trace. Raises :class:`AlarmNotFound`."""
        with self._database.reading() as connection:
            return read_alarm(connection, alarm_id)

    def alarms(
        self,
        *,
        machine_id: str | None = None,
        open_only: bool = False,
        since_s: float | None = None,
        until_s: float | None = None,
        judged: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> AlarmPage:
        """Return alarms, the newest first, without their traces.

        Args:
            machine_id: machine to list alarms of; None: all.
            open_only: only alarms that are active or not acknowledged.
            since_s: raised at or after.
            until_s: raised before.
            judged: only alarms that have feedback.
            limit: length of the page, 1 to 500.
            before: ``next_before`` of the page before.
        """
        conditions: list[ColumnElement[bool]] = []
        if machine_id is not None:
            conditions.append(ALARMS.c.machine_id == machine_id)
        if open_only:
            conditions.append(or_(ALARMS.c.cleared_s.is_(None), ALARMS.c.acknowledged_s.is_(None)))
        if since_s is not None:
            conditions.append(ALARMS.c.raised_s >= since_s)
        if until_s is not None:
            conditions.append(ALARMS.c.raised_s < until_s)
        if judged:
            conditions.append(ALARMS.c.verdict.is_not(None))
        with self._database.reading() as connection:
            return read_alarms(connection, conditions, limit=limit, before=before)

    def events(
        self,
        *,
        machine_id: str | None = None,
        alarm_id: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> EventPage:
        """Return the audit trail of a machine, an alarm, or all, the newest first. Raises :class:`AlarmNotFound`."""
        conditions: list[ColumnElement[bool]] = []
        if machine_id is not None:
            conditions.append(EVENTS.c.machine_id == machine_id)
        with self._database.reading() as connection:
            if alarm_id is not None:
                alarm = read_alarm(connection, alarm_id)
                conditions.append(and_(EVENTS.c.machine_id == alarm.machine_id, EVENTS.c.number == alarm.number))
            return read_events(connection, conditions, limit=limit, before=before)

    def evidence(self, alarm_id: str, state: EvidenceState) -> bool:
        """Say what there is of an alarm's sound; False if there is no such alarm."""
        with self._database.writing() as connection:
            return bool(connection.execute(update(ALARMS).where(row_of(alarm_id)).values(evidence=state)).rowcount)

    def reconcile_evidence(self, found: Mapping[str, EvidenceState]) -> None:
        """Make the rows say what the folder says (``EvidenceFolder.states``): after a crash they may differ."""
        with self._database.writing() as connection:
            rows = connection.execute(select(ALARMS.c.id, ALARMS.c.machine_id, ALARMS.c.number, ALARMS.c.evidence))
            for key, machine_id, number, said in rows.all():
                gone: EvidenceState = "none" if said == "none" else "purged"
                there = found.get(alarm_id_of(machine_id, number), gone)
                if there != said:
                    connection.execute(update(ALARMS).where(ALARMS.c.id == key).values(evidence=there))

    def add_seconds(self, rows: Iterable[ScoreSecond]) -> int:
        """Write seconds of any machines, in one transaction; see :func:`humwatch_service.storage.history.add_seconds`.

        Returns:
            Number of seconds of old sound that found their place taken.
        """
        with self._database.writing() as connection:
            return history.add_seconds(connection, rows)

    def history(
        self, machine_id: str, start_s: float, end_s: float, resolution: Resolution = "minute"
    ) -> list[HistoryPoint]:
        """Return points of a machine, in order; see :func:`humwatch_service.storage.history.read_history`.

        Raises:
            RequestInvalid: more than 100,000 points could come, or a time that is none.
        """
        with self._database.reading() as connection:
            return history.read_history(connection, machine_id, start_s, end_s, resolution)

    def fleet_history(self, machine_ids: Sequence[str], now_s: float, minutes: int) -> FleetHistory:
        """Return the last minutes of these machines."""
        with self._database.reading() as connection:
            return read_fleet_history(connection, machine_ids, now_s, minutes)

    def add_normal(self, hours: Iterable[HourSum], watches_: Iterable[Watch]) -> None:
        """Add to hours of normal sound, and to the time that versions were in use, in one transaction."""
        with self._database.writing() as connection:
            normal_hours.add_hours(connection, hours)
            watches.add_watches(connection, watches_)

    def normal_hours(self, machine_id: str, normal: str) -> list[DriftHour]:
        """Return the hours of a machine by one calibration, in order, without those of an alarm."""
        with self._database.reading() as connection:
            return normal_hours.read_hours(connection, machine_id, normal)

    def watch(self, machine_id: str, version_sha256: str, rule: str) -> Watch | None:
        """Return how long a version was in use under a rule; None where it never was."""
        with self._database.reading() as connection:
            return watches.read_watch(connection, machine_id, version_sha256, rule)

    def last_event(self, machine_id: str, kinds: Collection[str]) -> EventRecord | None:
        """Return the newest line of these kinds in the audit trail of a machine; None where there is none."""
        conditions = [EVENTS.c.machine_id == machine_id, EVENTS.c.kind.in_(kinds)]
        with self._database.reading() as connection:
            return next(iter(read_events(connection, conditions, limit=1, before=None).events), None)

    def prune(self, now_s: float) -> None:
        """Drop what is past its time: seconds, minutes, hours, deliveries. Alarms and the audit trail stay."""
        with self._database.writing() as connection:
            history.drop_old(connection, now_s)
            normal_hours.drop_old(connection, now_s)
            drop_old_shadows(connection, now_s)
            outbox.drop_old(connection, now_s - DELIVERIES_KEPT_S)

    def _machines(self, *conditions: ColumnElement[bool]) -> list[KeptMachine]:
        with self._database.reading() as connection:
            rows = connection.execute(select(MACHINES).where(*conditions).order_by(MACHINES.c.machine_id)).mappings()
            return [machine_of(dict(row)) for row in rows]
