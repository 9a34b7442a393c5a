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


def streamed(
    server: Any, sound: np.ndarray, *, sizes: int = 4_000, gap: int = 0, ago_s: float = 200.5
) -> list[dict[str, Any]]:
    """Send sound that began a while ago, with a gap of samples in the middle; return what the client is told."""
    start_time_s = int(time.time()) - ago_s
    with speaking(server, stream_id=f"since-{ago_s}", start_time_s=start_time_s, realtime=True) as socket:
        sent = 0
        for part in (sound[: len(sound) // 2], sound[len(sound) // 2 :]):
            for at in range(0, len(part), sizes):
                piece = part[at : at + sizes]
                socket.send(piece.tobytes())
                sent += len(piece)
                socket.send(json.dumps({"type": "clock", "sample": sent, "time_s": sent / RATE_HZ}))
            if gap:
                sent, gap = sent + gap, 0
                socket.send(json.dumps({"type": "position", "sample": sent}))
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
    assert f'humwatch_shadow_active{{machine_id="{MACHINE}"}} 1' in server.http.get("/metrics").text


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


def told(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores and changes of state, without the wall clock."""
    return [
        {name: value for name, value in message.items() if name != "at_s"}
        for message in messages
        if message["type"] in ("score", "state", "alarm", "fault", "state_change")
    ]


def test_the_version_in_use_says_the_same_with_a_candidate_beside_it(
    serving: Any, deaf: Path, sound: np.ndarray
) -> None:
    with serving(machines=RULES) as server:
        alone = streamed(server, sound, gap=8_000)
    with serving(machines=RULES) as server:
        started(server)
        beside = streamed(server, sound, gap=8_000)
    assert told(alone) == told(beside)
    assert len(told(alone)) > 40


def scores_once_written(server: Any, wanted_s: float) -> list[list[float]]:
    """What version 2 gave, once nearly all of it is there."""
    service = server.app.state.service

    def look() -> list[list[float]] | None:
        service.live.recorder.flush([])
        found = service.shadows.scores(MACHINE, "2")
        return [each.scores.tolist() for each in found.segments] if found.heard_s >= wanted_s - 2 else None

    return list(until(look))


def test_a_candidate_scores_what_it_would_score_in_use_in_any_chunks(
    serving: Any, models: Path, deaf: Path, sound: np.ndarray
) -> None:
    """Its seconds are those of a second service in which it is used, to the bit that is kept."""
    heard = []
    for version, sizes in (("1", 1_777), ("1", 16_000), ("2", 4_000)):
        ModelRepository(models).activate(MACHINE, version)
        with serving(machines=RULES) as server:
            if version == "1":
                started(server)
            messages = streamed(server, sound, sizes=sizes, gap=8_000)
            judged = [m for m in messages if m["type"] == "score" and m["state"] != "unknown"]
            heard.append(scores_once_written(server, float(len(judged))))
    assert heard[0] == heard[1] == heard[2]
    assert len(heard[0]) == 2  # the gap is a break


class Breaking:
    """A predictor that works for a while."""

    def __init__(self, predictor: Any, runs: int) -> None:
        self._predictor, self._left = predictor, runs

    def predict(self, windows: np.ndarray) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("no such thing")
        return self._predictor.predict(windows)


def test_a_candidate_that_breaks_stops_and_says_why(make_server: Any, deaf: Path, sound: np.ndarray) -> None:
    server = make_server(machines=RULES)
    maker = server.app.state.service.shadows._maker
    made = maker.make_model

    def breaking(loaded: Any) -> Any:
        model = made(loaded)
        return type(model)(model.bundle, Breaking(model.predictor, 6))

    maker.make_model = breaking
    started(server)
    messages = streamed(server, sound)
    now = report(server)
    assert (now["running"], now["failure"]) == (False, "RuntimeError: no such thing")
    assert len([m for m in messages if m["type"] == "score"]) > 45  # all of the version in use
    assert len(server.http.get("/v1/alarms").json()["alarms"]) == 1
    until(lambda: f'humwatch_shadow_active{{machine_id="{MACHINE}"}} 0' in server.http.get("/metrics").text)
    maker.make_model = made
    assert started(server)["failure"] is None  # one that failed is replaced


def test_another_version_in_use_ends_the_shadow_with_its_report(
    make_server: Any, deaf: Path, sound: np.ndarray
) -> None:
    server = make_server(machines=RULES)
    started(server)
    with speaking(server, stream_id="microphone") as socket:
        socket.send(sound[: 30 * RATE_HZ].tobytes())
        until(lambda: report(server)["alarms_only_old"] == 1)
        answer = server.http.post(f"/v1/machines/{MACHINE}:activate", json={"version": "2", **ADA})
        assert answer.json()["in_use"] == "2"
        assert server.http.get(f"/v1/machines/{MACHINE}/shadow").status_code == 404
        socket.send(sound[30 * RATE_HZ :].tobytes())
        socket.send(json.dumps({"type": "eof"}))
        assert rest(socket)[-1]["type"] == "bye"
    (event,) = until(lambda: [e for e in events(server) if e["kind"] == "shadow_stopped"])
    assert event["who"] == "humwatch"
    assert event["why"] == "version 2 is used from now on"
    assert (event["details"]["version"], event["details"]["alarms_only_old"]) == ("2", 1)
    assert "humwatch_shadow_active{" not in server.http.get("/metrics").text


def events(server: Any) -> list[dict[str, Any]]:
    return list(server.http.get(f"/v1/machines/{MACHINE}/events").json()["events"])


def test_a_candidate_outlives_a_restart(serving: Any, tmp_path: Path, deaf: Path, sound: np.ndarray) -> None:
    state = tmp_path / "state"
    with serving(machines=RULES, state_dir=state) as server:
        started(server)
        streamed(server, sound, ago_s=400.5)
        before = until(lambda: (now := report(server))["heard_s"] > 40 and now)
    with serving(machines=RULES, state_dir=state) as server:
        after = until(lambda: server.http.get(f"/v1/machines/{MACHINE}/shadow").status_code == 200 and report(server))
        assert after == before
        scored = server.app.state.service.shadows.scores(MACHINE, "2").heard_s
        assert 40 <= scored <= before["heard_s"]  # without the seconds before a clock confirmed the rate
        streamed(server, sound)
        more = until(lambda: (now := report(server))["heard_s"] > 1.8 * before["heard_s"] and now)
        assert (more["alarms_only_old"], more["alarms_both"], more["alarms_only_new"]) == (2, 0, 0)
        last = server.http.post(f"/v1/machines/{MACHINE}/shadow:stop", json=ADA).json()
        assert (last["running"], last["alarms_only_old"]) == (False, 2)
    with serving(machines=RULES, state_dir=state) as server:
        assert server.http.get(f"/v1/machines/{MACHINE}/shadow").json()["code"] == "shadow_not_found"
        assert [e["kind"] for e in events(server) if e["kind"].startswith("shadow")] == [
            "shadow_stopped",
            "shadow_started",
        ]


def test_a_candidate_that_heard_nothing_outlives_a_restart(serving: Any, tmp_path: Path, deaf: Path) -> None:
    with serving(machines=RULES, state_dir=tmp_path / "state") as server:
        started(server)
        before = report(server)
    with serving(machines=RULES, state_dir=tmp_path / "state") as server:
        after = until(lambda: server.http.get(f"/v1/machines/{MACHINE}/shadow").status_code == 200 and report(server))
        assert after == before


def test_a_rule_can_be_tried_on_the_version_in_use(make_server: Any, deaf: Path, sound: np.ndarray) -> None:
    server = make_server(machines=RULES)
    first = started(server, "1", rule={"on_delay_s": 60.0})
    assert first["rule"]["on_delay_s"] == 60.0
    streamed(server, sound)
    now = until(lambda: (now := report(server))["heard_s"] > 40 and now)
    assert (now["alarms_only_old"], now["episodes"][0]["peak_new"]) == (1, now["episodes"][0]["peak_old"])


def test_what_cannot_be_started_is_refused_by_name(make_server: Any, deaf: Path) -> None:
    server = make_server(machines=RULES)
    url = f"/v1/machines/{MACHINE}/shadow"

    def code(answer: Any) -> tuple[int, str]:
        return answer.status_code, answer.json()["code"]

    assert code(server.http.get(url)) == (404, "shadow_not_found")
    assert code(server.http.post(f"{url}:stop", json=ADA)) == (404, "shadow_not_found")
    assert code(server.http.post(url, json={"version": "1", **ADA})) == (409, "operation_refused")
    assert code(server.http.post(url, json={"version": "9", **ADA})) == (404, "version_not_found")
    assert code(server.http.post(url, json={"version": "2", "rule": {"k": 0}, **ADA})) == (422, "request_invalid")
    assert code(server.http.post("/v1/machines/nobody/shadow", json={"version": "2", **ADA}))[0] == 404
    assert code(server.http.get(f"{url}/sounds/2-1.flac")) == (410, "evidence_gone")
    assert code(server.http.get(f"{url}/sounds/..flac")) == (410, "evidence_gone")
    started(server)
    assert code(server.http.post(url, json={"version": "2", **ADA})) == (409, "shadow_running")
    (deaf / "predictor.onnx").write_bytes(b"nothing")
    server.http.post(f"{url}:stop", json=ADA)
    assert server.http.post(url, json={"version": "2", **ADA}).status_code == 503
    assert code(server.http.get(url)) == (404, "shadow_not_found")


def test_a_machine_out_of_service_is_judged_by_nobody(make_server: Any, models: Path, deaf: Path, sound: Any) -> None:
    ModelRepository(models).activate(MACHINE, "2")
    server = make_server(machines=RULES)
    assert server.http.post(f"/v1/machines/{MACHINE}:out-of-service", json=ADA).status_code == 200
    started(server, "1")
    streamed(server, sound)
    now = report(server)
    assert (now["alarms_both"], now["alarms_only_old"], now["alarms_only_new"]) == (0, 0, 0)
