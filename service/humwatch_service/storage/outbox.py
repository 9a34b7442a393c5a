"""Deliveries owed to webhooks: written with the event itself, so that no crash loses or doubles them.

A delivery that arrived but was not marked as such before a crash is sent again: webhooks tell repeats by the event's
id. Which of a webhook's deliveries goes first is the sender's business.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update

from humwatch_service.storage.alarm_rows import event_of
from humwatch_service.storage.database import Database
from humwatch_service.storage.records import Delivery, OutboxCounts
from humwatch_service.storage.schema import EVENTS, OUTBOX, PENDING

MAX_ERROR_LENGTH: Final = 500
LONGEST_PAUSE_S: Final = 7_200.0
"""More than the longest pause between two attempts (:mod:`humwatch_service.webhooks.policy`)."""

_OWED_S: Final = func.coalesce(func.json_extract(EVENTS.c.details, "$.heard_s"), EVENTS.c.at_s)
"""Since when an event is owed: an event about old sound since that was heard."""


def _is_due(now_s: float) -> ColumnElement[bool]:
    return or_(OUTBOX.c.due_s <= now_s, OUTBOX.c.due_s > now_s + LONGEST_PAUSE_S)


class Outbox:
    """Deliveries of the database; used from any thread. Every method raises :class:`StateUnusable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now_s: float, limit: int, webhook: str) -> list[Delivery]:
        """Return a webhook's deliveries to try now, the oldest event first; at infinity all that are owed.

        One that is due much later than any pause between two attempts was put off by a clock that was ahead: it is due.
        """
        statement = (
            select(OUTBOX.c.id.label("delivery_id"), OUTBOX.c.webhook, OUTBOX.c.attempts, EVENTS)
            .join(EVENTS, EVENTS.c.id == OUTBOX.c.event_id)
            .where(PENDING, OUTBOX.c.webhook == webhook, _is_due(now_s))
            .order_by(OUTBOX.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(statement).mappings().all()
        return [
            Delivery(id=row["delivery_id"], webhook=row["webhook"], attempts=row["attempts"], event=event_of(dict(row)))
            for row in rows
        ]

    def delivered(self, delivery_id: int, at_s: float) -> None:
        """Settle a delivery that the webhook has."""
        self._settle(delivery_id, delivered_s=at_s)

    def failed(self, delivery_id: int, error: str, next_try_s: float | None) -> None:
        """Record an attempt that failed; with no next try the delivery is given up."""
        values: dict[str, object] = {"attempts": OUTBOX.c.attempts + 1, "last_error": error[:MAX_ERROR_LENGTH]}
        values |= {"given_up": True} if next_try_s is None else {"due_s": next_try_s}
        self._settle(delivery_id, **values)

    def counts(self) -> OutboxCounts:
        """Return the counts of deliveries."""
        delivered = OUTBOX.c.delivered_s.is_not(None)
        oldest = select(func.min(_OWED_S)).join(OUTBOX, OUTBOX.c.event_id == EVENTS.c.id).where(PENDING)
        with self._database.reading() as connection:
            numbers = connection.execute(
                select(
                    func.count().filter(PENDING).label("pending"),
                    func.count().filter(delivered).label("delivered"),
                    func.count().filter(OUTBOX.c.given_up).label("given_up"),
                ).select_from(OUTBOX)
            ).mappings()
            return OutboxCounts(**numbers.one(), oldest_pending_s=connection.execute(oldest).scalar_one())

    def pending(self) -> dict[str, int]:
        """Return the number of deliveries that are owed, by webhook; without those that are owed none."""
        with self._database.reading() as connection:
            counted = connection.execute(
                select(OUTBOX.c.webhook, func.count()).where(PENDING).group_by(OUTBOX.c.webhook)
            )
            return {row[0]: row[1] for row in counted}

    def _settle(self, delivery_id: int, **values: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == delivery_id, PENDING).values(**values))


def drop_old(connection: Connection, before_s: float) -> int:
    """Drop deliveries of events before a time, also those of webhooks that nobody asks for; returns how many."""
    old = select(EVENTS.c.id).where(before_s > _OWED_S)
    return connection.execute(delete(OUTBOX).where(OUTBOX.c.event_id.in_(old))).rowcount
