from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from humwatch.bundle.bundle import Golden, compose_bundle, write_bundle
from humwatch.bundle.manifest import PredictorCard
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleInvalid, MachineNotFound, RepositoryError, VersionNotFound
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration

CARD = PredictorCard(
    strategy="neighbours", parameters=0, steps=0, train_recordings=0, train_digest="0" * 64, config={}, parity={}
)


@pytest.fixture
def models(tmp_path: Path, pipeline: PipelineSpec, predictor: Predictor, calibration: Calibration) -> ModelRepository:
    """Machine `fan-1` with versions 1, 2 and 10."""
    repository = ModelRepository(tmp_path / "models")
    windows = np.full((1, 5, 128), -40.0, np.float32)
    for version in ("1", "2", "10"):
        manifest, arrays = compose_bundle(
            pipeline, calibration, b"graph", Golden.of(predictor, windows), calibration_digest="0" * 64,
            machine_id="fan-1", machine_type="fan", version=version, created_at="", created_by="", licence="",
            attribution="", channel=0, predictor=CARD,
        )  # fmt: skip
        write_bundle(repository.root / "fan-1" / version, manifest, b"graph", arrays)
    return repository


def test_the_highest_version_is_active_until_one_is_chosen(models: ModelRepository) -> None:
    assert models.machine_ids() == ["fan-1"]
    assert models.versions("fan-1") == ["1", "2", "10"]
    assert models.active_version("fan-1") == "10"
    assert models.next_version("fan-1") == "11"
    assert models.read("fan-1").manifest.version == "10"
    assert models.manifest("fan-1", "2").version == "2"


def test_rollback_goes_back_step_by_step(models: ModelRepository) -> None:
    models.activate("fan-1", "2")
    models.activate("fan-1", "1")
    models.activate("fan-1", "1")
    assert models.active_version("fan-1") == "1"
    assert [models.rollback("fan-1") for _ in range(2)] == ["2", "10"]
    with pytest.raises(VersionNotFound, match="no version before 10"):
        models.rollback("fan-1")


def test_a_choice_stays_when_a_higher_version_comes(models: ModelRepository) -> None:
    models.activate("fan-1", "10")
    shutil.copytree(models.root / "fan-1" / "10", models.root / "fan-1" / "11")
    assert models.active_version("fan-1") == "10"


def test_rollback_passes_over_versions_that_are_gone(models: ModelRepository) -> None:
    models.activate("fan-1", "2")
    models.activate("fan-1", "1")
    shutil.rmtree(models.root / "fan-1" / "2")
    assert models.rollback("fan-1") == "10"


def test_a_machine_may_be_new(models: ModelRepository) -> None:
    assert models.next_version("fan-2") == "1"


@pytest.mark.parametrize(
    "hostile", ["", ".", "..", "../models/fan-1", "fan-1/../fan-1", "fan-1\0", "fan-1/", "x" * 10_000, "FAN-1"]
)
def test_ids_are_looked_up_and_never_joined(models: ModelRepository, hostile: str) -> None:
    for call in (models.versions, models.read, models.rollback):
        with pytest.raises(MachineNotFound):
            call(hostile)
    with pytest.raises(VersionNotFound):
        models.read("fan-1", hostile or "../fan-1/1")
    assert models.next_version(hostile) == "1"


def test_what_is_no_bundle_is_not_seen(models: ModelRepository) -> None:
    for name in (".writing-x", "3", "v4", "04"):
        (models.root / "fan-1" / name).mkdir()
    (models.root / "README").write_text("notes")
    (models.root / "empty").mkdir()
    assert models.machine_ids() == ["fan-1"]
    assert models.versions("fan-1") == ["1", "2", "10"]


def test_a_bundle_in_anothers_folder_is_refused(models: ModelRepository) -> None:
    shutil.copytree(models.root / "fan-1", models.root / "fan-2")
    with pytest.raises(BundleInvalid, match="of fan-1 lies in the folder of fan-2"):
        models.read("fan-2")


def test_an_active_file_that_cannot_be_read_is_named_and_not_guessed(models: ModelRepository) -> None:
    (models.root / "fan-1" / "active.json").write_text(json.dumps({"version": "../1"}))
    with pytest.raises(BundleInvalid, match=r"active\.json"):
        models.active_version("fan-1")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="cannot be read"):
        ModelRepository(tmp_path / "none").machine_ids()
