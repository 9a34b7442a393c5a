"""Alarm events on their way to webhooks: what the database owes, as the sender wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from humwatch_service.errors import AlarmNotFound
from humwatch_service.storage.records import AlarmContext, Delivery
from humwatch_service.storage.store import StateStore
from humwatch_service.webhooks.payload import notification_of


@dataclass(frozen=True)
class Notice:
    """A payload on its way to one webhook (:class:`humwatch_service.webhooks.outbox.Notification`)."""

    id: int
    webhook: str
    body: bytes
    created_s: float
    attempts: int


class Notices:
    """The outbox of the database (:class:`humwatch_service.webhooks.outbox.Outbox`); blocking, from any thread."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Notice]:
        """A webhook's notices to try now, the oldest event first."""
        return [self._notice(delivery) for delivery in self._store.outbox.due(now_s, limit, webhook)]

    def delivered(self, notification_id: int, at_s: float) -> None:
        """The receiver has it."""
        self._store.outbox.delivered(notification_id, at_s)

    def failed(self, notification_id: int, error: str, next_try_s: float | None) -> None:
        """An attempt failed; the next one is due then, or never."""
        self._store.outbox.failed(notification_id, error, next_try_s)

    def _notice(self, delivery: Delivery) -> Notice:
        event = delivery.event
        body = notification_of(
            event, machine_id=event.machine_id, alarm_id=event.alarm_id, context=self._context(event.alarm_id)
        )
        return Notice(delivery.id, delivery.webhook, body, event.at_s, delivery.attempts)

    def _context(self, alarm_id: str | None) -> AlarmContext | None:
        if alarm_id is None:
            return None
        try:
            return self._store.alarm(alarm_id).context
        except AlarmNotFound:
            return None
