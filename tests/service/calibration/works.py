"""A service's commissionings without the rest of it: models, an audit trail that may fail, streams that tests play."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.bundle.repository import ModelRepository
from humwatch.calibration.collector import NormalCollector
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch.false_alarms.scores import NormalScores, ScoreSegment
from humwatch_service.calibration.parts import make_calibrations
from humwatch_service.errors import StateUnusable
from humwatch_service.models.registry import Engine, ModelRegistry, ModelSet
from humwatch_service.models.versions import ModelVersions
from humwatch_service.storage.commissionings import CommissioningFolder

T = TypeVar("T")

RATE_HZ = 16_000


@dataclass
class Watched:
    """What a candidate did, as a test says."""

    version: str
    heard_s: float = 0.0
    alarms_only_new: int = 0
    running: bool = True
    failure: str | None = None


@dataclass
class Candidates:
    """Those who watch candidates, as far as a commissioning knows them."""

    watched: dict[str, Watched] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    scored: list[ScoreSegment] = field(default_factory=list)

    async def start(self, machine_id: str, version: str, *, who: str, why: str) -> object:
        assert machine_id not in self.watched
        self.asked.append(("start", machine_id, version))
        self.watched[machine_id] = Watched(version)
        return None

    async def stop(self, machine_id: str, *, who: str, why: str) -> object:
        self.asked.append(("stop", machine_id, self.watched.pop(machine_id).version))
        return None

    def report(self, machine_id: str) -> Watched | None:
        return self.watched.get(machine_id)

    def scores(self, machine_id: str, version: str) -> NormalScores:
        self.asked.append(("scores", machine_id, version))
        return NormalScores(self.scored)


def limits_from(scores: NormalScores, *, wanted_a_week: float = 1.0) -> Decision:
    """Limits that say what they were fitted to; an hour of scores is the least."""
    if scores.heard_s < 3_600.0:
        raise CalibrationError("too little was scored")
    rate = FalseAlarmRate(
        wanted_a_week=wanted_a_week,
        expected_a_week=wanted_a_week,
        low_a_week=0.1,
        high_a_week=3.0,
        heard_s=scores.heard_s,
        blocks=40,
        promised=True,
        reason=None,
    )
    return Decision(limits=SequentialLimits(charts=(Chart(time_constant_s=5.0, limit=2.0),)), rate=rate)


@dataclass
class Setup:
    """What is around calibrations: models, an audit trail that may fail, and streams that tests play."""

    models: Path
    state: Path
    candidates: Candidates | None = None
    notes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    collectors: dict[str, NormalCollector] = field(default_factory=dict)
    reloads: int = 0
    disk_full: bool = False
    alarmed: bool = False

    now_s: float = 11.0
    expected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start_service()

    def start_service(self) -> None:
        """Start what knows of commissionings, or start it again: nothing but the disk goes on."""
        self.collectors.clear()
        engine = Engine(("CPUExecutionProvider",), threads=1, processors=2)
        self.registry = ModelRegistry(ModelRepository(self.models), engine)
        self.registry.reload()
        self.folder = CommissioningFolder(self.state / "commissioning")
        self.versions = ModelVersions(self.registry, reload=self.reload, note=self.note, clock=lambda: 12.0)
        self.calibrations, self.upkeep = make_calibrations(
            self.registry,
            self.versions,
            self,
            self.folder,
            note=self.note,
            candidates=self.candidates,
            fit_decision=None if self.candidates is None else limits_from,
            clock=lambda: self.now_s,
            max_fit_bytes=3 << 28,
        )

    def collect(self, machine_id: str, collector: NormalCollector | None) -> None:
        if collector is None:
            del self.collectors[machine_id]
            return
        self.collectors[machine_id] = collector
        collector.begin(RATE_HZ, 16)

    def expect(self, machine_ids: Iterable[str]) -> None:
        self.expected = list(machine_ids)

    def alarm_in_force(self, machine_id: str) -> bool:
        return self.alarmed

    async def reload(self) -> ModelSet:
        self.reloads += 1
        return self.registry.reload()

    def note(self, machine_id: str, kind: str, *, at_s: float, who: str, why: str, details: Any) -> None:
        if self.disk_full:
            raise StateUnusable("the disk is full")
        self.notes.append((machine_id, kind, {"at_s": at_s, "who": who, "why": why, **details}))

    def play(self, machine_id: str, sound: np.ndarray, at_s: float | None = None) -> None:
        for start in range(0, len(sound), 4_000):
            at = None if at_s is None else at_s + start / RATE_HZ
            self.collectors[machine_id].push(sound[start : start + 4_000], at)


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())
