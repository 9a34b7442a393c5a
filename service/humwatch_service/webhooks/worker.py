"""The delivery worker of one webhook: its queue goes out in order, one notification at a time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch_service.errors import StateUnusable
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.webhooks.endpoint import Attempt, Endpoint
from humwatch_service.webhooks.outbox import Notification, NotificationQueue
from humwatch_service.webhooks.policy import Circuit, DeliveryOutcome, DeliveryPolicy, EndpointBackoff

PAGE: Final = 256
"""Number of notifications that are read from the queue at a time."""
RECORDING_S: Final = 0.5
"""Time that a result gets to be recorded when the service stops, seconds."""

Clock = Callable[[], float]
OnOutcome = Callable[[str, DeliveryOutcome], None]
"""Called with the name of a webhook and the outcome of an attempt or a notification."""

_log = event_logger("humwatch.webhooks")


class WebhookStatus(BaseModel):
    """How a webhook does; counted since the service started."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="name of the webhook")
    host: str = Field(description="host that it leads to")
    circuit: Circuit = Field(
        "closed", description="`open`: it failed often, and is left alone; `half_open`: one attempt decides"
    )
    delivered: int = Field(0, description="notifications that arrived")
    failed: int = Field(0, description="attempts that failed")
    given_up: int = Field(0, description="notifications that nobody tries any more")
    last_error: str | None = Field(None, description="why the last failed attempt failed; null: none did")
    last_error_s: float | None = Field(None, description="when it failed, seconds since 1970 (UTC)")
    last_delivered_s: float | None = Field(None, description="when the last one arrived, seconds since 1970 (UTC)")


class DeliveryWorker:
    """Sender of one webhook's queue, the oldest notification first.

    A notification that fails holds up those after it for its first repetitions, and is passed by them later: a receiver
    that chokes on one payload still gets the others. While the last attempt was a failure, older ones go before a new
    one whether it is their time or not, so that a receiver that comes back gets them in order.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        queue: NotificationQueue,
        *,
        policy: DeliveryPolicy,
        clock: Clock,
        monotonic: Clock,
        chance: random.Random,
        on_outcome: OnOutcome,
    ) -> None:
        self._endpoint = endpoint
        self._name = endpoint.webhook.name
        self._queue = queue
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._on_outcome = on_outcome
        self._delays = policy.backoff(chance)
        self._backoff = EndpointBackoff(policy.breaker_failures, policy.breaker_open_s)
        self._wake = asyncio.Event()
        self._unrecorded: Callable[[], None] | None = None
        self._queue_error = ""
        self._status = WebhookStatus(name=self._name, host=endpoint.webhook.host)

    def wake(self) -> None:
        """Read the queue now."""
        self._wake.set()

    def status(self) -> WebhookStatus:
        """Return how the webhook does."""
        return self._status.model_copy(update={"circuit": self._circuit()})

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._guarded_send()
                await self._rest()
        finally:
            await self._endpoint.close()

    async def _guarded_send(self) -> None:
        """Send what there is; no fault ends the loop."""
        try:
            await self._send()
            self._queue_error = ""
        except StateUnusable as error:
            if str(error) != self._queue_error:  # logged once, not at every read
                _log.error("outbox not usable", webhook=self._name, code=error.code, reason=str(error))
            self._queue_error = str(error)
        except Exception:
            self._backoff.failed(self._monotonic())
            _log.exception("webhook failed in an unforeseen way", webhook=self._name)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._policy.poll_s, self._wait_s() or math.inf)):
                await self._wake.wait()

    async def _send(self) -> None:
        await self._record()
        if self._wait_s() > 0:
            return
        before = self._status.delivered
        for notification in await self._next():
            if self._wait_s() > 0:
                return
            await self._deliver(notification)
        if self._status.delivered > before:  # there may be more than a page
            self._wake.set()

    async def _next(self) -> Sequence[Notification]:
        """Return what is to be sent, in order; nothing as long as nothing is due."""
        due = await self._waiting(self._clock())
        if not due or not self._backoff.in_doubt:
            return due
        waiting = await self._waiting(math.inf)
        if self._circuit() == "closed":
            return waiting
        # One attempt decides: that of the notification that failed least, for the receiver may choke on one payload.
        probe = min(waiting, key=lambda notification: (notification.attempts, notification.id))
        return [probe, *(notification for notification in waiting if notification is not probe)]

    async def _waiting(self, until_s: float) -> Sequence[Notification]:
        return await asyncio.to_thread(self._queue.due, until_s, PAGE, self._name)

    def _wait_s(self) -> float:
        """Return the seconds until something may be sent; 0 for now."""
        return self._backoff.wait_s(self._monotonic())

    def _circuit(self) -> Circuit:
        return self._backoff.circuit(self._monotonic())

    async def _deliver(self, notification: Notification) -> None:
        attempt = await self._endpoint.post(notification, self._clock())
        if attempt.outcome == "delivered":
            self._on_delivered(notification)
        else:
            self._on_failed(notification, attempt)
        await self._record()

    def _on_delivered(self, notification: Notification) -> None:
        now_s = self._clock()
        if self._circuit() != "closed":
            _log.info("webhook works again", webhook=self._name)
        self._backoff.succeeded()
        self._count("delivered", last_delivered_s=now_s)
        self._unrecorded = partial(self._queue.delivered, notification.id, now_s)
        _log.info("notification delivered", webhook=self._name, notification_id=notification.id)

    def _on_failed(self, notification: Notification, attempt: Attempt) -> None:
        now_s, failures = self._clock(), notification.attempts + 1
        delay_s = max(self._delays.delay_s(failures), attempt.retry_after_s)
        old = now_s + delay_s > notification.created_s + self._policy.give_up_s
        over = attempt.outcome == "gone" or (old and failures >= self._policy.least_attempts)
        holds = not over and failures < self._policy.holding_attempts
        self._backoff.failed(self._monotonic(), delay_s if holds else attempt.retry_after_s)
        next_try_s = None if over else now_s + delay_s
        self._unrecorded = partial(self._queue.failed, notification.id, attempt.error, next_try_s)
        self._count("failed", last_error=attempt.error, last_error_s=now_s)
        log = _log.bind(webhook=self._name, notification_id=notification.id)
        if over:
            self._count("given_up")
            log.error("notification given up", reason=attempt.error)
        else:
            log.warning("notification not delivered", reason=attempt.error, failures=failures)
        if self._circuit() == "open":
            _log.warning("webhook left alone for a while", webhook=self._name)

    def _count(self, outcome: DeliveryOutcome, **changes: str | float) -> None:
        count = getattr(self._status, outcome) + 1
        self._status = self._status.model_copy(update={outcome: count, **changes})
        self._on_outcome(self._name, outcome)

    async def _record(self) -> None:
        """Write down what came of the last attempt, before anything else is sent.

        Were a delivery sent on while it cannot be recorded (a full disk), the receiver would get it again and again.
        """
        if self._unrecorded is None:
            return
        writing = asyncio.ensure_future(asyncio.to_thread(self._unrecorded))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing}, timeout=RECORDING_S)
            raise
        self._unrecorded = None
