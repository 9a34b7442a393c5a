from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from humwatch.false_alarms.seen import AlarmCounts
from humwatch_service import wiring
from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.metrics.registry import METRICS, PROCESS_METRICS, Metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


NOWHERE = WebhookSettings(name="cmms", url="http://127.0.0.1:9/hook", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
FIXED = {"humwatch_build_info", "humwatch_evidence_max_bytes", "humwatch_latency_budget_seconds"}
"""They say what is set, and stay."""


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_described_and_well_named() -> None:
    units = ("_seconds", "_total", "_ratio", "_raw", "_threshold", "_depth", "_in_progress", "_info", "_refused")
    units += ("_state", "_fault", "_dbfs", "_streams", "_changes", "_size", "_bytes", "_pending", "_number")
    units += (
        "_viewers",
        "_ready",
        "_shelved",
        "_active",
        "_acknowledged",
        "_expected",
        "_drifted",
        "_judged",
        "_per_week",
        "_recordings",
        "_provisional",
    )
    for spec in METRICS:
        assert spec.name.startswith("humwatch_")
        assert spec.name.endswith(units)
        assert (spec.kind == "counter") == spec.name.endswith("_total")
        assert spec.help.endswith(".")


def scraped(server: Any) -> Samples:
    return samples(server.http.get("/metrics").text)


def one(found: Samples, name: str, **labels: str) -> float:
    return found[(f"humwatch_{name}", frozenset(labels.items()))]


def moved(before: Samples, seen: Iterable[Samples]) -> set[str]:
    """Names of series that had another value; NaN is as good as NaN."""
    return {
        name
        for found in seen
        for (name, labels), value in found.items()
        if (name, labels) not in before
        or not (value == before[name, labels] or (math.isnan(value) and math.isnan(before[name, labels])))
    }


def until(look: Callable[[], Samples], condition: Callable[[Samples], bool]) -> Samples:
    deadline = time.monotonic() + 30
    while not condition(found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def promtool_agrees(text: str) -> None:
    if shutil.which("promtool") is not None:
        check = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (check.returncode, check.stdout + check.stderr) == (0, "")


def raise_an_alarm(server: Any, workshop: Any) -> list[Samples]:
    """Raise, acknowledge, shelve and clear an alarm, whose sound is deleted then; returns what was seen meanwhile."""
    with connect(f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream", proxy=None) as socket:
        socket.send('{"type":"hello","rate_hz":16000,"realtime":false}')
        socket.send((workshop.faulty(1, 20.0) * 32_767).astype("<i2").tobytes())
        while json.loads(socket.recv(timeout=20)).get("event") != "raised":
            pass
        for order, more in (("ack", {}), ("shelve", {"for_s": 3_600})):
            answer = server.http.post(f"/v1/alarms/pump-2-000001:{order}", json={"who": "ann", **more})
            assert answer.status_code == 200
        looks = [until(lambda: scraped(server), lambda found: one(found, "evidence_bytes") > 0)]
        for number in range(8):
            socket.send((workshop.normal(number, 5.0) * 32_767).astype("<i2").tobytes())
        while json.loads(socket.recv(timeout=20)).get("event") != "cleared":
            pass
    server.app.state.service.state.evidence.quota_bytes = 1
    return [*looks, until(lambda: scraped(server), lambda found: one(found, "evidence_purged_total") > 0)]


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
        server.app.state.service.live.load.on_score(9.0)
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
    }
    assert found == {spec.name for spec in (*METRICS, *PROCESS_METRICS)}


@pytest.mark.slow
def test_every_metric_moves(make_server: Any, models: Path, workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "MEASURE_S", 0.0)
    monkeypatch.setattr(wiring, "TIDY_S", 0.0)
    server = make_server(webhooks=(NOWHERE,), webhook_hosts=("127.0.0.1",))
    service = server.app.state.service
    folder = service.metrics.folders.of("pump-2")
    before = scraped(server)
    seen = []
    paint = service.scorer._painter.paint

    def look(*arguments: Any) -> bytes:
        seen.append(samples(service.metrics.render()))
        return bytes(paint(*arguments))

    monkeypatch.setattr(service.scorer._painter, "paint", look)
    monkeypatch.setattr(type(service.queue), "depth", property(lambda self: 3))
    url = "/v1/machines/pump-2/score?plot=png"
    headers = {"Content-Type": "audio/wav"}
    assert server.http.post(url, content=workshop.encoded(workshop.faulty()), headers=headers).status_code == 200
    assert server.http.post(url, content=b"text", headers=headers).status_code == 415
    shutil.copytree(models / "pump-2", models / "pump-3")
    shutil.rmtree(models / "fan-1")
    made = workshop.make_bundle(models, "fan-1", "2", workshop.constant_graph(), workshop.recordings)
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["commissioning"] = {"stage": 1, "minutes": 5, "planned_minutes": 101, "provisional": True}
    (made / "manifest.json").write_text(json.dumps(manifest))
    server.http.post("/v1/models:reload")
    uploaded = scraped(server)
    alarmed, purged = raise_an_alarm(server, workshop)
    seen += [uploaded, alarmed, purged]
    stream_with_a_gap(server, workshop)
    seen.append(scraped(server))
    fed = service.live.overload._fed
    monkeypatch.setattr(service.live.overload, "_fed", lambda: 2 * fed())  # the only stream is never given up
    overload(server, workshop)
    monkeypatch.setattr(type(service.live.machines), "waiting_s", property(lambda self: 1.5))
    monkeypatch.setattr(type(service.live.recorder), "unsaved", property(lambda self: 3))
    monkeypatch.setattr(type(service.live.load), "throttled", property(lambda self: 0.4))  # see test_load.py
    monkeypatch.setattr(type(service.models), "predict_queue_depth", property(lambda self: 4))
    monkeypatch.setattr(service.models, "failure", "the folder is gone")
    order = {"version": "1", "rule": {"on_delay_s": 9.0}, "who": "ann"}
    assert server.http.post("/v1/machines/pump-2/shadow", json=order).status_code == 201
    service.metrics.shadow.settled("pump-2", "both")  # how it comes to that is seen in test_live_shadow.py
    folder.count("heard")  # how it comes to that is seen in test_supervisor.py
    folder.late()
    folder.show_waiting(2)
    service.broadcast._on_drop(2)  # how it comes to that is seen in test_live_events.py
    service.metrics.live.clock_set(-90.0)  # how it comes to that is seen in test_clock_watch.py
    service.metrics.live.redated("pump-2", "undated")  # in test_sound_time.py
    folder = service.metrics.folders.of("pump-2")  # in test_folder_crash.py
    folder.count("heard")
    folder.late()
    folder.show_waiting(2)
    # how it comes to that is seen in test_oversight.py
    service.metrics.live.show_drift("pump-2", "drifted", 5.0)
    alarms = AlarmCounts(false_alarm=9)
    service.metrics.live.show_false_alarms("pump-2", alarms, watched_s=9.0, promised_a_week=1.0, low_a_week=2.0)
    seen.append(samples(service.metrics.render()))
    with server.http.stream("GET", "/v1/live"):
        after = scraped(server)

    names = moved(before, [*seen, after])
    for spec in METRICS:
        name = f"{spec.name}_count" if spec.kind == "histogram" else spec.name
        assert (name in names) != (spec.name in FIXED), spec.name
    promtool_agrees(server.http.get("/metrics").text)

    assert one(after, "page_viewers") == 1
    assert (one(before, "ready"), one(after, "ready")) == (1, 0)
    assert one(after, "evidence_max_bytes") == service.settings.evidence_max_bytes
    assert one(after, "latency_budget_seconds") == service.settings.stream_latency_s
    assert one(after, "score_requests_total", machine_id="pump-2", outcome="alarm") == 1
    assert one(after, "streams_refused_total", reason="overloaded") == 1
    assert one(after, "streams_given_up_total") == 1
    assert one(after, "live_lateness_seconds") > 8
    assert one(after, "live_load_ratio", resource="cores") > 0
    windows = [one(after, "windows_scored_total", machine_id=machine_id) for machine_id in ("pump-2", "fan-1")]
    assert one(after, "batch_size_sum") >= sum(windows)  # what is painted is predicted, too
    assert one(after, "alarm_state", machine_id="pump-2", state="out_of_service") == 1
    assert one(after, "audio_overflows_total", machine_id="pump-2") == 1
    assert one(after, "audio_gap_seconds_total", machine_id="pump-2") == 5.0
    assert one(after, "score_requests_total", machine_id="pump-2", outcome="refused") == 1
    assert one(after, "score_rejections_total", reason="audio_format_unsupported") == 1
    assert one(uploaded, "anomaly_score_ratio", machine_id="pump-2") > 1
    assert one(after, "anomaly_threshold", machine_id="pump-2", level="alarm") == 1
    assert one(after, "models_refused") == 1
    assert one(after, "windows_scored_total", machine_id="pump-2") > 100
    for stage in ("receive", "queue", "predict", "score", "picture"):
        assert one(after, "stage_duration_seconds_count", stage=stage) >= 1
    route = "/v1/machines/{machine_id}/score"
    assert one(after, "http_requests_total", route=route, method="POST", status="200") == 1
    assert one(after, "http_requests_total", route=route, method="POST", status="415") == 1


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
    assert 'reason="overloaded"} 0.0' in second.render()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_openmetrics_is_spoken_to_whoever_takes_nothing_else(client: Any, accept: str, kind: str) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.text.endswith("# EOF\n") == (kind != "text/plain")


@pytest.mark.process
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not there")
def test_promtool_has_nothing_to_say(client: Any) -> None:
    promtool_agrees(client.get("/metrics").text)
