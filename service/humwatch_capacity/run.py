"""One run of ``humwatch capacity``: the measurements in order, and the report, also when it ends early."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch_capacity.bench import Bench
from humwatch_capacity.level import measure_level
from humwatch_capacity.overload import measure_overload
from humwatch_capacity.report import (
    CapacityReport,
    LevelReport,
    ModelCard,
    OverloadReport,
    ScoreReport,
    SoakReading,
)
from humwatch_capacity.score_load import measure_scoring
from humwatch_capacity.search import search
from humwatch_capacity.soak import COLUMNS, line, soak, summary
from humwatch_capacity.text import LEVEL_COLUMNS, level_line
from humwatch_service.cpu_allowance import cpu_allowance

Say = Callable[[str], None]

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
    """

    streams: int | None = None
    hold_s: float = 0.0
    overload: bool = False
    score_requests: int = 0


class CapacityRun:
    """Run of measurements, with the results so far."""

    def __init__(self, bench: Bench, plan: MeasurementPlan, say: Say) -> None:
        """Say what goes on to ``say``, a line at a time."""
        self._bench = bench
        self._plan = plan
        self._say = say
        self._levels: list[LevelReport] = []
        self._sustained: int | None = None
        self._held = 0
        self._readings: list[SoakReading] = []
        self._overload: OverloadReport | None = None
        self._score: ScoreReport | None = None

    def run(self) -> None:
        """Measure all that was ordered. Raises :class:`ServiceUnreachable`."""
        self._say(LEVEL_COLUMNS)
        if self._plan.streams is None:
            self._sustained = search(self._level)
            streams = self._sustained
        else:
            streams = self._plan.streams
            self._level(streams)
        if self._plan.hold_s:
            self._hold(streams)
        if self._plan.overload:
            self._exceed(streams)
        if self._plan.score_requests:
            self._say("POST /score")
            self._score = measure_scoring(self._bench, self._plan.score_requests)

    def report(self, *, interrupted: bool) -> CapacityReport:
        """Return the report of what is known by now."""
        manifest = self._bench.fleet.manifest
        bad = [level for level in self._levels if not level.sustained]
        idle = {level.streams: level.rss_idle_mb for level in self._levels}
        return CapacityReport(
            model=ModelCard(
                machine_id=manifest.machine_id,
                version=manifest.version,
                strategy=manifest.predictor.strategy,
                score=manifest.scoring.kind,
                hop_frames=manifest.windows.hop_frames,
                step_s=self._bench.grid.step_samples / manifest.features.rate_hz,
            ),
            processors=cpu_allowance().processors,
            cpu_quota=cpu_allowance().quota,
            budget_s=self._bench.budget_s,
            settings=dict(self._bench.settings),
            thread_limits={name: os.environ[name] for name in THREAD_LIMITS if name in os.environ},
            sustained_streams=self._sustained,
            limited_by=min(bad, key=lambda level: level.streams).failed_by if bad else [],
            levels=self._levels,
            hold=summary(self._held, self._readings, idle.get(self._held)),
            overload=self._overload,
            score=self._score,
            interrupted=interrupted,
        )

    def _level(self, streams: int) -> LevelReport:
        level = measure_level(self._bench, streams)
        self._levels.append(level)
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
