"""The metrics of the disk and of webhooks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from humwatch_service.metrics.families import Families
from humwatch_service.webhooks.policy import DELIVERY_OUTCOMES, DeliveryOutcome


class StateMetrics:
    """Figures that are looked up every few seconds, so that a scrape never waits for a disk."""

    def __init__(self, families: Families) -> None:
        self._gauges = families.gauges
        self._purged = families.counters["evidence_purged_total"]
        self._deliveries = families.counters["webhook_deliveries_total"]
        self._webhooks: tuple[str, ...] = ()
        self.measured(evidence_bytes=None, free_bytes=None)

    def follow_webhooks(self, names: Iterable[str]) -> None:
        """Show the webhooks of the settings from the start."""
        self._webhooks = tuple(names)
        for name in self._webhooks:
            for outcome in DELIVERY_OUTCOMES:
                self._deliveries.labels(name, outcome)
        self.owed(None)

    def limit(self, evidence_max_bytes: int) -> None:
        """Show the quota."""
        self._gauges["evidence_max_bytes"].set(evidence_max_bytes)

    def measured(self, *, evidence_bytes: int | None, free_bytes: int | None) -> None:
        """Show the sizes of the disk; None for one that cannot be read."""
        self._gauges["evidence_bytes"].set(math.nan if evidence_bytes is None else evidence_bytes)
        self._gauges["state_free_bytes"].set(math.nan if free_bytes is None else free_bytes)

    def purged(self, alarms: int) -> None:
        """Count alarms whose sound was deleted."""
        self._purged.inc(alarms)

    def notified(self, webhook: str, outcome: DeliveryOutcome) -> None:
        """Count the outcome of an attempt, or of a notification."""
        self._deliveries.labels(webhook, outcome).inc()

    def owed(self, pending: Mapping[str, int] | None) -> None:
        """Show the number of notifications that each webhook is owed; None where that cannot be read."""
        for name in self._webhooks:
            self._gauges["webhook_pending"].labels(name).set(math.nan if pending is None else pending.get(name, 0))
