from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from humwatch.bundle.repository import ModelRepository
from humwatch.synthetic import SyntheticMachine
from humwatch_service.cli.main import app
from humwatch_service.config.settings import Settings

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HUMWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(models))


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def sounds(tmp_path: Path, workshop: Any) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.wav" for name in ("good", "bad", "text")}
    soundfile.write(paths["good"], workshop.normal(), 16_000)
    soundfile.write(paths["bad"], workshop.faulty(), 16_000)
    paths["text"].write_text("not sound")
    return paths


def all_commands(group: Any = None, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    group = group or typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():
        found += all_commands(command, (*path, name)) if hasattr(command, "commands") else [((*path, name), command)]
    return found


def test_every_command_takes_json_and_says_what_it_does() -> None:
    commands = all_commands()
    assert len(commands) == 22
    for path, command in commands:
        assert command.help, path
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, path
        for parameter in command.params:
            assert getattr(parameter, "help", "x"), (path, parameter.name)


@pytest.mark.parametrize(
    "arguments", [["score"], ["nothing"], ["score", "a.wav"], ["serve", "--port", "70000"], ["calibrate", "x", "y"]]
)
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    assert humwatch(*arguments).exit_code == 2


def test_score_says_what_it_found_and_exits_with_0_for_alarms(sounds: dict[str, Path]) -> None:
    result = humwatch("score", sounds["good"], sounds["bad"], "--machine", "pump-2", "--json")
    assert result.exit_code == 0, result.output
    good, bad = json.loads(result.stdout)["results"]
    assert (good["file"], good["state"], good["request_id"]) == (str(sounds["good"]), "normal", None)
    assert (bad["state"], bad["score"] > 1) == ("alarm", True)
    text = humwatch("score", sounds["bad"], "--machine", "pump-2@1")
    assert text.exit_code == 0
    assert "alarm" in text.stdout
    assert "few_calibration_recordings" in text.stderr


def test_the_command_and_the_service_say_the_same(sounds: dict[str, Path], client: Any) -> None:
    local = json.loads(humwatch("score", sounds["bad"], "--machine", "pump-2", "--json").stdout)["results"][0]
    served = client.post("/score?machine_id=pump-2", content=sounds["bad"].read_bytes()).json()
    assert {**served, "request_id": None} == {name: value for name, value in local.items() if name != "file"}


@pytest.mark.parametrize(
    ("sound", "fail_on", "code"),
    [("bad", "alarm", 1), ("bad", "warning", 1), ("good", "alarm", 0), ("good", "warning", 0)],
)
def test_fail_on_turns_a_state_into_an_exit_code(sounds: dict[str, Path], sound: str, fail_on: str, code: int) -> None:
    assert humwatch("score", sounds[sound], "--machine", "pump-2", "--fail-on", fail_on).exit_code == code


def test_one_bad_file_does_not_stop_the_others(sounds: dict[str, Path]) -> None:
    result = humwatch("score", sounds["text"], "gone.wav", sounds["good"], "--machine", "pump-2", "--json")
    assert result.exit_code == 1
    codes = [entry.get("error", {}).get("code") for entry in json.loads(result.stdout)["results"]]
    assert codes == ["audio_format_unsupported", "file_unreadable", None]
    assert "error: audio_format_unsupported: " in result.stderr


@pytest.mark.slow
def test_a_picture_is_written(sounds: dict[str, Path], tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    assert humwatch("score", sounds["bad"], "--machine", "pump-2", "--plot", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    both = humwatch("score", sounds["bad"], sounds["good"], "--machine", "pump-2", "--plot", picture)
    assert both.exit_code == 2
    nowhere = humwatch("score", sounds["bad"], "--machine", "pump-2", "--plot", tmp_path / "no" / "out.png")
    assert (nowhere.exit_code, "error: file_unreadable: " in nowhere.stderr) == (1, True)


def test_a_named_failure_is_on_stderr_and_with_json_on_stdout_too(sounds: dict[str, Path]) -> None:
    result = humwatch("score", sounds["good"], "--machine", "nobody", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: machine_not_found: ")
    assert json.loads(result.stdout)["error"]["code"] == "machine_not_found"


def test_calibrate_writes_and_activates_a_version(models: Path, workshop: Any, sounds: dict[str, Path]) -> None:
    folder = workshop.recordings[0].parent
    result = humwatch("calibrate", "pump-2", folder, "--from", "pump-2", "--alarm-rate", "0.05", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["version"], answer["active_version"], answer["recordings"]) == ("2", "2", 12)
    alarm = answer["thresholds"]["clip"]["alarm"]
    assert alarm["target_rate"] == 0.05
    assert alarm["rate_low"] < alarm["expected_rate"] < alarm["rate_high"]
    assert answer["warnings"]
    assert json.loads(humwatch("models", "rollback", "pump-2", "--json").stdout)["active_version"] == "1"
    assert humwatch("models", "verify", "--all").exit_code == 0
    assert humwatch("score", sounds["good"], "--machine", "pump-2@2").exit_code == 0


def test_calibrate_without_activation_changes_nothing_in_use(models: Path, workshop: Any) -> None:
    result = humwatch("calibrate", "pump-2", *workshop.recordings, "--from", "pump-2@1", "--no-activate")
    assert result.exit_code == 0, result.output
    assert "not in use; version 1 is" in result.stdout
    assert ModelRepository(models).versions("pump-2") == ["1", "2"]
    assert ModelRepository(models).active_version("pump-2") == "1"


def test_calibrate_makes_a_machine_that_was_not_there(models: Path, workshop: Any) -> None:
    folder = workshop.recordings[0].parent
    result = humwatch("calibrate", "line-9.fan", folder, "--from", "fan-1", "--score", "spectrum_profile")
    assert result.exit_code == 0, result.output
    assert "promised" in result.stdout
    assert "warning: " in result.stdout
    assert ModelRepository(models).manifest("line-9.fan").scoring.kind == "spectrum_profile"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["Not An Id", "{normal}", "--from", "pump-2"], 1, "machine_id_invalid"),
        (["../pump", "{normal}", "--from", "pump-2"], 1, "machine_id_invalid"),
        (["pump-2", "{normal}", "--from", "nobody"], 1, "machine_not_found"),
        (["pump-2", "{normal}", "--from", "pump-2@7"], 1, "version_not_found"),
        (["pump-2", "{abnormal}", "--from", "pump-2"], 1, "recording_not_normal"),
        (["pump-2", "gone.wav", "--from", "pump-2"], 1, "file_unreadable"),
        (["pump-2", "{few}", "--from", "pump-2"], 1, "calibration_failed"),
        (["pump-2", "{normal}", "--from", "pump-2", "--channel", "4"], 1, "audio_channel_missing"),
        (["pump-2", "{normal}", "--from", "pump-2", "--channel", "left"], 2, "--channel"),
        (["pump-2", "{normal}", "--from", "pump-2", "--alarm-rate", "0.7"], 2, "--alarm-rate"),
        (["pump-2", "{normal}", "--from", "pump-2", "--alarm-rate", "5e-324"], 2, "--alarm-rate"),
        (["pump-2", "{normal}", "--from", "pump-2", "--warn-rate", "0.7"], 2, "--warn-rate"),
    ],
)
def test_calibrate_names_what_is_wrong(
    tmp_path: Path, workshop: Any, models: Path, arguments: list[str], exit_code: int, said: str
) -> None:
    for folder, recordings in (("abnormal", workshop.recordings), ("few", workshop.recordings[:2])):
        (tmp_path / folder).mkdir()
        for path in recordings:
            shutil.copy(path, tmp_path / folder / path.name)
    places = {
        "{normal}": str(workshop.recordings[0].parent),
        "{abnormal}": str(tmp_path / "abnormal"),
        "{few}": str(tmp_path / "few"),
    }
    result = humwatch("calibrate", *(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == exit_code, result.output
    assert said in result.stderr
    assert ModelRepository(models).versions("pump-2") == ["1"]


def test_models_are_listed_shown_and_verified(models: Path) -> None:
    listed = json.loads(humwatch("models", "list", "--json").stdout)["machines"]
    assert [(machine["machine_id"], machine["active_version"]) for machine in listed] == [
        ("fan-1", "1"),
        ("pump-2", "1"),
    ]
    assert "pump-2" in humwatch("models", "list").stdout
    assert json.loads(humwatch("models", "show", "pump-2@1", "--json").stdout)["machine_type"] == "pump"
    assert "licence" in humwatch("models", "show", "pump-2").stdout
    assert humwatch("models", "verify", "pump-2").exit_code == 0
    (models / "fan-1" / "1" / "predictor.onnx").write_bytes(b"damaged")
    result = humwatch("models", "verify", "--json")
    assert result.exit_code == 1
    checks = {check["machine_id"]: check for check in json.loads(result.stdout)["models"]}
    assert (checks["fan-1"]["ok"], checks["fan-1"]["code"]) == (False, "bundle_digest_mismatch")
    assert checks["pump-2"]["ok"]
    assert humwatch("models", "show", "fan-1").exit_code == 1


def test_a_version_is_activated_only_if_it_holds(models: Path, workshop: Any) -> None:
    humwatch("calibrate", "pump-2", *workshop.recordings, "--from", "pump-2", "--no-activate")
    graph = models / "pump-2" / "2" / "predictor.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(b"damaged")
    refused = humwatch("models", "activate", "pump-2", "2")
    assert (refused.exit_code, "models_refused" in refused.stderr) == (1, True)
    assert ModelRepository(models).active_version("pump-2") == "1"
    graph.write_bytes(whole)
    assert humwatch("models", "activate", "pump-2", "2").exit_code == 0
    assert ModelRepository(models).active_version("pump-2") == "2"
    assert humwatch("models", "activate", "pump-2", "9").exit_code == 1
    assert humwatch("models", "rollback", "fan-1").exit_code == 1


def test_config_shows_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_API_KEYS", "a-very-secret-key-of-mine")
    result = humwatch("config", "show", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)["settings"]}
    assert set(rows) == set(Settings.model_fields)
    assert rows["models_dir"]["source"] == "environment"
    assert rows["port"] == {**rows["port"], "value": "8000", "source": "default", "variable": "HUMWATCH_PORT"}
    text = humwatch("config", "show")
    assert "secret-key" not in result.output + text.output
    assert "HUMWATCH_SCORE_QUEUE" in text.stdout
    assert humwatch("config", "check").exit_code == 0


def test_config_check_names_what_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_HOST", "0.0.0.0")
    result = humwatch("config", "check")
    assert (result.exit_code, "error: api_key_required: " in result.stderr) == (1, True)
    monkeypatch.setenv("HUMWATCH_PORT", "no")
    assert "error: settings_invalid: port (environment)" in humwatch("config", "check").stderr


def test_serve_refuses_to_be_open_without_a_key() -> None:
    result = humwatch("serve", "--host", "0.0.0.0", "--port", "0")
    assert (result.exit_code, "error: api_key_required: " in result.stderr) == (1, True)
    assert "HUMWATCH_API_KEYS" in result.stderr


def test_serve_names_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = humwatch("serve", "--port", taken.getsockname()[1])
    assert (result.exit_code, "error: port_in_use: " in result.stderr) == (1, True)


def test_serve_names_an_address_that_is_not_here() -> None:
    result = humwatch("serve", "--host", "127.0.0.1.not-an-address", "--port", "0", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] in ("api_key_required", "address_unusable")


def test_doctor_finds_everything_and_then_what_is_broken(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PORT", "0")
    monkeypatch.setenv("HUMWATCH_STATE_DIR", str(models / "state"))
    well = humwatch("doctor", "--json")
    assert well.exit_code == 0, well.output
    findings = {finding["check"]: finding for finding in json.loads(well.stdout)["findings"]}
    assert findings["model pump-2"]["result"] == findings["api keys"]["result"] == findings["port"]["result"] == "ok"
    assert "CPUExecutionProvider" in findings["providers"]["detail"]
    assert findings["state"]["result"] == findings["webhooks"]["result"] == "ok"
    assert not (models / "state").exists()
    (models / "state").mkdir()
    (models / "state" / "humwatch.sqlite3").write_bytes(b"this is no database" * 100)
    (models / "fan-1" / "1" / "calibration.npz").write_bytes(b"damaged")
    monkeypatch.setenv("HUMWATCH_HOST", "0.0.0.0")
    monkeypatch.setenv("HUMWATCH_PROVIDERS", "cuda")
    ill = humwatch("doctor")
    assert ill.exit_code == 1
    for said in ("bundle_digest_mismatch", "api_key_required", "CUDAExecutionProvider", "state_unusable"):
        assert said in " ".join(ill.stdout.split())


def test_doctor_without_a_models_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(tmp_path / "nowhere"))
    result = humwatch("doctor", "--json")
    assert result.exit_code == 1
    assert "repository_error" in result.stdout


def test_simulated_recordings_are_those_of_the_synthetic_machine(tmp_path: Path) -> None:
    done = humwatch("simulate", tmp_path / "a", "--count", 2, "--seconds", 1, "--seed", 7, "--first", 3, "--json")
    assert done.exit_code == 0
    files = [Path(name) for name in json.loads(done.stdout)["files"]]
    assert [path.name for path in files] == ["normal_00003.wav", "normal_00004.wav"]
    samples, rate_hz = soundfile.read(files[0], dtype="float32")
    assert rate_hz == 16_000
    assert np.abs(samples - SyntheticMachine(seed=7).clip(3, 1.0)).max() <= 1 / 32_768


def test_a_simulated_fault_is_in_the_name_and_in_the_sound(tmp_path: Path) -> None:
    humwatch("simulate", tmp_path, "--count", 1, "--seconds", 1)
    done = humwatch("simulate", tmp_path, "--count", 1, "--seconds", 1, "--fault", "squeal", "--level-db", 6)
    assert done.exit_code == 0
    normal, _ = soundfile.read(tmp_path / "normal_00000.wav")
    faulty, _ = soundfile.read(tmp_path / "anomaly_squeal_00000.wav")
    assert np.mean(faulty**2) > 3 * np.mean(normal**2)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = humwatch("simulate", tmp_path / "file" / "folder", "--count", 1)
    assert failed.exit_code == 1
    assert "error: file_unreadable:" in failed.stderr
