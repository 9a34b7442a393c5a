"""Delivery of the outbox: a worker for each webhook, so that one that is down does not hold up others."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable

import httpx

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.webhooks.addresses import HostLookup, Resolve
from humwatch_service.webhooks.endpoint import Endpoint
from humwatch_service.webhooks.outbox import NotificationQueue
from humwatch_service.webhooks.policy import DeliveryPolicy
from humwatch_service.webhooks.worker import Clock, DeliveryWorker, OnOutcome, WebhookStatus


class WebhookSender:
    """Delivery at least once: a notification leaves the outbox after the receiver's 2xx.

    When the process is killed between the two, the receiver gets it again, under the same ``webhook-id``.
    """

    def __init__(
        self,
        webhooks: Iterable[WebhookSettings],
        queue: NotificationQueue,
        *,
        policy: DeliveryPolicy | None = None,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        chance: random.Random | None = None,
        on_outcome: OnOutcome = lambda webhook, outcome: None,
    ) -> None:
        """Make the workers.

        Args:
            webhooks: settings that :func:`humwatch_service.config.webhooks.check_webhooks` accepted.
            queue: notifications to send; called from worker threads.
            policy: delays and limits of attempts.
            clock: time for the queue and signatures, seconds since 1970 (UTC).
            monotonic: time for pauses, seconds.
            resolve: lookup from host name to addresses; default: the system's resolver.
            transport: replacement for httpx's connections, for all webhooks.
            chance: source of the jitter.
            on_outcome: called with the outcome of each attempt, to count it.

        Raises:
            SettingsInvalid: a secret or certificate cannot be read.
        """
        resolve = resolve or HostLookup()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers = [
            DeliveryWorker(
                Endpoint(webhook, resolve=resolve, transport=transport),
                queue,
                policy=policy or DeliveryPolicy(),
                clock=clock,
                monotonic=monotonic,
                chance=chance or random.Random(),
                on_outcome=on_outcome,
            )
            for webhook in webhooks
        ]

    async def run(self) -> None:
        """Send until cancelled, which takes less than a second; what is not confirmed stays in the outbox."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.run())
        finally:
            self._loop = None

    def wake(self) -> None:
        """Read the queue now; from any thread, after something was put there."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_workers)

    def status(self) -> list[WebhookStatus]:
        """Return how the webhooks do, in the order of the settings."""
        return [worker.status() for worker in self._workers]

    def _wake_workers(self) -> None:
        for worker in self._workers:
            worker.wake()
