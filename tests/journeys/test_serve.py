"""A real `humwatch serve` process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.process

KEY = "a-key-for-the-process"
SHIPPED = Path(__file__).parents[2] / "models"
PATIENCE_S = 60.0
"""How long something may take on a machine that is busy with something else."""


@contextmanager
def process(models: Path, *arguments: str, **environment: str) -> Iterator[tuple[Any, str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUMWATCH_")}
    state = tempfile.TemporaryDirectory()
    clean["HUMWATCH_STATE_DIR"] = state.name
    command = "from humwatch_service.cli.main import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--port", "0", "--models", str(models), "--json", *arguments],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        ready, _, _ = select.select([started.stdout], [], [], PATIENCE_S)
        assert ready, "the process said nothing"
        line = started.stdout.readline()
        assert line, started.stderr.read() if started.stderr else ""
        yield started, json.loads(line)["url"]
    finally:
        started.kill()
        started.communicate()
        state.cleanup()


def wait_until_ready(http: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while http.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_answers_and_stops_when_told(shared_models: Path, workshop: Any) -> None:
    with process(shared_models, HUMWATCH_API_KEYS=KEY) as (started, url):
        with httpx.Client(base_url=url, headers={"X-API-Key": KEY}, trust_env=False, timeout=20) as http:
            wait_until_ready(http)
            answer = http.post("/score?machine_id=pump-2", content=workshop.encoded(workshop.faulty()))
            assert (answer.status_code, answer.json()["state"]) == (200, "alarm")
            assert "server" not in answer.headers
            assert http.get("/healthz").json()["status"] == "ok"
            started.send_signal(signal.SIGINT)
            output, log = started.communicate(timeout=PATIENCE_S)
        assert started.returncode == 0
        assert output == ""
        invitation, _, rest = log.partition("stop with Ctrl-C\n")
        assert "curl -H 'X-API-Key: ...' -F machine_id=fan-1" in invitation
        entries = [json.loads(line) for line in rest.splitlines() if line.strip()]
        events = [entry["event"] for entry in entries]
        assert {"models loaded", "scored", "request"} <= set(events)
        assert all({"timestamp", "level", "logger"} <= set(entry) for entry in entries)
        assert not [entry for entry in entries if entry["logger"] == "uvicorn.access"]
        assert KEY not in log


def test_what_runs_is_finished_and_what_will_not_end_is_ended(shared_models: Path, workshop: Any) -> None:
    with process(shared_models, HUMWATCH_SHUTDOWN_TIMEOUT_S="3", HUMWATCH_BODY_TIMEOUT_S="3600") as (started, url):
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            wait_until_ready(http)
        port = int(url.rpartition(":")[2])
        data = workshop.encoded(workshop.normal())
        head = b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data)
        with (
            socket.create_connection(("127.0.0.1", port)) as slow,
            socket.create_connection(("127.0.0.1", port)) as stuck,
        ):
            slow.sendall(head + data[:1000])
            stuck.sendall(head + data[:1000])
            time.sleep(0.3)
            started.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            time.sleep(0.5)
            slow.sendall(data[1000:])
            slow.settimeout(PATIENCE_S)
            assert slow.recv(15) == b"HTTP/1.1 200 OK"
            started.wait(PATIENCE_S)  # `stuck` never ends: the service does
            assert time.monotonic() - asked > 2
    assert started.returncode == 0


def test_the_demonstration_alarms(tmp_path: Path) -> None:
    """The shipped fan, its examples played as a live stream: what `make run` starts."""
    deadline_s = time.monotonic() + 5 * PATIENCE_S
    with (
        process(SHIPPED, "--demo", HUMWATCH_STATE_DIR=str(tmp_path), HUMWATCH_LOG_LEVEL="error") as (_, url),
        httpx.Client(base_url=url, trust_env=False, timeout=20) as http,
    ):
        states = []
        while not (alarms := http.get("/v1/alarms").json()["alarms"]):
            states.append(http.get("/v1/machines/fan-id_00/status").json()["state"] if states else "unknown")
            assert time.monotonic() < deadline_s
            time.sleep(0.5)
            wait_until_ready(http)
        assert "normal" in states
        assert "alarm" not in states[: states.index("normal")]
        (alarm,) = alarms
        assert alarm["context"]["score"] > 1
        assert any(band["low_hz"] < 1_000 < band["high_hz"] for band in alarm["context"]["bands"])
        clip = http.get(f"/v1/alarms/{alarm['id']}/clip.flac")
        while clip.status_code == 410:  # it is written beside
            time.sleep(0.2)
            clip = http.get(f"/v1/alarms/{alarm['id']}/clip.flac")
        assert clip.content.startswith(b"fLaC")


def test_a_demonstration_needs_examples(tmp_path: Path, shared_models: Path) -> None:
    command = "from humwatch_service.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "serve", "--demo", "--models", str(shared_models)],
        env={**os.environ, "HUMWATCH_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "file_unreadable" in done.stderr
