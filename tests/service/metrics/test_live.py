"""What is shown of a machine is true now: nothing older, and nothing of a machine that is gone."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, connect

from humwatch.alarm.events import AlarmSnapshot
from humwatch_service.config.sources import LoopSource
from humwatch_service.metrics.registry import Metrics

ANN = {"who": "ann", "why": "tests"}


def shown(server: Any, name: str, machine_id: str = "pump-2", **labels: str) -> float:
    wanted = {"machine_id": machine_id, **labels}
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    (value,) = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"humwatch_{name}" and sample.labels == wanted
    ]
    return value


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def s16(samples: np.ndarray) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def hear(socket: ClientConnection, **wanted: Any) -> None:
    while True:
        message = json.loads(socket.recv(timeout=20))
        if all(message.get(name) == value for name, value in wanted.items()):
            return


@contextmanager
def stream(server: Any, machine_id: str = "pump-2") -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{server.port}/v1/machines/{machine_id}/stream", proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000,"realtime":false}')
        hear(socket, type="ready")
        yield socket


def order(server: Any, path: str, **more: Any) -> None:
    assert server.http.post(path, json={**ANN, **more}).status_code == 200


def test_a_machine_that_is_not_heard_any_more_keeps_no_level_score_or_fault(make_server: Any, workshop: Any) -> None:
    server = make_server(no_sound_s=1.0)
    with stream(server) as socket:
        socket.send(s16(workshop.normal(1, 10.0)))
        hear(socket, type="score", state="normal")
        until(lambda: math.isfinite(shown(server, "anomaly_score_ratio")))
        assert math.isfinite(shown(server, "audio_level_dbfs"))
        socket.send(bytes(2 * 16_000 * 15))
        until(lambda: shown(server, "source_fault", fault="silent") == 1)
        until(lambda: math.isnan(shown(server, "anomaly_score_ratio")))  # it is heard, and cannot be judged
        assert shown(server, "audio_level_dbfs") < -90
        heard_s = shown(server, "audio_last_sample_timestamp_seconds")
        assert heard_s == pytest.approx(time.time(), abs=20)
    until(lambda: math.isnan(shown(server, "audio_level_dbfs")))
    assert math.isnan(shown(server, "anomaly_score_raw"))
    assert shown(server, "source_fault", fault="silent") == 0
    assert shown(server, "source_faults_total", fault="silent") == 1
    assert shown(server, "audio_last_sample_timestamp_seconds") == pytest.approx(heard_s, abs=20)
    assert shown(server, "audio_expected") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "more", "state"),
    [("out-of-service", {}, "out_of_service"), ("run-state", {"running": False}, "off")],
)
def test_a_machine_that_is_not_judged_has_no_score(
    make_server: Any, workshop: Any, path: str, more: dict[str, Any], state: str
) -> None:
    server = make_server()
    with stream(server) as socket:
        socket.send(s16(workshop.normal(1, 10.0)))
        until(lambda: math.isfinite(shown(server, "anomaly_score_ratio")))
        order(server, f"/v1/machines/pump-2:{path}", **more)
        if state == "out_of_service":  # at once; off begins with the next sound
            assert math.isnan(shown(server, "anomaly_score_ratio"))
        socket.send(s16(workshop.normal(2, 5.0)))
        until(lambda: shown(server, "alarm_state", state=state) == 1)
        until(lambda: math.isnan(shown(server, "anomaly_score_ratio")))
        assert math.isnan(shown(server, "anomaly_score_raw"))
        assert math.isfinite(shown(server, "audio_level_dbfs"))  # its sound still comes


@pytest.mark.slow
def test_a_machine_that_only_gets_recordings_keeps_its_last_score(make_server: Any, workshop: Any) -> None:
    server = make_server(no_sound_s=1.0)
    answer = server.http.post("/score?machine_id=fan-1", content=workshop.encoded(workshop.normal(3)))
    time.sleep(2.5)  # it was looked at twice whether it is heard
    assert shown(server, "anomaly_score_ratio", "fan-1") == pytest.approx(answer.json()["score"])
    assert shown(server, "audio_expected", "fan-1") == 0
    assert shown(server, "audio_last_sample_timestamp_seconds", "fan-1") == 0


@pytest.mark.slow
def test_what_outlives_a_restart_is_shown_after_it(serving: Any, models: Path, workshop: Any, tmp_path: Path) -> None:
    settings = {"state_dir": tmp_path / "state"}
    kept = ("alarm_last_number", "alarm_active", "alarm_acknowledged", "alarm_shelved")
    with serving(**settings) as server:
        with stream(server) as socket:
            socket.send(s16(workshop.faulty(1, 20.0)))
            hear(socket, event="raised")
            order(server, "/v1/alarms/pump-2-000001:ack")
            order(server, "/v1/machines/pump-2:shelve", for_s=3_600)
            assert [shown(server, name) for name in kept] == [1, 1, 1, 1]
        order(server, "/v1/machines/fan-1:out-of-service")
        heard_s = shown(server, "audio_last_sample_timestamp_seconds")
    with serving(**settings) as server:
        assert [shown(server, name) for name in kept] == [1, 1, 1, 1]
        assert shown(server, "audio_expected") == 1
        assert shown(server, "audio_last_sample_timestamp_seconds") == pytest.approx(heard_s, abs=5.0)
        assert shown(server, "alarm_state", state="unknown") == 1
        assert math.isnan(shown(server, "anomaly_score_ratio"))
        assert shown(server, "alarm_state", "fan-1", state="out_of_service") == 1
        assert shown(server, "alarm_state", "fan-1", state="unknown") == 0
        order(server, "/v1/machines/pump-2:unshelve")
        assert shown(server, "alarm_shelved") == 0
        for source, target in ((models / "pump-2", tmp_path / "aside"), (tmp_path / "aside", models / "pump-2")):
            shutil.move(source, target)
            server.http.post("/v1/models:reload")
        assert shown(server, "audio_last_sample_timestamp_seconds") == pytest.approx(heard_s, abs=5.0)
        assert (shown(server, "alarm_last_number"), shown(server, "audio_expected")) == (1, 1)


def test_a_source_of_the_settings_makes_sound_expected(make_server: Any, tmp_path: Path) -> None:
    source = LoopSource(kind="loop", machine="fan-1", files=(tmp_path / "missing.wav",))
    server = make_server(sources=(source,))
    assert (shown(server, "audio_expected", "fan-1"), shown(server, "audio_expected")) == (1, 0)


def test_a_machine_that_is_gone_leaves_nothing(make_server: Any, models: Path, workshop: Any) -> None:
    server = make_server()
    with stream(server) as socket:
        socket.send(s16(workshop.normal(1, 10.0)))
        hear(socket, type="score")
        heard = server.app.state.service.live.machines.get("pump-2").stream
        shutil.move(models / "pump-2", models.parent / "aside")
        server.http.post("/v1/models:reload")
        until(lambda: heard.ended)  # nobody would ever end it
        assert "pump-2" not in server.http.get("/metrics").text
    service = server.app.state.service
    service.metrics.judged("pump-2", 0.5, 1.0)
    service.metrics.live.overflowed("pump-2", 1)
    assert "pump-2" not in server.http.get("/metrics").text
    shutil.move(models.parent / "aside", models / "pump-2")
    server.http.post("/v1/models:reload")
    assert shown(server, "audio_expected") == 1
    assert shown(server, "audio_last_sample_timestamp_seconds") == pytest.approx(time.time(), abs=30)


def test_another_model_replaces_what_is_said_of_the_one_before(make_server: Any, models: Path, workshop: Any) -> None:
    server = make_server()
    server.http.post("/score?machine_id=fan-1", content=workshop.encoded(workshop.normal(3)))
    assert math.isfinite(shown(server, "anomaly_score_ratio", "fan-1"))
    workshop.make_bundle(models, "fan-1", "2", workshop.constant_graph(), workshop.recordings)
    server.http.post("/v1/models:reload")
    lines = server.http.get("/metrics").text.splitlines()
    (info,) = [line for line in lines if line.startswith('humwatch_model_info{machine_id="fan-1"')]
    assert 'version="2"' in info
    assert math.isnan(shown(server, "anomaly_score_ratio", "fan-1"))


def test_series_are_there_though_the_database_is_not(make_server: Any, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    server = make_server(state_dir=tmp_path / "blocked" / "state", loaded=False)
    until(lambda: server.app.state.service.models.loaded)
    until(lambda: 'humwatch_alarm_state{machine_id="pump-2"' in server.http.get("/metrics").text)
    assert shown(server, "alarm_state", state="unknown") == 1
    server.app.state.service.live.recorder._gauges.measure()
    text = server.http.get("/metrics").text
    assert "\nhumwatch_ready 0.0\n" in text
    assert "\nhumwatch_state_free_bytes NaN\n" in text


def test_a_late_second_of_a_machine_that_is_gone_is_not_shown() -> None:
    metrics = Metrics()
    metrics.live.follow(["fan-1"])
    metrics.live.resumed("fan-1", "out_of_service", AlarmSnapshot(last_number=3), 1_000.0)
    assert 'humwatch_alarm_last_number{machine_id="fan-1"} 3.0' in metrics.render()
    metrics.live.follow([])
    metrics.live.show_second("fan-1", heard_s=1.0, late_s=0.0, level_dbfs=-20.0, faults=["silent"], state="unknown")
    metrics.live.show_silence("fan-1")
    metrics.live.events("fan-1", [], "normal", AlarmSnapshot(), None)
    assert "fan-1" not in metrics.render()
