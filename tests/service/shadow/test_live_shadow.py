"""A candidate beside the version in use, through a real server."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.repository import ModelRepository
from humwatch_service.config.machines import MachineSettings

RATE_HZ = 16_000
MACHINE = "pump-2"
ADA = {"who": "ada", "why": "try it"}
QUICK = AlarmRule(on_delay_s=2.0, off_delay_s=3.0)
RULES = {MACHINE: MachineSettings(alarm=QUICK)}


@pytest.fixture
def deaf(models: Path, workshop: Any, tmp_path: Path) -> Path:
    """Version 2 of the pump, for which its fault is normal; version 1 is in use."""
    ModelRepository(models).activate(MACHINE, "1")
    recordings = list(workshop.recordings)
    for number in range(8):
        path = tmp_path / f"fault-{number}.wav"
        soundfile.write(path, workshop.faulty(500 + number, 4.0), RATE_HZ, subtype="PCM_16")
        recordings.append(path)
    made = workshop.make_bundle(
        models,
        MACHINE,
        "2",
        workshop.constant_graph(),
        recordings,
        kind="spectrum_profile",
        machine_type="pump",
    )
    return Path(made)


@pytest.fixture(scope="module")
def sound(workshop: Any) -> np.ndarray:
    """Normal for 15 s, a fault for 12 s, normal for 25 s; int16."""
    parts = [workshop.normal(700, 15.0), workshop.faulty(701, 12.0), workshop.normal(702, 25.0)]
    return np.clip(np.rint(np.concatenate(parts) * 32_768), -32_768, 32_767).astype("<i2")


@contextmanager
def speaking(server: Any, **hello: Any) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{server.port}/v1/machines/{MACHINE}/stream"
    with connect(url, proxy=None, compression=None) as socket:
        socket.send(json.dumps({"type": "hello", "rate_hz": RATE_HZ, "realtime": False, **hello}))
        assert json.loads(socket.recv(timeout=20))["type"] == "ready"
        yield socket


def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    messages = []
    try:
        while True:
            messages.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed:
        return messages


def streamed(server: Any, sound: np.ndarray, *, sizes: int = 4_000, gap: int = 0) -> list[dict[str, Any]]:
    """Send sound, with so many samples left out in the middle; return what the client is told."""
    with speaking(server, stream_id="microphone", start_time_s=time.time() - 100.0) as socket:
        for at in range(0, len(sound), sizes):
            if gap and at >= len(sound) // 2:
                socket.send(json.dumps({"type": "position", "sample": at + gap}))
                gap = 0
            socket.send(sound[at : at + sizes].tobytes())
        socket.send(json.dumps({"type": "eof"}))
        return rest(socket)


def started(server: Any, version: str = "2", **order: Any) -> dict[str, Any]:
    answer = server.http.post(f"/v1/machines/{MACHINE}/shadow", json={"version": version, **ADA, **order})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def report(server: Any) -> dict[str, Any]:
    answer = server.http.get(f"/v1/machines/{MACHINE}/shadow")
    assert answer.status_code == 200
    return dict(answer.json())


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


def test_a_candidate_that_hears_no_fault_would_have_raised_nothing(
    make_server: Any, deaf: Path, sound: np.ndarray
) -> None:
    server = make_server(machines=RULES)
    first = started(server)
    assert (first["version"], first["in_use"], first["running"], first["heard_s"]) == ("2", "1", True, 0.0)
    streamed(server, sound)
    told = until(lambda: (now := report(server))["heard_s"] > 40 and now)
    assert (told["alarms_both"], told["alarms_only_old"], told["alarms_only_new"]) == (0, 1, 0)
    (episode,) = told["episodes"]
    (alarm,) = server.http.get("/v1/alarms").json()["alarms"]
    assert (episode["by"], episode["alarm_id"], episode["start_s"]) == ("old", alarm["id"], alarm["raised_s"])
    assert episode["peak_old"] > 1 > episode["peak_new"]
    assert server.http.get(episode["listen"]).status_code == 200
    assert f'humwatch_shadow_running{{machine_id="{MACHINE}"}} 1' in server.http.get("/metrics").text


def test_what_only_the_candidate_would_have_raised_can_be_heard(
    make_server: Any, models: Path, deaf: Path, sound: np.ndarray
) -> None:
    ModelRepository(models).activate(MACHINE, "2")
    server = make_server(machines=RULES)
    started(server, "1")
    streamed(server, sound)
    told = until(lambda: (now := report(server))["heard_s"] > 40 and now)
    assert (told["alarms_both"], told["alarms_only_old"], told["alarms_only_new"]) == (0, 0, 1)
    (episode,) = told["episodes"]
    assert (episode["by"], episode["alarm_id"], episode["sound"]) == ("new", None, True)
    answer = until(lambda: (found := server.http.get(episode["listen"])).status_code == 200 and found)
    heard, rate_hz = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate_hz == RATE_HZ
    assert any(np.array_equal(heard, sound[at : at + len(heard)]) for at in range(0, len(sound) - len(heard) + 1))
    assert server.http.get("/v1/alarms").json()["alarms"] == []
    events = server.http.get(f"/v1/machines/{MACHINE}/events").json()["events"]
    assert {event["kind"] for event in events} == {"shadow_started", "state_changed"}
