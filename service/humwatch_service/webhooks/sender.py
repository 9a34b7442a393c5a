"""Sends what the outbox holds: a lane for each webhook, so that one that is down does not hold up others."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable

import httpx

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.webhooks.addresses import HostLookup, Resolve
from humwatch_service.webhooks.endpoint import Endpoint
from humwatch_service.webhooks.lane import Clock, Lane, Tell, WebhookStatus
from humwatch_service.webhooks.outbox import Outbox
from humwatch_service.webhooks.policy import DeliveryPolicy


class WebhookSender:
    """Delivers at least once: a notification leaves the outbox after the receiver's 2xx.

    When the process is killed between the two, the receiver gets it again, under the same ``webhook-id``.
    """

    def __init__(
        self,
        webhooks: Iterable[WebhookSettings],
        outbox: Outbox,
        *,
        policy: DeliveryPolicy | None = None,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        chance: random.Random | None = None,
        tell: Tell = lambda webhook, outcome: None,
    ) -> None:
        """Make the lanes.

        Args:
            webhooks: that :func:`humwatch_service.config.webhooks.check_webhooks` accepted.
            outbox: what is sent; called from worker threads.
            policy: delays.
            clock: seconds since 1970 (UTC), for the outbox and signatures.
            monotonic: seconds, for pauses.
            resolve: host name to addresses; default: the system's resolver.
            transport: instead of connections of httpx's, for all webhooks.
            chance: for jitter.
            tell: is told what comes of attempts, to count it.

        Raises:
            SettingsInvalid: a secret or certificate cannot be read.
        """
        resolve = resolve or HostLookup()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lanes = [
            Lane(
                Endpoint(webhook, resolve=resolve, transport=transport),
                outbox,
                policy=policy or DeliveryPolicy(),
                clock=clock,
                monotonic=monotonic,
                chance=chance or random.Random(),
                tell=tell,
            )
            for webhook in webhooks
        ]

    async def run(self) -> None:
        """Send until cancelled, which takes less than a second; what is not confirmed stays in the outbox."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(lane.run())
        finally:
            self._loop = None

    def wake(self) -> None:
        """Look into the outbox now; from any thread, after something was put there."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_lanes)

    def status(self) -> list[WebhookStatus]:
        """How the webhooks do, in the order of the settings."""
        return [lane.status() for lane in self._lanes]

    def _wake_lanes(self) -> None:
        for lane in self._lanes:
            lane.wake()
