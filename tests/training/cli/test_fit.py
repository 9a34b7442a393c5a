import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import humwatch_training.fit.config
from humwatch.audio.features import FeatureSpec
from humwatch_training.cli import main
from humwatch_training.cli.main import app
from humwatch_training.fit.checkpoint import load_checkpoint
from humwatch_training.fit.progress import RunObserver
from humwatch_training.fit.systems import RECIPES
from tests.training.conftest import SMALL_NETWORKS


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `humwatch-train fit` with a tiny network on the CPU."""
    for name, recipe in RECIPES.items():
        small = replace(recipe, network=SMALL_NETWORKS[recipe.network.kind])
        monkeypatch.setitem(RECIPES, name, small)
    plain = humwatch_training.fit.config.fit_config

    def small_fit_config(settings: dict[str, object]) -> humwatch_training.fit.config.FitConfig:
        return plain({"features": FeatureSpec(n_mels=8), **settings})

    for user in ("cli.fit", "fit.run"):
        monkeypatch.setattr(f"humwatch_training.{user}.fit_config", small_fit_config)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["fit", "--device", "cpu", *map(str, arguments)])

    return invoke


@pytest.fixture
def recordings(tmp_path: Path, write_sound: Callable[..., Path]) -> Path:
    folder = tmp_path / "id_00"
    for i in range(5):
        write_sound(folder / "normal" / f"{i}.wav", i, channels=2)
        write_sound(folder / "abnormal" / f"{i}.wav", 100 + i)
    return folder


def test_fit_trains_and_fills_the_run_folder(fit: Callable[..., Result], recordings: Path, tmp_path: Path):
    run = tmp_path / "run"
    result = fit(recordings, "--run", run, "--steps", 4, "--channel", "all", "--batch", 4, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert (printed["step"], printed["planned_steps"], printed["skipped_steps"]) == (4, 4, 0)
    assert {file.name for file in run.iterdir()} == {
        "config.json",
        "split.json",
        "log.jsonl",
        "loss.png",
        "checkpoint.pt",
    }
    split = json.loads((run / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "calibration", "test")] == [2, 2, 1]
    assert all(entry["path"].startswith("normal/") for part in split.values() for entry in part)
    assert "step 4/4" in result.stderr


def test_an_interrupted_run_says_how_to_resume_and_goes_on(
    fit: Callable[..., Result], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert fit(recordings, "--run", straight, "--steps", 6, "--batch", 4).exit_code == 0

    plain = RunObserver.on_step

    def interrupt(self: RunObserver, progress: humwatch_training.fit.progress.Progress) -> None:
        plain(self, progress)
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunObserver, "on_step", interrupt)
        result = fit(recordings, "--run", stopped, "--steps", 6, "--batch", 4)
    assert result.exit_code == 1
    assert "error: training_interrupted: SIGINT after step 3 of 6" in result.stderr
    assert "--resume" in result.stderr
    result = fit("--run", stopped, "--resume", "--json")
    assert result.exit_code == 0, result.output
    one, other = (load_checkpoint(run / "checkpoint.pt").network for run in (straight, stopped))
    assert all(one[name].equal(other[name]) for name in one)


def test_resuming_with_other_settings_is_refused_by_their_names(
    fit: Callable[..., Result], recordings: Path, tmp_path: Path
):
    run = tmp_path / "run"
    assert fit(recordings, "--run", run, "--steps", 2, "--batch", 4).exit_code == 0
    result = fit("--run", run, "--resume", "--steps", 3, "--seed", 8, "--batch", 4)
    assert result.exit_code == 1
    assert "error: resume_mismatch:" in result.stderr
    assert "other settings: seed, steps" in result.stderr


def test_resuming_on_changed_recordings_is_refused(
    fit: Callable[..., Result], recordings: Path, tmp_path: Path, write_sound: Callable[..., Path]
):
    run = tmp_path / "run"
    assert fit(recordings, "--run", run, "--steps", 2, "--batch", 4).exit_code == 0
    train = json.loads((run / "split.json").read_text())["train"][0]["path"]
    write_sound(recordings / train, 77)
    assert f"{train}: this train recording has changed" in fit("--run", run, "--resume").stderr
    (recordings / train).unlink()
    assert f"{train}: this train recording is no longer" in fit("--run", run, "--resume").stderr


def test_a_taken_folder_is_refused_and_json_gives_the_error_as_an_object(
    fit: Callable[..., Result], recordings: Path, tmp_path: Path
):
    run = tmp_path / "run"
    assert fit(recordings, "--run", run, "--steps", 1, "--batch", 4).exit_code == 0
    result = fit(recordings, "--run", run, "--steps", 1, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "run_folder"


@pytest.mark.parametrize(("system", "kind"), [("ae", "autoencoder"), ("idnn", "idnn"), ("latent-anp", "latent_anp")])
def test_every_system_is_trained_by_its_name(
    fit: Callable[..., Result], recordings: Path, tmp_path: Path, system: str, kind: str
):
    run = tmp_path / "run"
    result = fit(recordings, "--run", run, "--system", system, "--steps", 2, "--batch", 4, "--json")
    assert result.exit_code == 0, result.output
    config = json.loads((run / "config.json").read_text())
    recipe = RECIPES[system]
    assert config["network"]["kind"] == kind
    assert (config["schedule"], config["autoclip_percentile"]) == (recipe.schedule, recipe.autoclip_percentile)
    assert config["batch_windows"] == 4
    assert fit("--run", run, "--resume", "--system", system).exit_code == 0
    other = fit("--run", run, "--resume", "--system", "anp")
    assert "other settings: network" in other.stderr


def test_the_network_free_system_needs_no_budget(fit: Callable[..., Result], recordings: Path, tmp_path: Path):
    result = fit(recordings, "--run", tmp_path / "run", "--system", "network-free", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert (printed["step"], printed["planned_steps"]) == (1, 1)


def test_anomalous_recordings_are_refused(fit: Callable[..., Result], recordings: Path, tmp_path: Path):
    result = fit(recordings / "abnormal", "--run", tmp_path / "run", "--steps", 1)
    assert result.exit_code == 1
    assert "error: training_data:" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--steps", 1),
        ("data",),
        ("data", "--steps", 0),
        ("data", "--steps", 1, "--channel", "left"),
        ("data", "--steps", 1, "--depth", 1),
        ("data", "--steps", 1, "--system", "vae"),
        ("data", "--system", "ae"),
    ],
)
def test_bad_usage_has_exit_code_2(fit: Callable[..., Result], tmp_path: Path, arguments: tuple[object, ...]):
    assert fit("--run", tmp_path / "run", *arguments).exit_code == 2


def test_the_command_takes_back_an_ignored_sigint(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(main, "app", lambda: None)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        main.main()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
