"""From normal recordings to a scored WAV: trained, exported, served and asked, with nothing put in by hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from tests.contract.conftest import MACHINE, Trained
from tests.processes import started

pytestmark = pytest.mark.process

HUMWATCH = Path(sys.executable).with_name("humwatch")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def client(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service in a process of its own."""
    port = free_port()
    environment = {
        **os.environ,
        "HUMWATCH_MODELS_DIR": str(trained.models),
        "HUMWATCH_PORT": str(port),
        "HUMWATCH_STATE_DIR": str(tmp_path_factory.mktemp("state")),
    }
    with (
        started([HUMWATCH, "serve"], env=environment, stderr=subprocess.DEVNULL),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as client,
    ):
        wait_until_ready(client)
        yield client


def wait_until_ready(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the service did not get ready in 30 s")


def score(client: httpx.Client, path: Path, machine_id: str) -> dict[str, object]:
    with path.open("rb") as file:
        response = client.post("/score", files={"file": file}, data={"machine_id": machine_id})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def test_anomalous_recordings_score_over_normal_ones_through_the_service(
    client: httpx.Client, trained: Trained
) -> None:
    normal = [score(client, path, trained.machine_id) for path in sorted(trained.normal.iterdir())[:4]]
    anomalous = [score(client, path, trained.machine_id) for path in sorted(trained.anomalous.iterdir())]
    assert max(answer["score"] for answer in normal) < min(answer["score"] for answer in anomalous)  # type: ignore[type-var]
    assert {answer["state"] for answer in anomalous} == {"alarm"}
    squeal = anomalous[0]["bands"][0]  # type: ignore[index]
    assert squeal["low_hz"] < 3_100 < squeal["high_hz"]


def test_the_service_says_what_the_command_says(client: httpx.Client, trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "new.wav"
    soundfile.write(path, MACHINE.clip(99, seconds=3.0), MACHINE.rate_hz, subtype="FLOAT")
    command = [HUMWATCH, "score", path, "--machine", trained.machine_id, "--json"]
    environment = {**os.environ, "HUMWATCH_MODELS_DIR": str(trained.models)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert score(client, path, trained.machine_id)["raw_score"] == find(json.loads(ran.stdout), "raw_score")


def find(value: object, name: str) -> object:
    """The first value of that name, at any depth."""
    if isinstance(value, dict) and name in value:
        return value[name]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for part in parts if (found := find(part, name)) is not None), None)


def test_the_service_runs_without_torch() -> None:
    program = (
        "import sys; import humwatch_service.app, humwatch_service.cli.main;"
        "sys.exit(str(sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'librosa', 'sklearn', 'onnx'))))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == "[]"
