"""What is in `models/` works, is small, and says where it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.recording import RecordingScore, score_recording
from humwatch_service.models.registry import verify
from humwatch_training.export.graph import BATCH_OF_KIND
from humwatch_training.fit.systems import DEFAULT_SYSTEM, SYSTEMS
from humwatch_training.networks.strategy_choice import strategy_title

MODELS = Path(__file__).parents[2] / "models"
REPOSITORY = ModelRepository(MODELS)
MACHINE_IDS = REPOSITORY.machine_ids()


def score(machine_id: str, name: str) -> RecordingScore:
    bundle = REPOSITORY.read(machine_id)
    predictor = OnnxPredictor(bundle.graph, threads=2)
    return score_recording(
        MODELS / machine_id / "examples" / name,
        bundle.manifest.pipeline,
        lambda rate, channel: bundle.monitor(predictor, source_rate_hz=rate, channel=channel),
    )


def test_a_fan_is_shipped() -> None:
    assert "fan-id_00" in MACHINE_IDS


@pytest.mark.parametrize("machine_id", MACHINE_IDS)
def test_a_shipped_model_passes_every_check(machine_id: str) -> None:
    bundle = REPOSITORY.read(machine_id)
    verify(bundle, OnnxPredictor(bundle.graph))
    assert bundle.manifest.licence != "unspecified"
    assert bundle.manifest.attribution
    assert bundle.manifest.calibration.digest != bundle.manifest.predictor.train_digest
    assert max(bundle.manifest.predictor.parity[f"max_relative_{name}"] for name in ("mean", "std")) < 1e-4


@pytest.mark.parametrize("machine_id", MACHINE_IDS)
def test_a_shipped_predictor_is_the_default_one(machine_id: str) -> None:
    bundle = REPOSITORY.read(machine_id)
    network, asked = SYSTEMS[DEFAULT_SYSTEM].recipe.network, SYSTEMS[DEFAULT_SYSTEM].strategy
    assert bundle.manifest.predictor.strategy == strategy_title(network, asked)
    assert bundle.manifest.windows.hop_frames == bundle.manifest.windows.length_frames  # every frame, once


@pytest.mark.parametrize("machine_id", MACHINE_IDS)
def test_a_shipped_predictor_is_the_fast_one(machine_id: str) -> None:
    bundle = REPOSITORY.read(machine_id)
    predictor = OnnxPredictor(bundle.graph)
    assert predictor.batch == BATCH_OF_KIND["latent_anp"] == 8
    assert predictor.is_row_exact(bundle.golden.windows)
    operators = [node.op_type for node in onnx.load_from_string(bundle.graph).graph.node]
    assert operators.count("Softmax") == 1  # folded: of all passes at once


def test_the_examples_are_told_apart() -> None:
    normal, anomalous = (score("fan-id_00", f"{name}.wav") for name in ("normal", "anomalous"))
    assert normal.worst.score < 1.0 <= anomalous.worst.score
    assert (normal.state, anomalous.state) == ("normal", "alarm")
    assert anomalous.bands


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/examples/*.wav")), ids=lambda path: path.name)
def test_an_example_is_ten_seconds_of_mono_sound(path: Path) -> None:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert samples.shape == (10 * rate_hz,)
    assert np.abs(samples).max() < 1.0
    assert path.stat().st_size < 400_000


def test_nothing_shipped_is_large() -> None:
    assert all(path.stat().st_size < 4 << 20 for path in MODELS.rglob("*") if path.is_file())


@pytest.mark.parametrize("machine_id", MACHINE_IDS)
def test_a_model_card_gives_licence_and_attribution(machine_id: str) -> None:
    card = (MODELS / machine_id / "README.md").read_text("utf-8")
    assert REPOSITORY.manifest(machine_id).licence in card
    assert "MIMII" in card
