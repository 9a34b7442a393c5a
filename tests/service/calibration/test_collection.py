from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.calibration.collector import NormalCollector
from humwatch.errors import CalibrationError, MachineNotFound, OperationRefused, RepositoryError
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.synthetic import SyntheticMachine
from humwatch_service.calibration.collection import LiveCalibrations
from humwatch_service.errors import CalibrationNotFound, CalibrationRunning, StateUnusable
from humwatch_service.models.recalibration import Commission, recalibrate
from humwatch_service.models.registry import Engine, Fleet, Machines, load_machine
from humwatch_service.models.versions import ModelVersions

T = TypeVar("T")

RATE_HZ = 16_000


@dataclass
class Desk:
    """What is around calibrations: models, an audit trail that may fail, and streams that tests play."""

    machines: Machines
    notes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    collectors: dict[str, NormalCollector] = field(default_factory=dict)
    reloads: int = 0
    disk_full: bool = False

    def __post_init__(self) -> None:
        self.versions = ModelVersions(self.machines, reload=self.reload, note=self.note, clock=lambda: 12.0)
        self.calibrations = LiveCalibrations(
            self.machines, self.versions, self, note=self.note, clock=lambda: 11.0, max_held_bytes=3 << 28
        )

    def collect(self, machine_id: str, collector: NormalCollector | None) -> None:
        if collector is None:
            del self.collectors[machine_id]
            return
        self.collectors[machine_id] = collector
        collector.begin(RATE_HZ, 16)

    async def reload(self) -> Fleet:
        self.reloads += 1
        return self.machines.reload()

    def note(self, machine_id: str, kind: str, *, at_s: float, who: str, why: str, details: Any) -> None:
        if self.disk_full:
            raise StateUnusable("the disk is full")
        self.notes.append((machine_id, kind, {"at_s": at_s, "who": who, "why": why, **details}))

    def play(self, machine_id: str, sound: np.ndarray) -> None:
        for start in range(0, len(sound), 4_000):
            self.collectors[machine_id].push(sound[start : start + 4_000])


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


@pytest.fixture(scope="module")
def minutes() -> list[np.ndarray]:
    """Three minutes as a 16-bit source has them."""
    return [np.round(SyntheticMachine(5).clip(n, 60.0) * 32_768).astype(np.float32) / 32_768 for n in range(3)]


@pytest.fixture
def desk(models: Path) -> Desk:
    machines = Machines(ModelRepository(models), Engine(("CPUExecutionProvider",), threads=1, processors=2))
    machines.reload()
    return Desk(machines)


def started(desk: Desk, machine_id: str, sound: list[np.ndarray], **given: Any) -> None:
    run(desk.calibrations.start(machine_id, **{"minutes": 3, "who": "ada", **given}))
    for minute in sound:
        desk.play(machine_id, minute)


@pytest.mark.parametrize("score", ["mse", "residual_profile"])
def test_live_minutes_make_the_bundle_that_their_files_make(
    desk: Desk, minutes: list[np.ndarray], tmp_path: Path, score: Any
) -> None:
    started(desk, "fan-9", minutes, from_machine="fan-1", score=score, why="a new microphone")
    report = run(desk.calibrations.finish("fan-9", who="bob", why="done"))
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, minute in zip(paths, minutes, strict=True):
        soundfile.write(path, (minute * 32_768).astype(np.int16), RATE_HZ, subtype="PCM_16")
    model = desk.machines.get("fan-1")
    filed, _ = recalibrate(model.bundle, model.predictor, paths, Commission("fan-9", "1", score=score))
    live = load_machine(desk.machines.repository, "fan-9").manifest
    assert (live.clip, live.step) == (filed.clip, filed.step)
    differing = {"digest", "level_dbfs_low", "level_dbfs_high"}
    assert live.calibration.model_dump(exclude=differing) == filed.calibration.model_dump(exclude=differing)
    assert live.calibration.level_dbfs_low == pytest.approx(filed.calibration.level_dbfs_low, abs=1e-9)
    assert live.calibration.prior_recordings == (12 if score == "residual_profile" else 0)
    assert live.scoring.kind == report.score == score
    assert (report.version, report.activated) == ("1", True)
    assert report.raw_thresholds.alarm == live.clip.alarm.level
    assert (report.calibration.recordings, report.calibration.clips) == (3, 45)
    assert (report.expected_false_alarms_a_day.promised, report.minutes_needed) == (False, 99)
    assert "3 independent normal recordings are too few" in report.warnings[0]
    assert desk.machines.get("fan-9").manifest.version == "1"
    assert desk.collectors == {}
    assert [(machine_id, kind) for machine_id, kind, _ in desk.notes] == [
        ("fan-9", "calibration_started"),
        ("fan-9", "calibrated"),
    ]
    assert desk.notes[0][2]["why"] == "a new microphone"
    assert {"who": "bob", "why": "done", "version": "1", "made": "1", "at_s": 12.0}.items() <= desk.notes[1][2].items()


def test_a_machine_takes_its_own_model_and_gets_the_next_version(desk: Desk, minutes: list[np.ndarray]) -> None:
    started(desk, "pump-2", minutes)
    report = run(desk.calibrations.finish("pump-2", who="bob"))
    assert (report.version, report.from_machine, report.from_version) == ("2", "pump-2", "1")
    assert report.prior_recordings == 0
    assert report.score == "consensus"
    assert desk.machines.get("pump-2").manifest.version == "2"
    assert desk.machines.repository.active_version("pump-2") == "2"
    assert run(desk.versions.rollback("pump-2", who="bob", why="")).in_use == "1"


def test_a_version_can_wait_to_be_used(desk: Desk, minutes: list[np.ndarray]) -> None:
    started(desk, "pump-2", minutes)
    report = run(desk.calibrations.finish("pump-2", who="bob", activate=False))
    assert (report.version, report.activated) == ("2", False)
    assert desk.machines.get("pump-2").manifest.version == "1"
    assert [card.version for card in run(desk.versions.listed("pump-2")).versions] == ["1", "2"]


def test_progress_says_what_could_be_promised(desk: Desk, minutes: list[np.ndarray]) -> None:
    spec = CalibrationSpec(warn_rate=0.3, alarm_rate=0.25)
    begun = run(desk.calibrations.start("fan-1", minutes=5, spec=spec, who="ada", why="spring"))
    assert (begun.minutes, begun.promised_rate, begun.can_finish, begun.done) == (0, None, False, False)
    assert (begun.minutes_needed, begun.wanted_s, begun.started_s) == (3, 300.0, 11.0)
    for minute in minutes:
        desk.play("fan-1", minute)
    desk.play("fan-1", np.zeros(4 * RATE_HZ, np.float32))
    progress = desk.calibrations.progress("fan-1")
    assert [fault.code for fault in progress.faults] == ["silent", "stuck"]
    assert progress.minutes == 2
    assert progress.rejected_s > 4
    desk.play("fan-1", minutes[0])
    progress = desk.calibrations.progress("fan-1")
    assert (progress.minutes, progress.promised_rate, progress.can_finish) == (3, 0.25, True)
    assert progress.promised_false_alarms_a_day == 0.25 * 86_400 / 4
    report = run(desk.calibrations.finish("fan-1", who="ada"))
    assert report.expected_false_alarms_a_day.promised
    assert report.rejected_s == progress.rejected_s


@pytest.mark.parametrize("planned", [3, 60])
def test_the_score_is_the_same_for_any_number_of_minutes(desk: Desk, minutes: list[np.ndarray], planned: int) -> None:
    started(desk, "fan-1", minutes, minutes=planned)
    assert desk.calibrations.progress("fan-1").score == "consensus"
    report = run(desk.calibrations.finish("fan-1", who="ada"))
    assert report.score == "consensus"


def test_too_few_minutes_leave_the_calibration_as_it_was(desk: Desk, minutes: list[np.ndarray]) -> None:
    started(desk, "fan-1", minutes[:2])
    with pytest.raises(CalibrationError, match="2 whole minute"):
        run(desk.calibrations.finish("fan-1", who="ada"))
    desk.play("fan-1", minutes[2])
    assert run(desk.calibrations.finish("fan-1", who="ada")).version == "2"


def test_when_nothing_can_be_audited_nothing_changes(desk: Desk, minutes: list[np.ndarray], models: Path) -> None:
    desk.disk_full = True
    with pytest.raises(StateUnusable):
        run(desk.calibrations.start("fan-9", from_machine="fan-1", minutes=3, who="ada"))
    assert desk.collectors == {}
    with pytest.raises(CalibrationNotFound):
        desk.calibrations.progress("fan-9")
    desk.disk_full = False
    started(desk, "fan-9", minutes, from_machine="fan-1")
    desk.disk_full = True
    with pytest.raises(StateUnusable):
        run(desk.calibrations.finish("fan-9", who="ada"))
    assert desk.machines.repository.machine_ids() == ["fan-1", "pump-2"]
    with pytest.raises(StateUnusable):
        run(desk.calibrations.cancel("fan-9", who="ada"))
    desk.disk_full = False
    assert run(desk.calibrations.finish("fan-9", who="ada")).version == "1"


def test_a_disk_that_takes_no_bundle_is_named(
    desk: Desk, minutes: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    started(desk, "pump-2", minutes)
    with monkeypatch.context() as patch:
        patch.setattr("humwatch_service.models.versions.write_bundle", full)
        with pytest.raises(RepositoryError, match="No space left"):
            run(desk.calibrations.finish("pump-2", who="ada"))
    assert desk.machines.get("pump-2").manifest.version == "1"
    assert run(desk.calibrations.finish("pump-2", who="ada")).version == "2"


def test_one_calibration_a_machine(desk: Desk) -> None:
    run(desk.calibrations.start("fan-1", who="ada"))
    with pytest.raises(CalibrationRunning):
        run(desk.calibrations.start("fan-1", who="bob"))
    run(desk.calibrations.start("pump-2", who="ada", minutes=3))
    cancelled = run(desk.calibrations.cancel("fan-1", who="bob", why="wrong hour"))
    assert (cancelled.wanted_minutes, cancelled.who) == (100, "ada")
    assert list(desk.collectors) == ["pump-2"]
    for missing in ("fan-1", "nobody"):
        with pytest.raises(CalibrationNotFound):
            run(desk.calibrations.cancel(missing, who="bob"))
        with pytest.raises(CalibrationNotFound):
            run(desk.calibrations.finish(missing, who="bob"))
    assert desk.notes[-1][:2] == ("fan-1", "calibration_cancelled")


def test_it_is_finished_once(desk: Desk, minutes: list[np.ndarray]) -> None:
    started(desk, "fan-1", minutes)

    async def twice() -> list[Any]:
        finish = desk.calibrations.finish
        return await asyncio.gather(finish("fan-1", who="ada"), finish("fan-1", who="bob"), return_exceptions=True)

    first, second = run(twice())
    assert first.version == "2"
    assert isinstance(second, CalibrationRunning)
    assert desk.machines.repository.versions("fan-1") == ["1", "2"]


def test_what_cannot_be_started_is_named(desk: Desk) -> None:
    with pytest.raises(MachineNotFound, match="from_machine"):
        run(desk.calibrations.start("fan-9", who="ada"))
    with pytest.raises(MachineNotFound, match="fan-8"):
        run(desk.calibrations.start("fan-9", from_machine="fan-8", who="ada"))
    with pytest.raises(CalibrationError, match="3 to 240"):
        run(desk.calibrations.start("fan-1", minutes=2, who="ada"))
    with pytest.raises(OperationRefused, match="MiB"):
        run(desk.calibrations.start("fan-1", minutes=240, who="ada"))
    assert desk.notes == []
    assert desk.collectors == {}
