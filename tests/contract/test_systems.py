"""Every system, from normal recordings to the service's answer: trained, exported, loaded, and ranked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from humwatch.bundle.repository import ModelRepository
from humwatch.synthetic import Fault, SyntheticMachine
from humwatch_service.models.registry import LoadedModel, load_model
from humwatch_service.scoring.scorer import ScoreJob, Scorer
from humwatch_training.fit.systems import RECIPES, SYSTEMS
from humwatch_training.networks.attentive import AnpConfig
from humwatch_training.networks.autoencoder import AutoencoderConfig, IdnnConfig
from humwatch_training.networks.latent import LatentAnpConfig
from tests.contract.conftest import humwatch_train

pytestmark = pytest.mark.slow

MACHINES = [SyntheticMachine(seed=seed) for seed in (3, 8)]
FAULTS = (Fault("squeal", 6.0), Fault("rub", 6.0), Fault("impacts", 6.0))
TRAINED_ON, HEARD_LATER = 12, 4

SMALL = {
    "anp": AnpConfig(width=16, heads=2, encoder_layers=1, feed_forward=16),
    "latent-anp": LatentAnpConfig(width=32, heads=2),
    "ae": AutoencoderConfig(width=64),
    "idnn": IdnnConfig(width=64),
}
LIKELIHOOD = {"anp-rrc", "anp-boot", "latent-anp"}
"""Scored by the likelihood here; the others by the squared error."""

BUDGETS = {"anp": 60, "latent-anp": 100, "ae": 200, "idnn": 200, "network-free": 1}


def record(machine: SyntheticMachine, folder: Path, numbers: range, fault: Fault | None = None) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in numbers:
        paths.append(folder / f"{machine.seed}_{number}_{fault.kind if fault else 'well'}.wav")
        soundfile.write(paths[-1], machine.clip(number, seconds=2.1, fault=fault), machine.rate_hz)
    return paths


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two machines that are well, to train and calibrate on."""
    folder = tmp_path_factory.mktemp("systems") / "normal"
    for machine in MACHINES:
        record(machine, folder, range(TRAINED_ON))
    return folder


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Recordings that nothing was fitted on: normal ones, and ones with loud faults."""
    folder = tmp_path_factory.mktemp("later")
    numbers = range(100, 100 + HEARD_LATER)
    well = [path for machine in MACHINES for path in record(machine, folder, numbers)]
    ill = [
        path
        for machine in MACHINES
        for number, fault in enumerate(FAULTS)
        for path in record(machine, folder, range(200 + number, 201 + number), fault)
    ]
    return well, ill


@pytest.fixture(scope="module")
def runs(normal: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run of each recipe, narrowed to what trains in seconds."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name, network in SMALL.items():
            patch.setitem(RECIPES, name, replace(RECIPES[name], network=network))
        for name, steps in BUDGETS.items():
            budget = ("--steps", steps, "--batch", 32, "--context-points", 96, "--threads", 1, "--device", "cpu")
            humwatch_train("fit", normal, "--run", root / name, "--system", name, *budget)
        yield {name: root / name for name in BUDGETS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of the systems, made when first asked for."""
    return tmp_path_factory.mktemp("models")


def load(name: str, run: Path, models: Path) -> LoadedModel:
    """Load a system as the service does, exported on first use."""
    repository = ModelRepository(models)
    if name not in repository.machine_ids():
        export(name, run, models)
    assert repository.manifest(name).predictor.strategy.startswith(name)
    return load_model(repository, name)


def export(name: str, run: Path, models: Path) -> None:
    strategy = SYSTEMS[name].strategy
    asked = ("--strategy", strategy.name, "--groups", strategy.groups)
    score = "nll" if name in LIKELIHOOD else "mse"
    calibration = ("--hop", 4, "--clip-seconds", 2, "--score", score)
    humwatch_train("export", run, "--machine", name, "--models", models, *asked, *calibration)


def ranks(machine: LoadedModel, paths: list[Path]) -> list[float]:
    scorer = Scorer()
    return [scorer.score(ScoreJob(path, machine)).answer.score for path in paths]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_ranks_loud_faults_over_normal_sound_through_the_service(
    name: str, runs: dict[str, Path], later: tuple[list[Path], list[Path]], models: Path
) -> None:
    machine = load(name, runs[SYSTEMS[name].trains], models)
    well, ill = (ranks(machine, paths) for paths in later)
    assert min(ill) > np.median(well)
    assert roc_auc_score([0] * len(well) + [1] * len(ill), well + ill) >= 0.9


@pytest.mark.parametrize("name", ["anp-rrc", "anp-boot"])
def test_masks_that_depend_on_the_window_are_the_same_in_torch_files_and_streams(
    name: str, runs: dict[str, Path], later: tuple[list[Path], list[Path]], models: Path
) -> None:
    load(name, runs[SYSTEMS[name].trains], models)
    recordings = [paths[0] for paths in later]
    report = humwatch_train("verify", runs["anp"], *recordings, "--machine", name, "--models", models, "--json")
    rows = json.loads(report.stdout)["recordings"]
    assert len(rows) == 2
    assert all(row["torch_difference"] < 1e-4 and row["stream_trials"] == 3 for row in rows)
