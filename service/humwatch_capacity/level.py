"""One number of streams: played, measured, judged."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Final

from humwatch_capacity.bench import Bench, Effort, Session, breaks_of, played, refusals_of, reported
from humwatch_capacity.beside import Beside, asked_beside
from humwatch_capacity.breaking import what_broke
from humwatch_capacity.report import LevelReport
from humwatch_capacity.score_ledger import Latencies
from humwatch_capacity.service_metrics import ServiceCounts, quantile
from humwatch_service.cpu_allowance import cpu_allowance

GOODBYE_S: Final = 5.0
"""Longest time for the last sound to be scored; then the streams are cut off."""
ADMISSION_S: Final = 45.0
"""Longest time, beyond the warm-up, for a service to take all streams."""


def measure_level(bench: Bench, streams: int, beside: Beside | None = None) -> LevelReport:
    """Play so many streams to a fresh service, which is asked something ``beside`` them.

    Raises:
        ServiceUnreachable: it does not survive that.
    """
    with bench.session(streams) as session:
        player = session.player
        player.play(bench.warm_up_s)
        settle(session)
        url = str(session.service.http.base_url)
        with nullcontext() if beside is None else asked_beside(beside, url):
            effort = played(session, lambda: player.play(bench.seconds))
        player.play(bench.grace_s, until=lambda: player.settled_until(effort.to_s))
        for microphone in player.microphones:
            microphone.ledger.give_up(effort.to_s)
        report = _report(bench, session, effort, ServiceCounts.ask(session.service.http))
        player.finish(GOODBYE_S)
        session.service.check()
    return report.model_copy(update={"beside": None if beside is None else beside.value})


def settle(session: Session) -> None:
    """Let a service that takes streams a few at a time take them all, and forget whom it sent away until then."""
    microphones = session.player.microphones
    session.player.play(ADMISSION_S, until=lambda: all(microphone.state == "live" for microphone in microphones))
    for microphone in microphones:
        microphone.refusals.clear()
        microphone.breaks.clear()


def failures_of(
    latencies: Latencies, *, budget_s: float, refused: bool, broken: bool, counts: ServiceCounts | None
) -> list[str]:
    """Return the reasons for which a level is not sustained; empty when it is.

    Args:
        latencies: latencies of the scores that were due.
        budget_s: longest 99th percentile of the latency, seconds.
        refused: whether a connection was refused while it was measured, or a stream was never taken.
        broken: whether a connection broke.
        counts: counts of the service; None when it did not answer.
    """
    late = latencies.p99_s is None or latencies.p99_s > budget_s
    dropped = counts is not None and bool(counts.dropped_windows or counts.untold_scores or counts.gap_s)
    found = {"latency": late, "lost": latencies.lost > 0, "refused": refused, "broken": broken, "dropped": dropped}
    return [name for name, is_so in found.items() if is_so]


def _report(bench: Bench, session: Session, effort: Effort, counts: ServiceCounts | None) -> LevelReport:
    mics = session.player.microphones
    latencies = session.tally.between(effort.from_s, effort.to_s)
    refusals, breaks = refusals_of(mics), breaks_of(mics)
    admitted = sum(microphone.admitted for microphone in mics)
    failed_by = failures_of(
        latencies,
        budget_s=bench.budget_s,
        refused=bool(refusals) or admitted < len(mics),
        broken=bool(breaks),
        counts=counts,
    )
    buckets = counts.latency if counts is not None else {}
    level = LevelReport(
        version=bench.version.name,
        streams=len(mics),
        seconds=effort.to_s - effort.from_s,
        sustained=not failed_by,
        failed_by=failed_by,
        admitted=admitted,
        refusals=refusals,
        breaks=breaks,
        latency=reported(latencies),
        service_p50_s=quantile(buckets, 0.5),
        service_p99_s=quantile(buckets, 0.99),
        dropped_windows=counts.dropped_windows if counts else None,
        untold_scores=counts.untold_scores if counts else None,
        gap_s=counts.gap_s if counts else None,
        faults=counts.faults if counts else None,
        alarms=counts.alarms if counts else None,
        machine_states=dict(Counter(microphone.machine_state for microphone in mics)),
        rss_idle_mb=session.idle.rss_mb,
        rss_mb=effort.rss_mb,
        mb_a_stream=(effort.rss_mb - session.idle.rss_mb) / len(mics),
        service_cores=effort.service_cores,
        ms_a_stream_second=1e3 * effort.service_cores / len(mics),
        player_cores=effort.player_cores,
        other_cores=effort.other_cores,
        player_lag_s=effort.player_lag_s,
        backlog_s=max(microphone.backlog_s for microphone in mics),
    )
    loads = counts.loads if counts is not None else {}
    return level.model_copy(update={"broke": what_broke(level, loads, cpu_allowance().cores)})
