"""`humwatch capacity` with the real service."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch_capacity.bench import Bench
from humwatch_capacity.fleet import Fleet
from humwatch_capacity.overload import measure_overload
from humwatch_capacity.played_sound import PlayedSound, normal_sound
from humwatch_capacity.report import CapacityReport, SoakReading
from humwatch_capacity.service_under_test import serving
from humwatch_capacity.soak import soak
from humwatch_service.cli.capacity import _workplace
from humwatch_service.cli.main import app
from humwatch_service.errors import FileUnreadable, RequestInvalid, ServiceUnreachable
from tests.processes import IGNORING_SIGINT, started

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the command needs Linux")

PATIENT_S = 50.0
"""A budget that no machine misses, however busy it is."""


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_models: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HUMWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(shared_models))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def sound(tmp_path: Path, workshop: Any) -> Path:
    path = tmp_path / "normal.wav"
    soundfile.write(path, workshop.normal(400, 20.0), 16_000, subtype="PCM_16")
    return path


@pytest.fixture
def bench(tmp_path: Path, shared_models: Path, sound: Path) -> Bench:
    folder = tmp_path / "bench"
    folder.mkdir()
    return Bench(
        fleet=Fleet(shared_models / "fan-1" / "1", folder),
        sound=normal_sound(sound, 16_000),
        folder=folder,
        log=folder / "service.log",
        settings={"max_streams": "1"},
        seconds=2.0,
        warm_up_s=2.0,
        budget_s=PATIENT_S,
        seed=1,
    )


def left_behind(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "temporary").glob("humwatch*"))


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["capacity", *(str(argument) for argument in arguments)])


@pytest.mark.process
def test_two_streams_are_played_to_the_service_and_their_scores_are_timed(tmp_path: Path, sound: Path) -> None:
    numbers = ("--streams", 2, "--seconds", 3, "--warm-up-s", 2, "--budget-s", PATIENT_S)
    result = humwatch(*numbers, "--machine", "fan-1@1", "--sound", sound, "--score", "--score-requests", 2, "--json")
    assert result.exit_code == 0, result.output
    report = CapacityReport.model_validate_json(result.stdout)
    assert (report.model.machine_id, report.model.version, report.model.hop_frames) == ("fan-1", "1", 1)
    [level] = report.levels
    assert (level.streams, level.admitted, level.sustained, level.failed_by) == (2, 2, True, [])
    assert level.latency.scores >= 4
    assert (level.latency.lost_scores, level.refusals, level.breaks) == (0, [], [])
    assert level.latency.max_s is not None
    assert level.latency.max_s > 0
    assert level.service_p50_s is not None
    assert (level.dropped_windows, level.gap_s, sum(level.machine_states.values())) == (0, 0.0, 2)
    assert level.rss_mb > 10
    assert level.service_cores > 0
    assert (report.sustained_streams, report.hold, report.overload, report.interrupted) == (None, None, None, False)
    assert report.score is not None
    assert (report.score.sequential.requests, report.score.concurrent.requests) == (2, 10)
    assert (report.score.sequential.errors, report.score.concurrent.errors) == ({}, {})
    assert "sustained" in result.stderr
    assert left_behind(tmp_path) == []


@pytest.mark.process
def test_another_version_is_played_to_in_turn_and_asked_something_beside(sound: Path) -> None:
    numbers = ("--streams", 1, "--seconds", 2, "--warm-up-s", 1, "--budget-s", PATIENT_S, "--machine", "fan-1@1")
    root = Path(__file__).parents[3]
    result = humwatch(*numbers, "--sound", sound, "--against", root, "--beside", "page", "--json")
    assert result.exit_code == 0, result.output
    report = CapacityReport.model_validate_json(result.stdout)
    assert [level.beside for level in report.levels] == [None, "page"]
    assert report.against is not None
    assert [(level.version, level.beside) for level in report.against.levels] == [
        (str(root), None),
        (str(root), "page"),
    ]
    [pair] = report.against.compared
    assert (pair.streams, pair.rounds, pair.sustained, pair.against_sustained) == (1, 1, True, True)
    assert report.floor is not None
    assert report.floor.ms_a_stream_second > 0


@pytest.mark.process
def test_streams_are_held_and_read_every_so_often(bench: Bench) -> None:
    readings: list[SoakReading] = []
    soak(bench, 1, 4.0, on_reading=readings.append, every_s=2.0)
    assert len(readings) == 2
    assert 2 <= readings[0].at_s < readings[1].at_s
    assert (readings[1].live_streams, readings[1].breaks, readings[1].gap_s) == (1, 0, 0.0)


@pytest.mark.process
def test_twice_the_streams_are_refused_as_the_service_refuses_them(bench: Bench) -> None:
    over = measure_overload(bench, 1)
    assert (over.streams, over.admitted, over.never_admitted, over.back_to_streams) == (2, 1, 1, 1)
    [refused] = over.refusals
    assert (refused.how, refused.code) == ("http_503", "streams_full")
    assert over.latency.scores >= 1
    assert over.recovered_after_s is not None


@pytest.mark.process
def test_an_interrupt_stops_the_service_and_reports_what_is_known(tmp_path: Path, sound: Path) -> None:
    arguments = ["capacity", "--machine", "fan-1", "--sound", str(sound), "--seconds", "600", "--json"]
    program = [sys.executable, "-c", "from humwatch_service.cli.main import main; main()", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started([*IGNORING_SIGINT, *program], **pipes) as process:
        assert "streams" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        report = CapacityReport.model_validate_json(process.stdout.read())
        assert process.wait(60) == 1
        assert "interrupted" in process.stderr.read()
    assert (report.interrupted, report.levels) == (True, [])
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--streams", 0),
        ("--seconds", 0),
        ("--setting", "max_streams"),
        ("--setting", "max_stream=3"),
        ("--setting", "max_streams=many"),
        ("--setting", "port=80"),
        ("--beside", "nothing"),
        ("fan-1",),
    ],
)
def test_bad_usage_exits_with_2(arguments: tuple[object, ...]) -> None:
    assert humwatch(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--machine", "fan-2"), "machine_not_found"),
        (("--sound", "nothing.wav"), "file_unreadable"),
        (("--models", "nowhere"), "repository_error"),
        (("--against", "no-such-humwatch"), "request_invalid"),
    ],
)
def test_failures_are_named(arguments: tuple[object, ...], code: str, tmp_path: Path) -> None:
    result = humwatch(*arguments, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == code
    assert left_behind(tmp_path) == []


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = humwatch("--models", tmp_path / "empty")
    assert result.exit_code == 1
    assert "there is no model" in result.stderr


@pytest.mark.process
def test_a_service_that_does_not_start_is_named(bench: Bench) -> None:
    models = bench.fleet.models(1)
    with (
        pytest.raises(ServiceUnreachable, match="did not start"),
        serving(models, bench.folder / "state", bench.log, {"log_level": "loud"}, 1),
    ):
        pass
    assert "log_level" in bench.log.read_text()


def test_the_log_is_kept_when_something_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServiceUnreachable), _workplace() as (folder, log):
        log.write_text("what it said")
        raise ServiceUnreachable("gone")
    assert not folder.exists()
    kept = Path(capsys.readouterr().err.split()[-1])
    assert kept.read_text() == "what it said"


def test_a_disk_that_takes_nothing_is_named() -> None:
    with pytest.raises(FileUnreadable, match="No space left"), _workplace():
        raise OSError(28, "No space left on device")


def test_a_fleet_is_one_bundle_under_many_ids(bench: Bench) -> None:
    models = bench.fleet.models(3)
    assert sorted(path.name for path in models.iterdir()) == ["mic-0000", "mic-0001", "mic-0002"]
    graphs = [models / f"mic-000{n}" / "1" / "predictor.onnx" for n in range(3)]
    assert len({graph.stat().st_ino for graph in graphs}) == 1
    assert sorted(path.name for path in bench.fleet.models(1).iterdir()) == ["mic-0000"]


def test_without_a_recording_a_synthetic_machine_is_played(tmp_path: Path, workshop: Any) -> None:
    sound = normal_sound(None, 8_000)
    assert sound.samples == 300 * 8_000
    assert soundfile.info(io.BytesIO(sound.wav(1.5))).duration == 1.5
    with pytest.raises(FileUnreadable):
        normal_sound(tmp_path / "nothing.wav", 16_000)
    with pytest.raises(RequestInvalid, match="at least a second"):
        PlayedSound(workshop.normal(1, 2.0)[:8_000], 16_000)
