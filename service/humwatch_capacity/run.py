"""One run of ``humwatch capacity``: the measurements in order, and the report, also when it ends early."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from humwatch_capacity.bench import Bench
from humwatch_capacity.beside import Beside
from humwatch_capacity.comparison import compared
from humwatch_capacity.floor import measure_floor
from humwatch_capacity.level import measure_level
from humwatch_capacity.overload import measure_overload
from humwatch_capacity.report import (
    AgainstReport,
    CapacityReport,
    FloorReport,
    LevelReport,
    ModelCard,
    OverloadReport,
    ScoreReport,
    SoakReading,
)
from humwatch_capacity.score_load import measure_scoring
from humwatch_capacity.search import search
from humwatch_capacity.soak import COLUMNS, line, soak, summary
from humwatch_capacity.text import LEVEL_COLUMNS, floor_line, level_line
from humwatch_service.cpu_allowance import cpu_allowance

Say = Callable[[str], None]

FIRST_STREAMS: Final = 16
"""Number that a search begins with."""
THREAD_LIMITS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""They change what a service can do, and come to it from whoever starts it."""


@dataclass(frozen=True)
class MeasurementPlan:
    """Measurements to make.

    Attributes:
        streams: the one level; None: search for the number that is sustained.
        hold_s: time to hold it afterwards, seconds; 0: not at all.
        overload: whether to play twice as many afterwards.
        score_requests: `POST /score` so often; 0: not at all.
        rounds: how often the one level is played to each version.
        beside: what the service is asked besides, each with the same number of streams once more.
    """

    streams: int | None = None
    hold_s: float = 0.0
    overload: bool = False
    score_requests: int = 0
    rounds: int = 1
    beside: tuple[Beside, ...] = ()


class _Measured:
    """One version, and what was measured of it so far."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.levels: list[LevelReport] = []
        self.sustained: int | None = None
        self.score: ScoreReport | None = None

    @property
    def limited_by(self) -> list[str]:
        """Reasons for which the lowest number that was not sustained was not."""
        bad = [level for level in self.levels if not level.sustained and level.beside is None]
        return min(bad, key=lambda level: level.streams).failed_by if bad else []

    @property
    def model(self) -> ModelCard:
        """Model that all its machines have."""
        manifest = self.bench.fleet.manifest
        return ModelCard(
            machine_id=manifest.machine_id,
            version=manifest.version,
            strategy=manifest.predictor.strategy,
            score=manifest.scoring.kind,
            hop_frames=manifest.windows.hop_frames,
            step_s=self.bench.grid.step_samples / manifest.features.rate_hz,
        )


class CapacityRun:
    """Run of measurements, with the results so far."""

    def __init__(self, bench: Bench, plan: MeasurementPlan, say: Say, against: Bench | None = None) -> None:
        """Say what goes on to ``say``, a line at a time; measure ``against`` in turn, where there is one."""
        self._bench = bench
        self._plan = plan
        self._say = say
        self._this = _Measured(bench)
        self._against = None if against is None else _Measured(against)
        self._held = 0
        self._readings: list[SoakReading] = []
        self._floor: FloorReport | None = None
        self._overload: OverloadReport | None = None

    @property
    def _versions(self) -> list[_Measured]:
        return [self._this] if self._against is None else [self._this, self._against]

    def run(self) -> None:
        """Measure all that was ordered. Raises :class:`ServiceUnreachable`."""
        self._say(LEVEL_COLUMNS)
        self._floor = measure_floor(self._bench.fleet.bundle, self._bench.sound)
        self._say(floor_line(self._floor))
        streams = self._plan.streams or self._search()
        for _ in range(self._plan.rounds if self._plan.streams else 0):
            for measured in self._versions:
                self._level(measured, streams)
        for measured in self._versions if streams else []:
            for beside in self._plan.beside:
                self._level(measured, streams, beside)
        if self._plan.hold_s:
            self._hold(streams)
        if self._plan.overload:
            self._exceed(streams)
        for measured in self._versions if self._plan.score_requests else []:
            self._say(f"POST /score ({measured.bench.version.name})")
            measured.score = measure_scoring(measured.bench, self._plan.score_requests)

    def report(self, *, interrupted: bool) -> CapacityReport:
        """Return the report of what is known by now."""
        this = self._this
        idle = {level.streams: level.rss_idle_mb for level in this.levels}
        return CapacityReport(
            model=this.model,
            processors=cpu_allowance().processors,
            cpu_quota=cpu_allowance().quota,
            budget_s=self._bench.budget_s,
            message_s=self._bench.message_s,
            settings=dict(self._bench.settings),
            thread_limits={name: os.environ[name] for name in THREAD_LIMITS if name in os.environ},
            sustained_streams=this.sustained,
            limited_by=this.limited_by,
            floor=self._floor,
            levels=this.levels,
            hold=summary(self._held, self._readings, idle.get(self._held)),
            overload=self._overload,
            score=this.score,
            against=self._beside(),
            interrupted=interrupted,
        )

    def _beside(self) -> AgainstReport | None:
        other = self._against
        if other is None:
            return None
        return AgainstReport(
            version=other.bench.version.name,
            model=other.model,
            sustained_streams=other.sustained,
            limited_by=other.limited_by,
            levels=other.levels,
            compared=compared(self._this.levels, other.levels),
            score=other.score,
        )

    def _search(self) -> int:
        found = search([partial(self._level, measured) for measured in self._versions], first=FIRST_STREAMS)
        for measured, sustained in zip(self._versions, found, strict=True):
            measured.sustained = sustained
        return found[0]

    def _level(self, measured: _Measured, streams: int, beside: Beside | None = None) -> LevelReport:
        level = measure_level(measured.bench, streams, beside)
        measured.levels.append(level)
        self._say(level_line(level))
        return level

    def _hold(self, streams: int) -> None:
        if not streams:
            self._say("nothing to hold: not even one stream is sustained")
            return
        self._held = streams
        self._say(f"{streams} streams are held for {self._plan.hold_s / 60:g} minutes\n{COLUMNS}")
        soak(self._bench, streams, self._plan.hold_s, on_reading=self._read)

    def _read(self, reading: SoakReading) -> None:
        self._readings.append(reading)
        self._say(line(reading))

    def _exceed(self, streams: int) -> None:
        if not streams:
            self._say("nothing to exceed: not even one stream is sustained")
            return
        self._say(f"{2 * streams} streams come, and {streams} go again")
        self._overload = measure_overload(self._bench, streams)
