"""torch = ONNX = file = stream: the numbers within a stated tolerance, the decisions exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from humwatch.bundle.repository import ModelRepository
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.scoring.spec import ScoreKind
from humwatch_training.errors import ExportParityError
from humwatch_training.export.bundle import TrainedRun, sample_windows
from humwatch_training.export.graph import PARITY_RTOL, check_parity
from humwatch_training.export.torch_predictor import TorchPredictor
from humwatch_training.networks.strategy_choice import build_strategy
from tests.contract.conftest import Trained, humwatch_train

pytestmark = pytest.mark.slow


def test_torch_and_onnx_agree_within_1e_4(trained: Trained) -> None:
    run = TrainedRun.read(trained.run)
    bundle = ModelRepository(trained.models).read(trained.machine_id)
    windows = sample_windows(sorted(trained.normal.iterdir()), run.config, 40)
    parity = check_parity(build_strategy(run.network), bundle.graph, windows)
    assert PARITY_RTOL == 1e-4
    assert max(parity.mean, parity.std) < 1e-4


def test_export_refuses_a_graph_that_says_something_else(trained: Trained) -> None:
    run = TrainedRun.read(trained.run)
    bundle = ModelRepository(trained.models).read(trained.machine_id)
    windows = sample_windows(sorted(trained.normal.iterdir()), run.config, 4)
    with torch.no_grad():
        run.network.decoder[-1].bias[0] += 0.01
    with pytest.raises(ExportParityError, match="torch and ONNX Runtime differ"):
        check_parity(build_strategy(run.network), bundle.graph, windows)


def test_a_batch_does_not_change_what_is_said_of_a_window(trained: Trained) -> None:
    run = TrainedRun.read(trained.run)
    bundle = ModelRepository(trained.models).read(trained.machine_id)
    windows = sample_windows(sorted(trained.normal.iterdir()), run.config, 9)
    together = OnnxPredictor(bundle.graph, max_batch=9).predict(windows)
    alone = [OnnxPredictor(bundle.graph).predict(window[None]).mean[0] for window in windows]
    np.testing.assert_allclose(together.mean, np.stack(alone), rtol=1e-5)
    np.testing.assert_allclose(
        together.mean, TorchPredictor(build_strategy(run.network)).predict(windows).mean, rtol=1e-5
    )


def test_files_streams_torch_and_onnx_decide_alike(trained: Trained) -> None:
    files = [*sorted(trained.normal.iterdir())[:2], *sorted(trained.anomalous.iterdir())[:2]]
    where = ("--machine", trained.machine_id, "--models", trained.models)
    report = json.loads(humwatch_train("verify", trained.run, *files, *where, "--json").stdout)
    assert len(report["recordings"]) == 4
    assert all(row["torch_difference"] < 1e-4 and row["stream_trials"] == 3 for row in report["recordings"])


def test_the_graph_is_whole_and_names_no_place_on_a_disk(trained: Trained) -> None:
    graph = ModelRepository(trained.models).read(trained.machine_id).graph
    model = onnx.load_model_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert b".py" not in graph
    assert str(Path.cwd()).encode() not in graph


def test_the_manifest_tells_where_the_model_comes_from_but_not_whose_disk(trained: Trained) -> None:
    manifest = ModelRepository(trained.models).manifest(trained.machine_id)
    assert manifest.predictor.strategy == "anp-idnn"
    assert manifest.predictor.parameters == 382_722
    assert manifest.predictor.steps == 60
    assert manifest.calibration.recordings == 6
    assert manifest.scoring.kind == "consensus"
    assert str(trained.normal) not in manifest.model_dump_json()


def test_evaluate_bundle_ranks_the_anomalous_higher(trained: Trained) -> None:
    where = ("--machine", trained.machine_id, "--models", trained.models)
    report = json.loads(humwatch_train("evaluate-bundle", trained.run, trained.anomalous, *where, "--json").stdout)
    rows = {row["score"]: row for row in report["channels"]["0"]}
    assert set(rows) == set(get_args(ScoreKind))
    assert rows["mse"]["normal_clips"] == 3
    assert rows["mse"]["anomalous_clips"] == 4
    assert rows["mse"]["auc"] == rows["spectrum_profile"]["auc"] == 1.0
