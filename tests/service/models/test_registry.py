from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from humwatch.bundle.bundle import sha256
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleError, BundleInvalid, BundleParityFailed, HumwatchError, MachineNotFound
from humwatch_service.errors import MachineUnavailable, ModelsLoading
from humwatch_service.inference.batching import BatchedPredictor
from humwatch_service.models.registry import Engine, ModelRegistry, load_model


def corrupt(folder: Path) -> None:
    graph = bytearray((folder / "predictor.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "predictor.onnx").write_bytes(bytes(graph))


def with_graph(folder: Path, graph: bytes) -> None:
    """Another graph, and a manifest that says that this is right."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["predictor.onnx"] = sha256(graph)
    (folder / "predictor.onnx").write_bytes(graph)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def registry(models: Path) -> ModelRegistry:
    return ModelRegistry(ModelRepository(models), Engine(("CPUExecutionProvider",), threads=1, processors=2))


def score(http: Any, workshop: Any, machine_id: str) -> Any:
    return http.post(
        f"/v1/machines/{machine_id}/score",
        content=workshop.encoded(workshop.normal()),
        headers={"Content-Type": "audio/wav"},
    )


def test_all_machines_are_loaded(registry: ModelRegistry) -> None:
    with pytest.raises(ModelsLoading):
        registry.get("fan-1")
    registry.reload()
    assert sorted(registry.current.models) == ["fan-1", "pump-2"]
    assert registry.unready() == []
    with pytest.raises(MachineNotFound):
        registry.get("fan-9")


def test_machines_of_the_same_graph_share_a_session(models: Path, registry: ModelRegistry, workshop: Any) -> None:
    workshop.make_bundle(models, "fan-7", "1", workshop.neighbour_graph(), workshop.recordings)
    registry.reload()
    assert registry.get("fan-1").predictor is registry.get("fan-7").predictor
    assert registry.get("fan-1").predictor is not registry.get("pump-2").predictor
    assert registry.get("fan-1").bundle.graph is registry.get("fan-7").bundle.graph  # megabytes, once


def test_what_a_stream_takes_is_measured_when_its_predictor_is_loaded(registry: ModelRegistry) -> None:
    machine = registry.reload().models["fan-1"]
    assert isinstance(machine.predictor, BatchedPredictor)
    assert machine.predictor.row_exact
    assert machine.stream_s == pytest.approx(31.25 * machine.predictor.window_s)  # a window a frame
    assert registry.predict_queue_depth == 0


@pytest.mark.parametrize(
    ("providers", "threads", "runs"),
    [(("CPUExecutionProvider",), 1, 8), (("CPUExecutionProvider",), 3, 2), (("CPUExecutionProvider",), 16, 1)],
)
def test_as_many_runs_go_at_a_time_as_processors_allow(providers: tuple[str, ...], threads: int, runs: int) -> None:
    assert Engine(providers, threads=threads, processors=8).runs == runs


def test_a_gpu_runs_one_batch_at_a_time() -> None:
    assert Engine(("CUDAExecutionProvider", "CPUExecutionProvider"), threads=1, processors=8).runs == 1


def test_a_reload_keeps_the_session_of_an_unchanged_model(registry: ModelRegistry) -> None:
    before = registry.reload().models["fan-1"]
    after = registry.reload().models["fan-1"]
    assert after.predictor is before.predictor
    assert after is before  # with what was computed of its calibration


@pytest.mark.parametrize(
    ("graph", "error"),
    [
        ({"mean_db": -41.0}, BundleParityFailed),
        ({"length": 7}, BundleInvalid),
        ({"n_mels": 64}, BundleInvalid),
        ({"target_offset": 10_000}, BundleInvalid),
    ],
)
def test_a_graph_that_is_not_the_bundles_is_refused(
    models: Path, workshop: Any, graph: dict[str, Any], error: type[BundleError]
) -> None:
    with_graph(models / "pump-2" / "1", workshop.constant_graph(**graph))
    with pytest.raises(error):
        load_model(ModelRepository(models), "pump-2")


@pytest.mark.parametrize("graph", [b"not a graph", b""])
def test_what_is_no_graph_is_refused(models: Path, graph: bytes) -> None:
    with_graph(models / "pump-2" / "1", graph)
    with pytest.raises(HumwatchError):
        load_model(ModelRepository(models), "pump-2")


def test_a_refused_bundle_is_named_and_the_other_machines_work(models: Path, registry: ModelRegistry) -> None:
    corrupt(models / "fan-1" / "1")
    registry.reload()
    assert sorted(registry.current.models) == ["pump-2"]
    refusal = registry.current.refusals["fan-1"]
    assert (refusal.version, refusal.code, refusal.in_use) == ("1", "bundle_digest_mismatch", None)
    assert "fan-1" in registry.unready()[0]
    with pytest.raises(MachineUnavailable, match="refused"):
        registry.get("fan-1")


def test_a_reload_with_a_corrupt_bundle_keeps_the_one_in_use(make_server: Any, models: Path, workshop: Any) -> None:
    server = make_server()
    before = score(server.http, workshop, "pump-2").json()
    shutil.copytree(models / "pump-2" / "1", models / "pump-2" / "2")
    manifest = models / "pump-2" / "2" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"'))
    corrupt(models / "pump-2" / "2")
    states = server.http.post("/v1/models:reload").json()["models"]
    refused = next(state for state in states if state["state"] == "refused")
    assert (refused["machine_id"], refused["version"], refused["instead"]) == ("pump-2", "2", "1")
    assert refused["code"] == "bundle_digest_mismatch"
    assert server.http.get("/v1/models").json()["models"] == states
    after = score(server.http, workshop, "pump-2").json()
    assert {**after, "request_id": ""} == {**before, "request_id": ""}
    assert server.http.get("/readyz").status_code == 200
    assert server.http.get("/healthz").json()["status"] == "degraded"
    assert "humwatch_models_refused 1.0" in server.http.get("/metrics").text

    shutil.copy(models / "pump-2" / "1" / "predictor.onnx", models / "pump-2" / "2" / "predictor.onnx")
    server.http.post("/v1/models:reload")
    assert score(server.http, workshop, "pump-2").json()["model_version"] == "2"
    assert server.http.get("/healthz").json()["status"] == "ok"


def test_a_folder_that_cannot_be_read_changes_nothing(make_server: Any, models: Path, workshop: Any) -> None:
    server = make_server()
    models.rename(models.with_name("elsewhere"))
    answer = server.http.post("/v1/models:reload")
    assert (answer.status_code, answer.json()["code"]) == (503, "repository_error")
    assert server.http.get("/readyz").status_code == 503
    assert score(server.http, workshop, "pump-2").status_code == 200
    models.with_name("elsewhere").rename(models)
    assert server.http.post("/v1/models:reload").status_code == 200
    assert server.http.get("/readyz").status_code == 200


def test_a_machine_that_is_gone_is_forgotten(make_server: Any, models: Path) -> None:
    server = make_server()
    shutil.rmtree(models / "fan-1")
    server.http.post("/v1/models:reload")
    assert [machine["machine_id"] for machine in server.http.get("/v1/machines").json()] == ["pump-2"]
    assert server.http.get("/v1/machines/fan-1").status_code == 404
    assert 'machine_id="fan-1"' not in server.http.get("/metrics").text


def test_readiness_is_strict(make_server: Any, models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = make_server(models_dir=tmp_path / "empty").http.get("/readyz")
    assert (empty.status_code, empty.json()["ready"]) == (503, False)
    assert "no model" in empty.json()["reasons"][0]
    missing = make_server(models_dir=tmp_path / "missing").http.get("/readyz")
    assert missing.status_code == 503
    assert "cannot be read" in missing.json()["reasons"][0]
    corrupt(models / "fan-1" / "1")
    server = make_server()
    refused = server.http.get("/readyz")
    assert refused.status_code == 503
    assert refused.json()["reasons"][0].startswith("fan-1: ")
    answer = server.http.get("/v1/machines/fan-1")
    assert (answer.status_code, answer.json()["code"]) == (503, "machine_unavailable")
    assert "Retry-After" in answer.headers


def test_while_models_are_loaded_the_service_lives_and_is_not_ready(
    make_server: Any, monkeypatch: pytest.MonkeyPatch, workshop: Any
) -> None:
    import threading

    release = threading.Event()
    read = ModelRegistry._read

    def slow(self: ModelRegistry, before: Any) -> Any:
        release.wait(10)
        return read(self, before)

    monkeypatch.setattr(ModelRegistry, "_read", slow)
    http = make_server(loaded=False).http
    try:
        assert http.get("/livez").status_code == 200
        readiness = http.get("/readyz").json()
        assert not readiness["ready"]
        assert readiness["reasons"][0] == "the models are being loaded"
        answer = score(http, workshop, "pump-2")
        assert (answer.status_code, answer.json()["code"]) == (503, "models_loading")
    finally:
        release.set()


def test_a_machine_card_says_what_the_manifest_says(client: Any, shared_models: Path) -> None:
    card = client.get("/v1/machines/pump-2").json()
    manifest = json.loads((shared_models / "pump-2" / "1" / "manifest.json").read_text())
    for name in ("machine_type", "licence", "attribution", "created_at", "features", "windows", "scoring", "channel"):
        assert card[name] == manifest[name]
    assert card["raw_thresholds"]["alarm"] == manifest["clip"]["alarm"]["level"]
    assert card["thresholds"]["alarm"] == 1.0
    expected = card["expected_false_alarms_a_day"]
    assert 0 <= expected["low"] < expected["value"] < expected["high"]
    assert (card["schema_version"], card["detectors"], card["detector_levels"]) == (3, [], None)
    assert card["calibration"]["recordings"] == 12
    assert card["calibration"]["warnings"]
    summary = client.get("/v1/machines").json()
    assert [machine["machine_id"] for machine in summary] == ["fan-1", "pump-2"]
    assert summary[1]["model_sha256"] == card["model_sha256"]
