from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from humwatch_service.metrics import METRICS, Metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_metric_is_described_and_well_named() -> None:
    units = ("_seconds", "_total", "_ratio", "_raw", "_threshold", "_depth", "_in_progress", "_info", "_refused")
    units += ("_state", "_fault", "_dbfs", "_streams", "_changes", "_size")
    for spec in METRICS:
        assert spec.name.startswith("humwatch_")
        assert spec.name.endswith(units)
        assert (spec.kind == "counter") == spec.name.endswith("_total")
        assert spec.help.endswith(".")


def stream_with_a_gap(server: Any, workshop: Any) -> None:
    sound = (workshop.normal(1) * 32_767).astype("<i2").tobytes()
    url = f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream"
    with connect(url, proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000}')
        socket.send(sound)
        while "score" not in str(socket.recv(timeout=20)):
            pass
    server.http.post("/v1/machines/pump-2:out-of-service", json={"who": "ann"})
    with connect(url, proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000}')
        socket.send(sound)
        socket.send('{"type":"dropped","overflows":1}')
        socket.send('{"type":"position","sample":160000}')
        socket.send(sound)
        socket.send('{"type":"eof"}')
        while "bye" not in str(socket.recv(timeout=20)):
            pass


def overload(server: Any, workshop: Any) -> None:
    """Let scores be late while a stream is live: another one is refused, and the newest is given up."""
    sound = (workshop.normal(1) * 32_767).astype("<i2").tobytes()
    url = f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream"
    with connect(url, proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000}')
        socket.send(sound)
        while "score" not in str(socket.recv(timeout=20)):
            pass
        server.app.state.service.live.load.scored(9.0)
        with pytest.raises(InvalidStatus) as refused:
            connect(url.replace("pump-2", "fan-1"), proxy=None).__enter__()
        assert refused.value.response.status_code == 503
        assert 10 <= int(refused.value.response.headers["Retry-After"]) <= 30
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "overloaded")


def test_every_metric_of_the_table_is_there_from_the_start_and_no_other(client: Any) -> None:
    found = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(client.get("/metrics").text)
        if not family.name.endswith("_created")
    }
    assert found == {spec.name for spec in METRICS}


def test_every_metric_moves(make_server: Any, models: Path, workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server()
    service = server.app.state.service
    before = samples(server.http.get("/metrics").text)
    seen_busy = []
    paint = service.scorer._painter.paint

    def look(*arguments: Any) -> bytes:
        seen_busy.append(samples(service.metrics.render("")[0].decode()))
        return bytes(paint(*arguments))

    monkeypatch.setattr(service.scorer._painter, "paint", look)
    monkeypatch.setattr(type(service.queue), "depth", property(lambda self: 3))
    url = "/v1/machines/pump-2/score?plot=png"
    headers = {"Content-Type": "audio/wav"}
    assert server.http.post(url, content=workshop.encoded(workshop.faulty()), headers=headers).status_code == 200
    assert server.http.post(url, content=b"text", headers=headers).status_code == 415
    shutil.copytree(models / "pump-2", models / "pump-3")
    shutil.rmtree(models / "fan-1")
    workshop.make_bundle(models, "fan-1", "2", workshop.constant_graph(), workshop.recordings)
    server.http.post("/v1/models:reload")
    uploaded = samples(server.http.get("/metrics").text)
    stream_with_a_gap(server, workshop)
    gapped = samples(server.http.get("/metrics").text)
    monkeypatch.setattr(type(service.live), "live", property(lambda self: 2))
    overload(server, workshop)
    monkeypatch.setattr(type(service.live), "waiting_s", property(lambda self: 1.5))
    monkeypatch.setattr(type(service.live), "unsaved", property(lambda self: 3))
    monkeypatch.setattr(type(service.machines), "predict_queue_depth", property(lambda self: 4))
    after = samples(server.http.get("/metrics").text)

    moved = {name for (name, labels), value in after.items() if before.get((name, labels)) != value}
    moved |= {
        name
        for key in (*seen_busy, gapped)
        for (name, labels), value in key.items()
        if before.get((name, labels)) != value
    }
    fixed = {"humwatch_build_info"}
    for spec in METRICS:
        name = f"{spec.name}_count" if spec.kind == "histogram" else spec.name
        assert name in moved or spec.name in fixed, spec.name
    assert "humwatch_build_info" in {name for name, _ in after}

    def value(name: str, **labels: str) -> float:
        return after[(name, frozenset(labels.items()))]

    assert value("humwatch_score_requests_total", machine_id="pump-2", outcome="alarm") == 1
    assert value("humwatch_streams_refused_total", reason="overloaded") == 1
    assert value("humwatch_streams_given_up_total") == 1
    assert value("humwatch_live_lateness_seconds") > 8
    assert value("humwatch_live_load_ratio", resource="cores") > 0
    windows = [value("humwatch_windows_scored_total", machine_id=machine_id) for machine_id in ("pump-2", "fan-1")]
    assert value("humwatch_batch_size_sum") >= sum(windows)  # what is painted is predicted, too
    assert value("humwatch_alarm_state", machine_id="pump-2", state="out_of_service") == 1
    assert value("humwatch_audio_overflows_total", machine_id="pump-2") == 1
    assert value("humwatch_audio_gap_seconds_total", machine_id="pump-2") == 5.0
    assert value("humwatch_score_requests_total", machine_id="pump-2", outcome="refused") == 1
    assert value("humwatch_score_rejections_total", reason="audio_format_unsupported") == 1
    assert uploaded[("humwatch_anomaly_score_ratio", frozenset({("machine_id", "pump-2")}))] > 1
    assert 0 < value("humwatch_anomaly_score_ratio", machine_id="pump-2") < 1  # of the stream
    assert value("humwatch_anomaly_threshold", machine_id="pump-2", level="alarm") == 1
    assert value("humwatch_models_refused") == 1
    assert value("humwatch_windows_scored_total", machine_id="pump-2") > 100
    for stage in ("receive", "queue", "predict", "score", "picture"):
        assert value("humwatch_stage_duration_seconds_count", stage=stage) >= 1
    route = "/v1/machines/{machine_id}/score"
    assert value("humwatch_http_requests_total", route=route, method="POST", status="200") == 1
    assert value("humwatch_http_requests_total", route=route, method="POST", status="415") == 1


def test_an_unknown_score_is_not_shown_as_one(make_server: Any, workshop: Any) -> None:
    import numpy as np

    server = make_server()
    server.http.post("/score?machine_id=pump-2", content=workshop.encoded(np.zeros(80_000, np.float32)))
    text = server.http.get("/metrics").text
    assert 'humwatch_anomaly_score_ratio{machine_id="pump-2"} NaN' in text
    assert 'outcome="unknown"} 1.0' in text


def test_labels_never_come_from_a_request(make_server: Any) -> None:
    http = make_server().http
    known = samples(http.get("/metrics").text)
    for path in ("/secret-path-1", "/v1/machines/secret-machine", "/v1/machines/secret/score", "/score/secret"):
        http.get(path)
        http.post(path, content=b"x")
        http.request("BREW", path)
    http.post("/score?machine_id=secret-machine", content=b"x")
    text = http.get("/metrics").text
    assert "secret" not in text
    assert "BREW" not in text
    new = {name for name, labels in samples(text) if (name, labels) not in known}
    assert new <= {"humwatch_http_requests_total"}


def test_apps_share_no_registry() -> None:
    first, second = Metrics(), Metrics()
    first.rejected("overloaded")
    assert b'reason="overloaded"} 0.0' in second.render("")[0]


def test_openmetrics_is_spoken_too(client: Any) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not there")
def test_promtool_has_nothing_to_say(client: Any) -> None:
    text = re.sub(r"^.*_created.*\n", "", client.get("/metrics").text, flags=re.MULTILINE)
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")
