"""Items of a stream given to a monitor: the same for the version in use and for a candidate beside it."""

from __future__ import annotations

import numpy as np

from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch_service.streams.stream_items import ClockReading, Elsewhere, End, Gap, HeardItem, Overflow, RunSignal


def feed(monitor: LiveMonitor, item: HeardItem) -> list[LiveStep]:
    """Give an item to a monitor; return the steps that it makes due."""
    if isinstance(item, np.ndarray):
        return monitor.push(item)
    if isinstance(item, Gap):
        return monitor.gap(item.samples)
    if isinstance(item, Overflow):
        monitor.overflow(item.count)
    elif isinstance(item, ClockReading):
        monitor.clock(item.sample, item.time_s)
    elif isinstance(item, Elsewhere):
        monitor.elsewhere(item.alive)
    elif isinstance(item, RunSignal):
        monitor.signal(item.running)
    return monitor.flush() if isinstance(item, End) else []
