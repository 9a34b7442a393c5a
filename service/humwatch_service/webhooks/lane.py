"""The way to one webhook: what waits for it goes out in order, one at a time."""

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
from humwatch_service.webhooks.breaker import Circuit, CircuitBreaker
from humwatch_service.webhooks.endpoint import Answer, Endpoint
from humwatch_service.webhooks.outbox import DeliveryOutcome, Notification, Outbox
from humwatch_service.webhooks.policy import DeliveryPolicy
from humwatch_service.webhooks.signature import message_id

PAGE: Final = 256
"""Notifications that are read from the outbox at a time."""
RECORDING_S: Final = 0.5
"""Time that a result gets to be recorded when the service stops, seconds."""

Clock = Callable[[], float]
Tell = Callable[[str, DeliveryOutcome], None]
"""Is told the name of a webhook, and what came of an attempt or a notification."""

_log = event_logger("humwatch.webhooks")


class WebhookStatus(BaseModel):
    """How a webhook does; counted since the service started."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="name of the webhook")
    host: str = Field(description="host that it leads to")
    circuit: Circuit = Field(description="`open`: it failed often, and is left alone; `half_open`: one attempt decides")
    delivered: int = Field(description="notifications that arrived")
    failed: int = Field(description="attempts that failed")
    given_up: int = Field(description="notifications that nobody tries any more")
    last_error: str | None = Field(description="why the last failed attempt failed; null: none did")
    last_error_s: float | None = Field(description="when it failed, seconds since 1970 (UTC)")
    last_delivered_s: float | None = Field(description="when the last one arrived, seconds since 1970 (UTC)")


class Lane:
    """Sends what waits for one webhook, the oldest first.

    A notification that fails holds up those after it for its first repetitions, and is passed by them later: a receiver
    that chokes on one payload still gets the others. While the last attempt was a failure, older ones go before a new
    one whether it is their time or not, so that a receiver that comes back gets them in order.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        outbox: Outbox,
        *,
        policy: DeliveryPolicy,
        clock: Clock,
        monotonic: Clock,
        chance: random.Random,
        tell: Tell,
    ) -> None:
        self._endpoint = endpoint
        self._webhook = endpoint.webhook
        self._outbox = outbox
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._tell = tell
        self._breaker = CircuitBreaker(policy.breaker_failures, policy.breaker_open_s)
        self._wake = asyncio.Event()
        self._paused_until_s = -math.inf
        self._troubled = True  # what failed before a restart is not known
        self._failed_id = 0
        self._unrecorded: Callable[[], None] | None = None
        self._outbox_error = ""
        self._delivered = self._failures = self._given_up = 0
        self._last_error: tuple[str, float] | None = None
        self._last_delivered_s: float | None = None

    def wake(self) -> None:
        """Look into the outbox now."""
        self._wake.set()

    def status(self) -> WebhookStatus:
        """How the webhook does."""
        error, error_s = self._last_error or (None, None)
        return WebhookStatus(
            name=self._webhook.name,
            host=self._webhook.host,
            circuit=self._breaker.circuit(self._monotonic()),
            delivered=self._delivered,
            failed=self._failures,
            given_up=self._given_up,
            last_error=error,
            last_error_s=error_s,
            last_delivered_s=self._last_delivered_s,
        )

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._look()
                await self._rest()
        finally:
            await self._endpoint.close()

    async def _look(self) -> None:
        """Send what there is; no fault ends the loop."""
        try:
            await self._send()
            self._outbox_error = ""
        except StateUnusable as error:
            if str(error) != self._outbox_error:  # said once, not at every look
                _log.error("outbox not usable", webhook=self._webhook.name, code=error.code, reason=str(error))
            self._outbox_error = str(error)
        except Exception:
            self._breaker.failed(self._monotonic())
            _log.exception("webhook failed in an unforeseen way", webhook=self._webhook.name)

    async def _rest(self) -> None:
        blocked_s = self._blocked_s()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._policy.poll_s, blocked_s or math.inf)):
                await self._wake.wait()

    async def _send(self) -> None:
        await self._record()
        if self._blocked_s() > 0:
            return
        before = self._delivered
        for notification in await self._next():
            if self._blocked_s() > 0:
                return
            await self._deliver(notification)
        if self._delivered > before:  # there may be more than a page
            self._wake.set()

    async def _next(self) -> Sequence[Notification]:
        """What is to be sent, in order; nothing as long as nothing is due."""
        due = await self._waiting(self._clock())
        if not due or not self._troubled:
            return due
        waiting = await self._waiting(math.inf)
        if self._breaker.circuit(self._monotonic()) == "closed":
            return waiting
        # One attempt decides: it is another one's turn, for the receiver may choke on the one that failed last.
        return sorted(waiting, key=lambda notification: (notification.id <= self._failed_id, notification.id))

    async def _waiting(self, until_s: float) -> Sequence[Notification]:
        return await asyncio.to_thread(self._outbox.due, until_s, PAGE, self._webhook.name)

    def _blocked_s(self) -> float:
        """Seconds until something may be sent; 0 for now."""
        now_s = self._monotonic()
        return max(0.0, self._paused_until_s - now_s, self._breaker.wait_s(now_s))

    async def _deliver(self, notification: Notification) -> None:
        answer = await self._endpoint.post(message_id(notification), notification.body, self._clock())
        if answer.outcome == "delivered":
            self._arrived(notification)
        else:
            self._note_failure(notification, answer)
        await self._record()

    def _arrived(self, notification: Notification) -> None:
        now_s = self._clock()
        if self._breaker.circuit(self._monotonic()) != "closed":
            _log.info("webhook works again", webhook=self._webhook.name)
        self._breaker.succeeded()
        self._troubled = False
        self._delivered += 1
        self._tell(self._webhook.name, "delivered")
        self._last_delivered_s = now_s
        self._unrecorded = partial(self._outbox.delivered, notification.id, now_s)
        _log.info("notification delivered", webhook=self._webhook.name, notification_id=notification.id)

    def _note_failure(self, notification: Notification, answer: Answer) -> None:
        now_s, failures = self._clock(), notification.attempts + 1
        self._troubled = True
        self._failed_id = notification.id
        self._failures += 1
        self._tell(self._webhook.name, "failed")
        self._last_error = (answer.error, now_s)
        delay_s = max(self._policy.delay_s(failures, self._chance), answer.retry_after_s)
        over = answer.outcome == "gone" or now_s + delay_s > notification.created_s + self._policy.give_up_s
        self._pause(answer.retry_after_s if over or failures >= self._policy.holding_attempts else delay_s)
        next_try_s = None if over else now_s + delay_s
        self._unrecorded = partial(self._outbox.failed, notification.id, answer.error, next_try_s)
        self._report(notification, answer.error, next_try_s)

    def _pause(self, pause_s: float) -> None:
        now_s = self._monotonic()
        self._paused_until_s = now_s + pause_s
        self._breaker.failed(now_s)

    def _report(self, notification: Notification, error: str, next_try_s: float | None) -> None:
        log = _log.bind(webhook=self._webhook.name, notification_id=notification.id)
        if next_try_s is None:
            self._given_up += 1
            self._tell(self._webhook.name, "given_up")
            log.error("notification given up", reason=error)
        else:
            log.warning("notification not delivered", reason=error, failures=notification.attempts + 1)
        if self._breaker.circuit(self._monotonic()) == "open":
            _log.warning("webhook left alone for a while", webhook=self._webhook.name)

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
