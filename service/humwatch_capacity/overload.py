"""More streams than are sustained: who is taken, how those fare, and how long it takes to be well again."""

from __future__ import annotations

import math
import time
from typing import Final

from humwatch_capacity.bench import Bench, Session, breaks_of, played, refusals_of, reported
from humwatch_capacity.level import GOODBYE_S
from humwatch_capacity.microphone import SimulatedMicrophone
from humwatch_capacity.report import OverloadReport
from humwatch_capacity.score_ledger import Tally

LONGEST_RECOVERY_S: Final = 120.0
CALM_S: Final = 5.0
"""So long the scores have to be within the budget again."""


def measure_overload(bench: Bench, sustained: int) -> OverloadReport:
    """Play twice the sustained number for a while, then cut off as many as are too many.

    Raises:
        ServiceUnreachable: the service does not survive that.
    """
    with bench.session(2 * sustained) as session:
        player = session.player
        player.play(bench.warm_up_s)
        effort = played(session, lambda: player.play(bench.seconds))
        live = [microphone for microphone in player.microphones if microphone.state == "live"]
        stay, go = chosen(player.microphones, sustained)
        player.hang_up(go)
        back_s = time.monotonic()
        recovered_s = _recovery(bench, session, stay, back_s)
        for microphone in player.microphones:
            microphone.ledger.give_up(effort.to_s)
        report = OverloadReport(
            streams=len(player.microphones),
            seconds=effort.to_s - effort.from_s,
            admitted=len(live),
            never_admitted=sum(not microphone.admitted for microphone in player.microphones),
            refusals=refusals_of(player.microphones),
            breaks=breaks_of(player.microphones),
            latency=reported(session.tally.between(effort.from_s, effort.to_s)),
            rss_mb=effort.rss_mb,
            service_cores=effort.service_cores,
            other_cores=effort.other_cores,
            player_lag_s=effort.player_lag_s,
            back_to_streams=len(stay),
            recovered_after_s=recovered_s,
        )
        player.finish(GOODBYE_S)
        session.service.check()
    return report


def chosen(
    microphones: list[SimulatedMicrophone], count: int
) -> tuple[list[SimulatedMicrophone], list[SimulatedMicrophone]]:
    """Return those that stay and those that go: live ones stay before those that are not."""
    ordered = sorted(microphones, key=lambda microphone: microphone.state != "live")
    return ordered[:count], ordered[count:]


def recovered_after_s(tally: Tally, since_s: float, until_s: float, budget_s: float) -> float | None:
    """Return the whole seconds from ``since_s`` until the 99th percentile of ``CALM_S`` is within the budget, or None.

    Args:
        tally: scores by when they were due; what was lost is noted as such.
        since_s: time at which the load fell.
        until_s: time after which nothing is looked at.
        budget_s: longest 99th percentile of the latency, seconds.
    """
    for second in range(max(0, math.floor(until_s - since_s - CALM_S) + 1)):
        from_s = since_s + second
        latencies = tally.between(from_s, from_s + CALM_S)
        if latencies.p99_s is not None and latencies.p99_s <= budget_s:
            return float(second)
    return None


def _recovery(bench: Bench, session: Session, stay: list[SimulatedMicrophone], since_s: float) -> float | None:
    """Play on until it is well again, or until that is hopeless."""
    found: float | None = None
    while found is None and time.monotonic() - since_s < LONGEST_RECOVERY_S:
        session.player.play(1.0)
        known_until_s = min([time.monotonic(), *(microphone.ledger.next_due_s for microphone in stay)])
        found = recovered_after_s(session.tally, since_s, known_until_s, bench.budget_s)
    return found
