from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.errors import CalibrationError, MachineNotFound, OperationRefused, RepositoryError
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.synthetic import SyntheticMachine
from humwatch_service.errors import CalibrationNotFound, CalibrationRunning, StateUnusable
from humwatch_service.models.recalibration import RecalibrationRequest, recalibrate
from humwatch_service.models.registry import load_model
from tests.service.calibration.works import RATE_HZ, Setup, run


@pytest.fixture(scope="module")
def minutes() -> list[np.ndarray]:
    """Three minutes as a 16-bit source has them."""
    return [np.round(SyntheticMachine(5).clip(n, 60.0) * 32_768).astype(np.float32) / 32_768 for n in range(3)]


@pytest.fixture
def setup(models: Path, tmp_path: Path) -> Setup:
    return Setup(models, tmp_path / "state")


def started(setup: Setup, machine_id: str, sound: list[np.ndarray], **given: Any) -> None:
    run(setup.calibrations.start(machine_id, **{"minutes": 3, "who": "ada", **given}))
    for minute in sound:
        setup.play(machine_id, minute)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mse", "residual_profile"])
def test_live_minutes_make_the_bundle_that_their_files_make(
    setup: Setup, minutes: list[np.ndarray], tmp_path: Path, score: Any
) -> None:
    started(setup, "fan-9", minutes, from_machine="fan-1", score=score, why="a new microphone")
    report = run(setup.calibrations.finish("fan-9", who="bob", why="done"))
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, minute in zip(paths, minutes, strict=True):
        soundfile.write(path, (minute * 32_768).astype(np.int16), RATE_HZ, subtype="PCM_16")
    model = setup.registry.get("fan-1")
    filed, _ = recalibrate(model.bundle, model.predictor, paths, RecalibrationRequest("fan-9", "1", score=score))
    live = load_model(setup.registry.repository, "fan-9").manifest
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
    assert setup.registry.get("fan-9").manifest.version == "1"
    assert setup.collectors == {}
    assert [(machine_id, kind) for machine_id, kind, _ in setup.notes] == [
        ("fan-9", "calibration_started"),
        ("fan-9", "calibrated"),
    ]
    assert setup.notes[0][2]["why"] == "a new microphone"
    assert {"who": "bob", "why": "done", "version": "1", "made": "1", "at_s": 12.0}.items() <= setup.notes[1][2].items()


def test_a_machine_takes_its_own_model_and_gets_the_next_version(setup: Setup, minutes: list[np.ndarray]) -> None:
    started(setup, "pump-2", minutes)
    report = run(setup.calibrations.finish("pump-2", who="bob"))
    assert (report.version, report.from_machine, report.from_version) == ("2", "pump-2", "1")
    assert report.prior_recordings == 0
    assert report.score == "consensus"
    assert setup.registry.get("pump-2").manifest.version == "2"
    assert setup.registry.repository.active_version("pump-2") == "2"
    assert run(setup.versions.rollback("pump-2", who="bob", why="")).in_use == "1"


def test_a_version_can_wait_to_be_used(setup: Setup, minutes: list[np.ndarray]) -> None:
    started(setup, "pump-2", minutes)
    report = run(setup.calibrations.finish("pump-2", who="bob", activate=False))
    assert (report.version, report.activated) == ("2", False)
    assert setup.registry.get("pump-2").manifest.version == "1"
    assert [card.version for card in run(setup.versions.list_of("pump-2")).versions] == ["1", "2"]


def test_progress_says_what_could_be_promised(setup: Setup, minutes: list[np.ndarray]) -> None:
    spec = CalibrationSpec(warn_rate=0.3, alarm_rate=0.25)
    begun = run(setup.calibrations.start("fan-1", minutes=5, spec=spec, who="ada", why="spring"))
    assert (begun.minutes, begun.promised_rate, begun.can_finish, begun.done) == (0, None, False, False)
    assert (begun.minutes_needed, begun.wanted_s, begun.started_s) == (3, 300.0, 11.0)
    for minute in minutes:
        setup.play("fan-1", minute)
    setup.play("fan-1", np.zeros(4 * RATE_HZ, np.float32))
    progress = setup.calibrations.progress("fan-1")
    assert [fault.code for fault in progress.faults] == ["silent", "stuck"]
    assert progress.minutes == 2
    assert progress.rejected_s > 4
    setup.play("fan-1", minutes[0])
    progress = setup.calibrations.progress("fan-1")
    assert (progress.minutes, progress.promised_rate, progress.can_finish) == (3, 0.25, True)
    assert progress.promised_false_alarms_a_day == 0.25 * 86_400 / 4
    report = run(setup.calibrations.finish("fan-1", who="ada"))
    assert report.expected_false_alarms_a_day.promised
    assert report.rejected_s == progress.rejected_s


@pytest.mark.parametrize("planned", [3, 60])
def test_the_score_is_the_same_for_any_number_of_minutes(setup: Setup, minutes: list[np.ndarray], planned: int) -> None:
    started(setup, "fan-1", minutes, minutes=planned)
    assert setup.calibrations.progress("fan-1").score == "consensus"
    report = run(setup.calibrations.finish("fan-1", who="ada"))
    assert report.score == "consensus"


def test_too_few_minutes_leave_the_calibration_as_it_was(setup: Setup, minutes: list[np.ndarray]) -> None:
    started(setup, "fan-1", minutes[:2])
    with pytest.raises(CalibrationError, match="2 whole minute"):
        run(setup.calibrations.finish("fan-1", who="ada"))
    setup.play("fan-1", minutes[2])
    assert run(setup.calibrations.finish("fan-1", who="ada")).version == "2"


def test_when_nothing_can_be_audited_nothing_changes(setup: Setup, minutes: list[np.ndarray], models: Path) -> None:
    setup.disk_full = True
    with pytest.raises(StateUnusable):
        run(setup.calibrations.start("fan-9", from_machine="fan-1", minutes=3, who="ada"))
    assert setup.collectors == {}
    with pytest.raises(CalibrationNotFound):
        setup.calibrations.progress("fan-9")
    setup.disk_full = False
    started(setup, "fan-9", minutes, from_machine="fan-1")
    setup.disk_full = True
    with pytest.raises(StateUnusable):
        run(setup.calibrations.finish("fan-9", who="ada"))
    assert setup.registry.repository.machine_ids() == ["fan-1", "pump-2"]
    with pytest.raises(StateUnusable):
        run(setup.calibrations.cancel("fan-9", who="ada"))
    setup.disk_full = False
    assert run(setup.calibrations.finish("fan-9", who="ada")).version == "1"


def test_a_disk_that_takes_no_bundle_is_named(
    setup: Setup, minutes: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    started(setup, "pump-2", minutes)
    with monkeypatch.context() as patch:
        patch.setattr("humwatch_service.models.versions.write_bundle", full)
        with pytest.raises(RepositoryError, match="No space left"):
            run(setup.calibrations.finish("pump-2", who="ada"))
    assert setup.registry.get("pump-2").manifest.version == "1"
    assert run(setup.calibrations.finish("pump-2", who="ada")).version == "2"


def test_one_calibration_a_machine(setup: Setup) -> None:
    run(setup.calibrations.start("fan-1", who="ada"))
    with pytest.raises(CalibrationRunning):
        run(setup.calibrations.start("fan-1", who="bob"))
    run(setup.calibrations.start("pump-2", who="ada", minutes=3))
    cancelled = run(setup.calibrations.cancel("fan-1", who="bob", why="wrong hour"))
    assert (cancelled.wanted_minutes, cancelled.who) == (100, "ada")
    assert list(setup.collectors) == ["pump-2"]
    for missing in ("fan-1", "nobody"):
        with pytest.raises(CalibrationNotFound):
            run(setup.calibrations.cancel(missing, who="bob"))
        with pytest.raises(CalibrationNotFound):
            run(setup.calibrations.finish(missing, who="bob"))
    assert setup.notes[-1][:2] == ("fan-1", "calibration_cancelled")


def test_it_is_finished_once(setup: Setup, minutes: list[np.ndarray]) -> None:
    started(setup, "fan-1", minutes)

    async def twice() -> list[Any]:
        finish = setup.calibrations.finish
        return await asyncio.gather(finish("fan-1", who="ada"), finish("fan-1", who="bob"), return_exceptions=True)

    first, second = run(twice())
    assert first.version == "2"
    assert isinstance(second, CalibrationRunning)
    assert setup.registry.repository.versions("fan-1") == ["1", "2"]


def test_what_cannot_be_started_is_named(setup: Setup) -> None:
    with pytest.raises(MachineNotFound, match="from_machine"):
        run(setup.calibrations.start("fan-9", who="ada"))
    with pytest.raises(MachineNotFound, match="fan-8"):
        run(setup.calibrations.start("fan-9", from_machine="fan-8", who="ada"))
    with pytest.raises(CalibrationError, match="3 to 240"):
        run(setup.calibrations.start("fan-1", minutes=2, who="ada"))
    with pytest.raises(OperationRefused, match="MiB"):
        run(setup.calibrations.start("fan-1", minutes=240, who="ada"))
    assert setup.notes == []
    assert setup.collectors == {}
