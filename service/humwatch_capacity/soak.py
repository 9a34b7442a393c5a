"""A number of streams for a long time: a reading every ten seconds, and what memory does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import fmean
from typing import Final

import numpy as np

from humwatch_capacity.bench import Bench, Effort, Session, played
from humwatch_capacity.level import GOODBYE_S, settle
from humwatch_capacity.report import SoakReading, SoakReport
from humwatch_capacity.service_metrics import ServiceCounts

EVERY_S: Final = 10.0
SETTLING_S: Final = 180.0
"""Memory is not judged by the first three minutes: the service keeps two minutes of the sound of each stream."""
COLUMNS: Final = "   at s   RSS MB  live  dropped  gaps s  lost   p50 ms   p99 ms  CPU %  faults  alarms  breaks"
NOTHING: Final = ServiceCounts(0, 0, 0, 0.0, 0, 0, {})


def soak(
    bench: Bench,
    streams: int,
    seconds: float,
    *,
    on_reading: Callable[[SoakReading], None],
    every_s: float = EVERY_S,
) -> None:
    """Play so many streams for so long, and give each reading out when it is made.

    Raises:
        ServiceUnreachable: the service does not survive that.
    """
    with bench.session(streams) as session, ThreadPoolExecutor(1) as asking:
        session.player.play(bench.warm_up_s)
        settle(session)
        log = _SoakReader(session, bench.grace_s)
        for _ in range(max(1, round(seconds / every_s))):
            on_reading(log.read(asking, every_s))
            session.service.check()
        session.player.finish(GOODBYE_S)


class _SoakReader:
    """Maker of readings. A score belongs to the reading that ends a grace after it was due: it had the time to come."""

    def __init__(self, session: Session, grace_s: float) -> None:
        self._session = session
        self._grace_s = grace_s
        self._counts = NOTHING
        self._judged_s = time.monotonic()

    def read(self, asking: ThreadPoolExecutor, seconds: float) -> SoakReading:
        """Play for so long, and see what came of it; the streams go on while the service is asked."""
        player = self._session.player

        def play() -> None:
            player.play(seconds)
            answer: Future[ServiceCounts | None] = asking.submit(ServiceCounts.ask, self._session.service.http)
            while not answer.done():
                player.play(1.0, until=answer.done)
            self._counts = answer.result() or self._counts

        return self._reading(played(self._session, play))

    def _reading(self, effort: Effort) -> SoakReading:
        tally, mics = self._session.tally, self._session.player.microphones
        until_s = max(self._judged_s, effort.to_s - self._grace_s)
        for microphone in mics:
            microphone.ledger.give_up(until_s)
        latencies = tally.between(self._judged_s, until_s)
        tally.forget(until_s)
        self._judged_s = until_s
        counts = self._counts
        return SoakReading(
            at_s=effort.to_s - self._session.idle.at_s,
            rss_mb=effort.rss_mb,
            live_streams=counts.live_streams,
            dropped_windows=counts.dropped_windows,
            untold_scores=counts.untold_scores,
            gap_s=counts.gap_s,
            p50_s=latencies.p50_s,
            p99_s=latencies.p99_s,
            lost_scores=latencies.lost,
            service_cores=effort.service_cores,
            other_cores=effort.other_cores,
            player_lag_s=effort.player_lag_s,
            faults=counts.faults,
            alarms=counts.alarms,
            breaks=sum(microphone.breaks.total() for microphone in mics),
        )


def line(reading: SoakReading) -> str:
    """Return a row under ``COLUMNS``."""
    p50, p99 = ("     -" if value is None else f"{1e3 * value:6.0f}" for value in (reading.p50_s, reading.p99_s))
    return (
        f"{reading.at_s:7.0f} {reading.rss_mb:8.1f} {reading.live_streams:5d} {reading.dropped_windows:8d}"
        f" {reading.gap_s:7.2f} {reading.lost_scores:5d}   {p50}   {p99} {100 * reading.service_cores:6.0f}"
        f" {reading.faults:7d} {reading.alarms:7d} {reading.breaks:7d}"
    )


def slope_mb_h(readings: Sequence[SoakReading]) -> float | None:
    """Return the growth of memory by least squares, MB an hour; None of fewer than three readings."""
    if len(readings) < 3:
        return None
    hours = np.array([reading.at_s / 3_600 for reading in readings])
    return float(np.polyfit(hours, [reading.rss_mb for reading in readings], 1)[0])


def summary(streams: int, readings: Sequence[SoakReading], rss_idle_mb: float | None) -> SoakReport | None:
    """Return a summary of readings; None of none. ``rss_idle_mb`` is memory before the streams, if it is known."""
    if not readings:
        return None
    last = readings[-1]
    settled = [reading for reading in readings if reading.at_s >= SETTLING_S]
    p50s = [reading.p50_s for reading in readings if reading.p50_s is not None]
    p99s = [reading.p99_s for reading in readings if reading.p99_s is not None]
    return SoakReport(
        streams=streams,
        seconds=last.at_s,
        settling_s=SETTLING_S,
        memory_slope_mb_h=slope_mb_h(settled),
        rss_first_mb=settled[0].rss_mb if settled else None,
        rss_last_mb=settled[-1].rss_mb if settled else None,
        mb_a_stream=None if rss_idle_mb is None else (last.rss_mb - rss_idle_mb) / streams,
        rss_max_mb=max(reading.rss_mb for reading in readings),
        live_streams_min=min((reading.live_streams for reading in settled), default=None),
        p50_worst_s=max(p50s, default=None),
        p99_worst_s=max(p99s, default=None),
        service_cores_mean=fmean(reading.service_cores for reading in settled) if settled else None,
        lost_scores=sum(reading.lost_scores for reading in readings),
        dropped_windows=last.dropped_windows,
        untold_scores=last.untold_scores,
        gap_s=last.gap_s,
        faults=last.faults,
        alarms=last.alarms,
        breaks=last.breaks,
        readings=list(readings),
    )
