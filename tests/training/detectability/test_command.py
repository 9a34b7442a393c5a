from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from humwatch.bundle.manifest import MANIFEST
from humwatch.bundle.repository import ModelRepository
from humwatch_training.cli.detectability import parse_levels
from humwatch_training.cli.main import app
from tests.training.detectability.conftest import BY_NAME


def detectability(*words: object) -> Result:
    return CliRunner().invoke(app, ["detectability", *map(str, words)])


def test_the_command_compares_systems_and_resumes(models: Path, normal: Path, tmp_path: Path):
    words = ("--normal", normal, "--models", models, "--machine", "pump-levels", "--machine", "pump-error@1")
    words = (*words, "--machine", "pump-error", "--clips", 2, "--faults", "rub,level_drift", "--levels", "-20:10:15")
    words = (*words, "--out", tmp_path / "out")
    result = detectability(*words, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [system["machine_id"] for system in report["systems"]] == ["pump-levels", "pump-error"]
    assert report["faults"][0]["severities"] == [-20.0, -5.0, 10.0]
    assert report["faults"][1]["severities"] == list(BY_NAME["level_drift"].severities)
    assert report["systems"][0]["faults"]["rub"]["alarm"]["half"]["status"] != "not_reached"
    assert report == json.loads((tmp_path / "out" / "detectability.json").read_text())
    scored = (tmp_path / "out" / "scores.jsonl").read_text()
    again = detectability(*words, "--at", "matched")
    assert again.exit_code == 0, again.output
    assert again.stdout.startswith("Detected at a level just above the highest untouched clip; 2 clips of 2 recordings")
    assert (tmp_path / "out" / "scores.jsonl").read_text() == scored


def test_the_report_goes_beside_the_versions_and_harms_no_bundle(models: Path, normal: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    words = ("--models", models, "--machine", "pump-levels", "--clips", 1, "--faults", "rub", "--levels", "0:10:10")
    result = detectability("--normal", normal, *words, "--out", tmp_path / "out", "--with-bundle")
    assert result.exit_code == 0, result.output
    beside = models / "pump-levels" / "detectability" / "1"
    assert sorted(path.suffix for path in beside.iterdir()) == [".json", ".md", ".png"]
    assert all(path.read_bytes() == data for path, data in before.items())
    assert ModelRepository(models).machine_ids() == ["pump-error", "pump-levels"]
    assert ModelRepository(models).versions("pump-levels") == ["1"]
    assert (models / "pump-levels" / "1" / MANIFEST).is_file()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--machine", "nobody"), "machine_not_found"),
        (("--machine", "pump-levels@7"), "version_not_found"),
        (("--machine", "pump-levels", "--channel", 3), "audio_channel_missing"),
        (("--machine", "pump-levels", "--split", "gone.json"), "os_error"),
    ],
)
def test_failures_are_named(models: Path, normal: Path, tmp_path: Path, words: tuple[object, ...], code: str):
    result = detectability("--normal", normal, "--models", models, "--out", tmp_path, *words, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == code


def test_anomalous_recordings_are_refused(models: Path, normal: Path, tmp_path: Path):
    (tmp_path / "abnormal").mkdir()
    (tmp_path / "abnormal" / "0.wav").write_bytes((normal / "100.wav").read_bytes())
    result = detectability("--normal", tmp_path / "abnormal", "--models", models, "--machine", "pump-levels")
    assert result.exit_code == 1
    assert "error: training_data: " in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--faults", "rust"),
        ("--levels", "0:10"),
        ("--levels", "10:0:5"),
        ("--levels", "0:10:0"),
        ("--levels", "0:nan:1"),
        ("--levels", "0:1000:1"),
        ("--at", "night"),
        ("--clips", 0),
    ],
)
def test_bad_usage_has_exit_code_2(models: Path, normal: Path, words: tuple[object, ...]):
    result = detectability("--normal", normal, "--models", models, "--machine", "pump-levels", *words)
    assert result.exit_code == 2


def test_levels_are_a_grid():
    assert parse_levels("-30:10:5") == tuple(float(level) for level in range(-30, 11, 5))
    assert parse_levels("-1:0.2:0.5") == (-1.0, -0.5, 0.0)
