"""Notifications that wait to be delivered, and the adapter that reads them from the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from humwatch_service.errors import AlarmNotFound
from humwatch_service.storage.records import AlarmRecord, Delivery, EventRecord
from humwatch_service.storage.store import StateStore
from humwatch_service.webhooks.payload import notification_of


@dataclass(frozen=True)
class Notification:
    """A payload on its way to one webhook.

    Attributes:
        id: number that counts up in the order of events.
        webhook: name of the webhook.
        body: JSON that is posted.
        created_s: since when it is owed, seconds since 1970 (UTC); never changes.
        attempts: number of attempts that failed so far.
    """

    id: int
    webhook: str
    body: bytes
    created_s: float
    attempts: int = 0


class NotificationQueue(Protocol):
    """Notifications that are kept until they are delivered or given up. Called from worker threads; may block.

    Each method raises :class:`humwatch_service.errors.StateUnusable` while it cannot read or write.
    """

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Notification]:
        """Return a webhook's notifications whose next try is not after ``now_s``, those with the lowest id first.

        Args:
            now_s: time, seconds since 1970 (UTC); infinity asks for all that wait.
            limit: highest number that is returned.
            webhook: name of the webhook.
        """

    def delivered(self, notification_id: int, at_s: float) -> None:
        """Settle a notification that the receiver has."""

    def failed(self, notification_id: int, error: str, next_try_s: float | None) -> None:
        """Record an attempt that failed; the next one is due at ``next_try_s``, or never."""


class OutboxAdapter:
    """The outbox of the database as a :class:`NotificationQueue`; blocking, from any thread."""

    def __init__(self, store: StateStore, alarm_page: Callable[[str], str | None] = lambda _: None) -> None:
        """Read from a database; ``alarm_page`` returns the URL of an alarm for people, if there is one."""
        self._store = store
        self._alarm_page = alarm_page

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Notification]:
        """Return a webhook's notifications to try now, the oldest event first."""
        return [self._notification(delivery) for delivery in self._store.outbox.due(now_s, limit, webhook)]

    def delivered(self, notification_id: int, at_s: float) -> None:
        """Settle a notification that the receiver has."""
        self._store.outbox.delivered(notification_id, at_s)

    def failed(self, notification_id: int, error: str, next_try_s: float | None) -> None:
        """Record an attempt that failed; the next one is due then, or never."""
        self._store.outbox.failed(notification_id, error, next_try_s)

    def _notification(self, delivery: Delivery) -> Notification:
        event, alarm = delivery.event, self._alarm(delivery.event.alarm_id)
        heard = _heard(event, alarm)
        body = notification_of(
            event,
            machine_id=event.machine_id,
            alarm_id=event.alarm_id,
            context=None if alarm is None else alarm.context,
            page_url=None if event.alarm_id is None else self._alarm_page(event.alarm_id),
            heard=heard,
        )
        since_s = event.at_s if heard is None else max(event.at_s, heard[1])
        return Notification(delivery.id, delivery.webhook, body, since_s, delivery.attempts)

    def _alarm(self, alarm_id: str | None) -> AlarmRecord | None:
        if alarm_id is None:
            return None
        try:
            return self._store.alarm(alarm_id)
        except AlarmNotFound:
            return None


def _heard(event: EventRecord, alarm: AlarmRecord | None) -> tuple[float, float] | None:
    """Return when the sound of an event was recorded, and when heard; what is said of an alarm is about its sound."""
    heard_s = event.details.get("heard_s")
    if isinstance(heard_s, float | int):
        return event.at_s, float(heard_s)
    return None if alarm is None or alarm.heard_s is None else (alarm.raised_s, alarm.heard_s)
