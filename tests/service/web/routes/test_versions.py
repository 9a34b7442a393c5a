from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from humwatch.bundle.repository import ModelRepository

BOB = {"who": "bob", "why": "the fan was changed"}


@pytest.fixture
def second(models: Path, workshop: Any) -> Path:
    """Version 2 of fan-1, of other recordings; version 1 is in use."""
    ModelRepository(models).activate("fan-1", "1")
    made = workshop.make_bundle(models, "fan-1", "2", workshop.neighbour_graph(), workshop.recordings[:6])
    return Path(made)


def spoil(folder: Path) -> None:
    (folder / "predictor.onnx").write_bytes(b"nothing")


def test_versions_say_what_they_rest_on(make_server: Any, second: Path) -> None:
    answer = make_server().http.get("/v1/machines/fan-1/versions").json()
    assert (answer["machine_id"], answer["in_use"]) == ("fan-1", "1")
    assert [(card["version"], card["active"]) for card in answer["versions"]] == [("1", True), ("2", False)]
    facts = answer["versions"][1]["facts"]
    manifest = json.loads((second / "manifest.json").read_text())
    assert facts["created_at"] == manifest["created_at"]
    assert facts["score"] == "residual_profile"
    assert facts["raw_thresholds"]["alarm"] == manifest["clip"]["alarm"]["level"]
    assert facts["thresholds"]["alarm"] == 1.0
    assert facts["calibration"]["recordings"] == 6
    assert facts["expected_false_alarms_a_day"]["promised"] is False


def test_a_manifest_that_cannot_be_read_does_not_hide_the_others(make_server: Any, second: Path) -> None:
    (second / "manifest.json").write_text("{}")
    first, last = make_server().http.get("/v1/machines/fan-1/versions").json()["versions"]
    assert first["facts"]["calibration"]["recordings"] == 12
    assert (last["facts"], "manifest.json" in last["reason"]) == (None, True)


def test_a_version_is_activated_and_rolled_back(make_server: Any, models: Path, second: Path) -> None:
    server = make_server()
    http = server.http
    answer = http.post("/v1/machines/fan-1:activate", json={"version": "2", **BOB})
    assert answer.status_code == 200
    assert answer.json()["in_use"] == "2"
    assert http.get("/v1/machines/fan-1").json()["model_version"] == "2"
    assert ModelRepository(models).active_version("fan-1") == "2"
    assert 'version="2"' in http.get("/metrics").text
    back = http.post("/v1/machines/fan-1:rollback", json={"who": "ada"}).json()
    assert (back["in_use"], [card["active"] for card in back["versions"]]) == ("1", [True, False])
    events = http.get("/v1/machines/fan-1/events").json()["events"]
    said = [(event["kind"], event["who"], event["details"]) for event in events if event["kind"] != "state_changed"]
    assert said == [
        ("rolled_back", "ada", {"before": "2", "version": "1"}),
        ("activated", "bob", {"before": "1", "version": "2"}),
    ]
    again = http.post("/v1/machines/fan-1:rollback", json={"who": "ada"})
    assert (again.status_code, again.json()["code"]) == (404, "version_not_found")


@pytest.mark.parametrize("pinned", [True, False])
def test_a_bundle_that_fails_a_check_is_refused_and_nothing_changes(
    make_server: Any, models: Path, second: Path, pinned: bool
) -> None:
    server = make_server()
    spoil(second)
    active = models / "fan-1" / "active.json"
    before = active.read_bytes()
    if not pinned:
        active.unlink()
    answer = server.http.post("/v1/machines/fan-1:activate", json={"version": "2", **BOB})
    assert (answer.status_code, answer.json()["code"]) == (503, "bundle_digest_mismatch")
    assert (active.read_bytes() == before) if pinned else not active.exists()
    assert server.http.get("/v1/machines/fan-1").json()["model_version"] == "1"
    assert server.http.get("/v1/machines/fan-1/events").json()["events"] == []


def test_a_rollback_to_a_bundle_that_fails_a_check_is_refused(make_server: Any, models: Path, second: Path) -> None:
    server = make_server()
    server.http.post("/v1/machines/fan-1:activate", json={"version": "2", **BOB})
    before = (models / "fan-1" / "active.json").read_bytes()
    spoil(models / "fan-1" / "1")
    answer = server.http.post("/v1/machines/fan-1:rollback", json=BOB)
    assert (answer.status_code, answer.json()["code"]) == (503, "bundle_digest_mismatch")
    assert (models / "fan-1" / "active.json").read_bytes() == before
    assert server.http.get("/v1/machines/fan-1").json()["model_version"] == "2"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("fan-1:activate", {"version": "7", **BOB}, 404, "version_not_found"),
        ("fan-1:activate", {"version": "../pump-2/1", **BOB}, 422, "request_invalid"),
        ("fan-1:activate", {"version": "1"}, 422, "request_invalid"),
        ("fan-1:activate", {"version": "1", "who": "  "}, 422, "request_invalid"),
        ("fan-1:activate", {"version": "1", "who": "x" * 81}, 422, "request_invalid"),
        ("fan-1:rollback", {"who": "x", "why": "x" * 501}, 422, "request_invalid"),
        ("fan-1:rollback", {**BOB, "version": "1"}, 422, "request_invalid"),
        ("fan-9:activate", {"version": "1", **BOB}, 404, "machine_not_found"),
        ("fan-9:rollback", BOB, 404, "machine_not_found"),
        ("FAN:rollback", BOB, 422, "machine_id_invalid"),
        ("fan-9/calibration", BOB, 404, "machine_not_found"),
        ("fan-1/calibration", {**BOB, "minutes": 2}, 422, "request_invalid"),
        ("fan-1/calibration", {**BOB, "warn_rate": 0.01, "alarm_rate": 0.1}, 422, "request_invalid"),
        ("fan-1/calibration:finish", BOB, 404, "calibration_not_found"),
        ("fan-1/calibration:cancel", BOB, 404, "calibration_not_found"),
    ],
)
def test_orders_that_cannot_be_carried_out_are_named(
    client: Any, path: str, body: dict[str, str], status: int, code: str
) -> None:
    answer = client.post(f"/v1/machines/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def stream(server: Any, machine_id: str, sound: Any) -> list[dict[str, Any]]:
    body = (sound * 32_767).astype("<i2").tobytes()
    answer = server.http.post(
        f"/v1/machines/{machine_id}/stream?realtime=false",
        content=(body[start : start + 32_000] for start in range(0, len(body), 32_000)),
        headers={"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"},
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.slow
def test_a_new_machine_is_commissioned_from_its_stream(make_server: Any, workshop: Any) -> None:
    server = make_server()
    http, path = server.http, "/v1/machines/fan-9/calibration"
    begun = http.post(path, json={"from_machine": "fan-1", "minutes": 3, "who": "ada"})
    assert (begun.status_code, begun.json()["score"]) == (201, "consensus")
    assert http.post(path, json={"from_machine": "fan-1", "who": "bob"}).status_code == 409
    heard = stream(server, "fan-9", workshop.normal(1, 195.0))
    assert "score" not in {message["type"] for message in heard}
    progress = http.get(path).json()
    assert (progress["minutes"], progress["done"], progress["rejected"]) == (3, True, {})
    report = http.post(f"{path}:finish", json={"who": "ada"}).json()
    assert (report["version"], report["activated"], report["calibration"]["clips"]) == ("1", True, 45)
    assert http.get(path).status_code == 404
    assert http.get("/v1/machines/fan-9").json()["raw_thresholds"] == report["raw_thresholds"]
    heard = stream(server, "fan-9", workshop.normal(2, 20.0))
    scores = [message["score"] for message in heard if message["type"] == "score" and message["score"] is not None]
    assert scores
    assert max(scores) < 3.0
    kinds = [event["kind"] for event in http.get("/v1/machines/fan-9/events").json()["events"]]
    assert [kind for kind in kinds if kind.startswith("calibrat")] == ["calibrated", "calibration_started"]


@pytest.mark.slow
def test_a_stream_goes_on_while_its_machine_gets_a_new_version(make_server: Any, workshop: Any) -> None:
    server = make_server()
    http, path = server.http, "/v1/machines/fan-1/calibration"
    http.post(path, json={"minutes": 3, "who": "ada"})
    sound = (workshop.normal(1, 215.0) * 32_767).astype("<i2").tobytes()
    report: dict[str, Any] = {}

    def pieces() -> Any:
        for start in range(0, len(sound), 32_000):
            if start == 32_000 * 195:
                wait_for(lambda: http.get(path).json()["done"])
                report.update(http.post(f"{path}:finish", json={"who": "ada"}).json())
            yield sound[start : start + 32_000]

    with httpx.Client(base_url=str(http.base_url), timeout=60, trust_env=False) as feeding:
        answer = feeding.post(
            "/v1/machines/fan-1/stream?realtime=false",
            content=pieces(),
            headers={"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"},
        )
    heard = [json.loads(line) for line in answer.text.splitlines()]
    assert report.get("version") == "2", report
    assert http.get("/v1/machines/fan-1").json()["model_version"] == "2"
    ends = [message["end_sample"] for message in heard if message["type"] == "score"]
    assert len(ends) > 200
    assert max(later - earlier for earlier, later in itertools.pairwise(ends)) < 2 * 16_000
    assert 215 * 16_000 - ends[-1] < 16_000
