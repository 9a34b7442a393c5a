"""Set-up of every measurement: a service with so many machines, and a player with as many microphones."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from humwatch_capacity.fleet import Fleet, machine_ids
from humwatch_capacity.microphone import EndedConnection, SimulatedMicrophone
from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.player import MESSAGE_S, Player, microphones
from humwatch_capacity.process_stats import Usage, busy_s
from humwatch_capacity.report import EndedReport, LatencyReport
from humwatch_capacity.score_ledger import Latencies, StepGrid, Tally, percentile
from humwatch_capacity.service_under_test import ServiceUnderTest, serving
from humwatch_capacity.version import THIS, ServiceVersion

LEAST_GRACE_S: Final = 3.0


@dataclass(frozen=True)
class Session:
    """A service that is played to.

    Attributes:
        service: service that was started for it.
        player: player with a microphone for each machine.
        tally: tally of their scores.
        idle: use of the service before they came.
    """

    service: ServiceUnderTest
    player: Player
    tally: Tally
    idle: Usage


@dataclass(frozen=True)
class Bench:
    """Conditions under which services are measured.

    Attributes:
        fleet: machines of the service.
        sound: sound to play.
        folder: folder for models, state and log.
        log: log of all services, one after the other.
        settings: settings of the service, by name.
        seconds: length of a measurement, seconds.
        warm_up_s: length of what is played before it, seconds.
        budget_s: longest 99th percentile of the latency.
        seed: seed of all that is random.
        message_s: sound of a message, seconds.
        version: version of the service.
    """

    fleet: Fleet
    sound: PlayedSound
    folder: Path
    log: Path
    settings: Mapping[str, str]
    seconds: float
    warm_up_s: float
    budget_s: float
    seed: int
    message_s: float = MESSAGE_S
    version: ServiceVersion = THIS

    @property
    def grid(self) -> StepGrid:
        """Steps at which scores are due."""
        return StepGrid.of(self.fleet.manifest)

    @property
    def grace_s(self) -> float:
        """Longest wait for the last scores of a measurement; the streams go on meanwhile."""
        return max(LEAST_GRACE_S, 2 * self.budget_s)

    @contextmanager
    def service(self, machines: int) -> Iterator[ServiceUnderTest]:
        """Start a fresh service with so many machines. Raises :class:`ServiceUnreachable`."""
        models, state = self.fleet.models(machines), self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        with serving(models, state, self.log, self.settings, machines, self.version) as service:
            yield service

    @contextmanager
    def session(self, streams: int) -> Iterator[Session]:
        """Start a fresh service with so many machines, and a player that is about to play to all of them."""
        with self.service(streams) as service:
            idle, tally, player = Usage.of(service.pid), Tally(), Player()
            ids = machine_ids(streams)
            grid, sound = self.grid, self.sound
            player.add(microphones(service.port, ids, sound, grid, tally, seed=self.seed, message_s=self.message_s))
            try:
                yield Session(service, player, tally, idle)
            finally:
                player.close()


@dataclass(frozen=True)
class Effort:
    """Resources that playing for a while took.

    Attributes:
        from_s: start by the monotonic clock, seconds.
        to_s: end by the monotonic clock, seconds.
        rss_mb: memory of the service at the end.
        service_cores: processors that the service kept busy.
        player_cores: processors that this process kept busy.
        other_cores: processors that everything else on this host kept busy.
        player_lag_s: 99th percentile of how late the player was.
    """

    from_s: float
    to_s: float
    rss_mb: float
    service_cores: float
    player_cores: float
    other_cores: float
    player_lag_s: float


def played(session: Session, play: Callable[[], None]) -> Effort:
    """Measure what playing takes."""
    session.player.lags_s.clear()
    before, own_s, all_s = Usage.of(session.service.pid), time.process_time(), busy_s()
    play()
    after = Usage.of(session.service.pid)
    took_s = after.at_s - before.at_s
    service_cores, player_cores = after.cores_since(before), (time.process_time() - own_s) / took_s
    return Effort(
        from_s=before.at_s,
        to_s=after.at_s,
        rss_mb=after.rss_mb,
        service_cores=service_cores,
        player_cores=player_cores,
        other_cores=max(0.0, (busy_s() - all_s) / took_s - service_cores - player_cores),
        player_lag_s=percentile(sorted(session.player.lags_s), 0.99) or 0.0,
    )


def refusals_of(some: Iterable[SimulatedMicrophone]) -> list[EndedReport]:
    """Return the connections that ended before ``ready``, the most frequent way first."""
    return _ended(microphone.refusals for microphone in some)


def breaks_of(some: Iterable[SimulatedMicrophone]) -> list[EndedReport]:
    """Return the connections that ended after ``ready``, the most frequent way first."""
    return _ended(microphone.breaks for microphone in some)


def _ended(counters: Iterable[Counter[EndedConnection]]) -> list[EndedReport]:
    together: Counter[EndedConnection] = sum(counters, Counter())
    return [EndedReport(how=ended.how, code=ended.code, times=times) for ended, times in together.most_common()]


def reported(latencies: Latencies) -> LatencyReport:
    """Return latencies as they are reported."""
    return LatencyReport(
        scores=latencies.scores,
        lost_scores=latencies.lost,
        p50_s=latencies.p50_s,
        p99_s=latencies.p99_s,
        max_s=latencies.max_s,
    )
