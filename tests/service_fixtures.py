from __future__ import annotations

import io
import json
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import soundfile
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.bundle.bundle import Golden, compose_bundle, write_bundle
from humwatch.bundle.manifest import PredictorCard
from humwatch.calibration.fit import calibrate
from humwatch.normal_recording import normal_clips
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch.synthetic import Fault, SyntheticMachine
from humwatch_service.app import create_app
from humwatch_service.config.settings import Settings
from humwatch_service.web.server import listen, server_of

RATE_HZ = 16_000
CLIP_S = 4.0
N_RECORDINGS = 12


def _graph(
    nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], n_mels: int, length: int, targets: int
) -> bytes:
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["B", length, n_mels])
    outputs = [
        helper.make_tensor_value_info("target_index", TensorProto.INT64, [targets]),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["B", targets]),
        helper.make_tensor_value_info("std", TensorProto.FLOAT, ["B", targets]),
    ]
    graph = helper.make_graph(nodes, "predictor", [windows], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def neighbour_graph(length: int = 5, n_mels: int = 128) -> bytes:
    """The middle frame is expected to be the mean of the others; std 1."""
    middle = length // 2
    others = np.array([frame for frame in range(length) if frame != middle], np.int64)
    target = middle * n_mels + np.arange(n_mels, dtype=np.int64)
    constants = [
        numpy_helper.from_array(others, "others"),
        numpy_helper.from_array(target, "target"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(1), "one"),
    ]
    nodes = [
        helper.make_node("Gather", ["windows", "others"], ["around"], axis=1),
        helper.make_node("ReduceMean", ["around"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["std"]),
        helper.make_node("Identity", ["target"], ["target_index"]),
    ]
    return _graph(nodes, constants, n_mels, length, n_mels)


def constant_graph(length: int = 5, n_mels: int = 128, mean_db: float = -40.0, target_offset: int = 0) -> bytes:
    """The middle frame is expected to be at one level in all bands; std 1."""
    middle = length // 2
    target = middle * n_mels + np.arange(n_mels, dtype=np.int64) + target_offset
    constants = [
        numpy_helper.from_array(np.int64(middle), "middle"),
        numpy_helper.from_array(target, "target"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(1), "one"),
        numpy_helper.from_array(np.float32(mean_db), "level"),
    ]
    nodes = [
        helper.make_node("Gather", ["windows", "middle"], ["frame"], axis=1),
        helper.make_node("Mul", ["frame", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "level"], ["mean"]),
        helper.make_node("Add", ["nothing", "one"], ["std"]),
        helper.make_node("Identity", ["target"], ["target_index"]),
    ]
    return _graph(nodes, constants, n_mels, length, n_mels)


def make_bundle(
    root: Path,
    machine_id: str,
    version: str,
    graph: bytes,
    recordings: list[Path],
    *,
    kind: ScoreKind = "residual_profile",
    machine_type: str = "fan",
    clip_s: float = CLIP_S,
) -> Path:
    listening = PipelineSpec(FeatureSpec(), WindowSpec(clip_seconds=clip_s), ScoringSpec(kind=kind))
    predictor = OnnxPredictor(graph)
    clips = [clip for path in recordings for clip in normal_clips(path, path.name, listening, predictor)]
    calibration = calibrate(
        clips,
        scoring=listening.scoring,
        spec=CalibrationSpec(),
        step_windows=listening.step_windows,
        clip_seconds=clip_s,
    )
    windows = np.random.default_rng(1).normal(-40.0, 5.0, (4, 5, 128)).astype(np.float32)
    manifest, arrays = compose_bundle(
        listening,
        calibration,
        graph,
        Golden.of(predictor, windows),
        machine_id=machine_id,
        machine_type=machine_type,
        version=version,
        created_at="2026-01-01T00:00:00+00:00",
        created_by="tests",
        licence="CC0-1.0",
        attribution="nobody",
        channel=0,
        calibration_digest="0" * 64,
        predictor=PredictorCard(
            strategy="tests", parameters=0, steps=0, train_recordings=0, train_digest="0" * 64, config={}, parity={}
        ),
    )
    folder = root / machine_id / version
    write_bundle(folder, manifest, graph, arrays)
    return folder


@dataclass(frozen=True)
class Workshop:
    """Where tests get graphs, bundles and recordings from."""

    recordings: list[Path]
    machine: SyntheticMachine

    neighbour_graph = staticmethod(neighbour_graph)
    constant_graph = staticmethod(constant_graph)
    make_bundle = staticmethod(make_bundle)

    def normal(self, number: int = 100, seconds: float = 5.0) -> Float32:
        return self.machine.clip(number, seconds)

    def faulty(self, number: int = 200, seconds: float = 5.0) -> Float32:
        return self.machine.clip(number, seconds, Fault("squeal", 0.0))

    @staticmethod
    def encoded(samples: Float32, rate_hz: int = RATE_HZ, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate_hz, format=form, subtype=subtype)
        return buffer.getvalue()


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undoes what a command does to the process's logging."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    handlers, level, propagate = root.handlers, root.level, access.propagate
    yield
    root.handlers = handlers
    root.setLevel(level)
    access.propagate = propagate


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("recordings")
    machine = SyntheticMachine(seed=3)
    paths = []
    for number in range(N_RECORDINGS):
        path = folder / f"{number:02d}.wav"
        soundfile.write(path, machine.clip(number, CLIP_S), RATE_HZ, subtype="PCM_16")
        paths.append(path)
    return Workshop(paths, machine)


@pytest.fixture(scope="session")
def shared_models(tmp_path_factory: pytest.TempPathFactory, workshop: Workshop) -> Path:
    """Two machines: `fan-1` has a little network, `pump-2` needs none. Never changed."""
    root = tmp_path_factory.mktemp("models")
    make_bundle(root, "fan-1", "1", neighbour_graph(), workshop.recordings)
    make_bundle(
        root, "pump-2", "1", constant_graph(), workshop.recordings, kind="spectrum_profile", machine_type="pump"
    )
    return root


@pytest.fixture
def models(tmp_path: Path, shared_models: Path) -> Path:
    """A copy of the two machines that a test may change."""
    return Path(shutil.copytree(shared_models, tmp_path / "models"))


@dataclass(frozen=True)
class LiveServer:
    """A real server on a free port of loopback, in a thread."""

    app: FastAPI
    port: int
    http: httpx.Client

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, *parts: bytes, pause_s: float = 0.0) -> tuple[int, dict[str, Any]]:
        """Write bytes as they are; return the answer's status and JSON."""
        with self.connect() as connection:
            for part in parts:
                try:
                    connection.sendall(part)
                except (BrokenPipeError, ConnectionResetError):
                    break
                time.sleep(pause_s)
            return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split(b" ")[1]), json.loads(body)


@contextmanager
def running(settings: Settings, *, loaded: bool = True) -> Iterator[LiveServer]:
    """A server; without a folder of its own for its state it gets one that is deleted with it."""
    with ExitStack() as stack:
        if "state_dir" not in settings.model_fields_set:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            settings = settings.model_copy(update={"state_dir": Path(folder) / "state"})
        yield from _running(settings, loaded=loaded)


def _application(settings: Settings) -> FastAPI:
    """Create the application; its OpenAPI document, the same for all of them, is generated once: that takes long."""

    def openapi(app: FastAPI) -> dict[str, Any]:
        if not _OPENAPI:
            _OPENAPI.update(_generate_openapi(app))
        return _OPENAPI

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastAPI, "openapi", openapi)
        return create_app(settings)


_OPENAPI: dict[str, Any] = {}
_generate_openapi = FastAPI.openapi


def _running(settings: Settings, *, loaded: bool) -> Iterator[LiveServer]:
    app = _application(settings)
    listening = listen(settings.host, settings.port)
    port = listening.getsockname()[1]
    server = server_of(app, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    service = app.state.service
    deadline = time.monotonic() + 60
    try:
        while not server.started or (loaded and _is_loading(service)):
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not start")
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
            yield LiveServer(app, port, http)
    finally:
        server.should_exit = True
        thread.join(15)


def _is_loading(service: Any) -> bool:
    """Whether it is not known yet what the service can do."""
    models, machines = service.models, service.live.machines
    return (not models.loaded and models.failure is None) or machines.unready() == [
        "the database of alarms is being read"
    ]


@pytest.fixture
def make_server(models: Path) -> Iterator[Callable[..., LiveServer]]:
    """Starts servers with settings of the test's own; `models_dir` is a copy unless it is given."""
    with ExitStack() as stack:

        def make(*, loaded: bool = True, **given: Any) -> LiveServer:
            settings = Settings(**{"models_dir": models, "score_workers": 2, "port": 0, **given})
            return stack.enter_context(running(settings, loaded=loaded))

        yield make


@pytest.fixture
def serving(models: Path) -> Callable[..., AbstractContextManager[LiveServer]]:
    """Servers like those of `make_server`, that stop where the test says so."""

    def serve(**given: Any) -> AbstractContextManager[LiveServer]:
        return running(Settings(**{"models_dir": models, "score_workers": 2, "port": 0, **given}))

    return serve


@pytest.fixture(scope="module")
def start_server(shared_models: Path) -> Iterator[Callable[..., LiveServer]]:
    """Starts servers that the tests of a module share; they change nothing on the disk."""
    with ExitStack() as stack:

        def start(**given: Any) -> LiveServer:
            settings = Settings(**{"models_dir": shared_models, "score_workers": 2, "port": 0, **given})
            return stack.enter_context(running(settings))

        yield start


@pytest.fixture(scope="session")
def server(shared_models: Path) -> Iterator[LiveServer]:
    """A server that no test changes."""
    with running(Settings(models_dir=shared_models, score_workers=2, port=0)) as live:
        yield live


@pytest.fixture(scope="session")
def client(server: LiveServer) -> httpx.Client:
    """Speaks to the server that no test changes."""
    return server.http
