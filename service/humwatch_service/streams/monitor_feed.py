"""Items of a stream given to a monitor: the same for the version in use and for a candidate beside it."""

from __future__ import annotations

import numpy as np

from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.together import Work, alone
from humwatch_service.streams.stream_items import ClockReading, Elsewhere, End, Gap, HeardItem, Overflow, RunSignal


def feed(monitor: LiveMonitor, item: HeardItem) -> list[LiveStep]:
    """Give an item to a monitor; return the steps that it makes due."""
    return alone(feeding(monitor, item))


def feeding(monitor: LiveMonitor, item: HeardItem) -> Work[list[LiveStep]]:
    """Return the work of :func:`feed`, to be done beside that of other streams."""
    if isinstance(item, np.ndarray):
        return (yield from monitor.pushing(item))
    if isinstance(item, Gap):
        return (yield from monitor.skipping(item.samples))
    if isinstance(item, Overflow):
        monitor.overflow(item.count)
    elif isinstance(item, ClockReading):
        monitor.clock(item.sample, item.time_s)
    elif isinstance(item, Elsewhere):
        monitor.elsewhere(item.alive)
    elif isinstance(item, RunSignal):
        monitor.signal(item.running)
    return (yield from monitor.flushing()) if isinstance(item, End) else []
