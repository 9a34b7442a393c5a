"""What waits to be sent: the sender's view of it. Whoever keeps it does so on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

DeliveryOutcome = Literal["delivered", "failed", "given_up"]
DELIVERY_OUTCOMES: Final[tuple[DeliveryOutcome, ...]] = ("delivered", "failed", "given_up")


class Notification(Protocol):
    """A payload on its way to one webhook."""

    @property
    def id(self) -> int:
        """Counts up in the order of events."""

    @property
    def webhook(self) -> str:
        """Name of the webhook."""

    @property
    def body(self) -> bytes:
        """The JSON that is posted."""

    @property
    def created_s(self) -> float:
        """When it was stored (or its event happened), seconds since 1970; never changes."""

    @property
    def attempts(self) -> int:
        """How many failed so far."""


class Outbox(Protocol):
    """Keeps notifications until they are delivered or given up. Called from worker threads; may block.

    Each method raises :class:`humwatch_service.errors.StateUnusable` while it cannot read or write.
    """

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Notification]:
        """A webhook's notifications whose next try is not after ``now_s``, those with the lowest id first.

        Args:
            now_s: seconds since 1970; infinity asks for all that wait.
            limit: most that are returned.
            webhook: name of the webhook.
        """

    def delivered(self, notification_id: int, at_s: float) -> None:
        """The receiver has it."""

    def failed(self, notification_id: int, error: str, next_try_s: float | None) -> None:
        """An attempt failed; the next one is due at ``next_try_s``, or never."""
