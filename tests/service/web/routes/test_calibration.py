from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.synthetic import SyntheticMachine

ADA = {"who": "ada", "why": "a new microphone"}
PLACE = "/v1/machines/fan-9/calibration"


def until(server: Any, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    deadline_s = time.monotonic() + 60
    while True:
        told: dict[str, Any] = server.http.get(PLACE).json()
        if what(told):
            return told
        assert time.monotonic() < deadline_s, told
        time.sleep(0.02)


def play(server: Any, minutes: int) -> None:
    collector = server.app.state.service.live.machines.by_id["fan-9"].collector
    collector.begin(16_000, 16)
    for number in range(minutes):
        collector.push(np.round(SyntheticMachine(5).clip(number, 60.0) * 32_768).astype(np.float32) / 32_768)
    collector.push(SyntheticMachine(5).clip(99, 11.0))


def test_a_commissioning_from_the_order_to_the_report(make_server: Any) -> None:
    server = make_server()
    http = server.http
    begun = http.post(PLACE, json={"from_machine": "fan-1", **ADA})
    assert begun.status_code == 201
    plan = begun.json()["plan"]
    assert (plan["kind"], plan["stage_minutes"], plan["stretch_s"]) == ("day", [5, 15, 40, 101], 900.0)
    assert plan["normal_until_s"] - plan["start_s"] == 50 * 3_600
    assert begun.json()["accept"] == "automatic"
    assert http.get(f"{PLACE}/minutes/1.flac").json()["code"] == "minute_not_found"
    assert http.get(f"{PLACE}/minutes/{'9' * 4_000}.flac").json()["code"] == "request_invalid"
    play(server, 5)
    told = until(server, lambda told: told["stages"])
    assert (told["stages"][0]["minutes"], told["waits_for"], told["trouble"]) == (5, "sound", None)
    sound = http.get(f"{PLACE}/minutes/2.flac")
    assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/flac")
    samples, _ = soundfile.read(io.BytesIO(sound.content), dtype="int16")
    assert np.array_equal(samples, np.round(SyntheticMachine(5).clip(1, 60.0) * 32_768).astype(np.int16))
    dropped = http.post(f"{PLACE}:drop-minute", json={"number": 2, **ADA}).json()
    assert [lost["number"] for lost in dropped["lost_minutes"]] == [2]
    assert http.post(f"{PLACE}:accept", json=ADA).json()["code"] == "operation_refused"
    finished = http.post(f"{PLACE}:finish", json=ADA)
    assert (finished.status_code, finished.json()["version"]) == (200, "2")
    assert http.get(f"{PLACE}/report").json() == finished.json()
    assert http.get(PLACE).json()["code"] == "calibration_not_found"
    kinds = [event["kind"] for event in http.get("/v1/machines/fan-9/events").json()["events"]]
    assert [kind for kind in kinds if kind != "state_changed"] == [
        "calibrated",
        "minute_dropped",
        "calibration_stage",
        "calibration_started",
    ]


def test_minutes_alone_are_minutes_in_a_row(make_server: Any) -> None:
    http = make_server().http
    told = http.post(PLACE, json={"from_machine": "fan-1", "minutes": 20, **ADA}).json()
    assert (told["plan"]["kind"], told["wanted_minutes"], told["accept"]) == ("in_a_row", 20, "operator")
    assert told["plan"]["normal_until_s"] is None
    assert http.post(f"{PLACE}:cancel", json=ADA).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("calibration", {"plan": "month"}, 422, "request_invalid"),
        ("calibration", {"plan": "day", "minutes": 20}, 422, "request_invalid"),
        ("calibration", {"from_machine": "fan-1", "normal_hours": 3}, 422, "calibration_failed"),
        ("calibration", {"from_machine": "fan-1", "normal_hours": 0}, 422, "request_invalid"),
        ("calibration", {"from_machine": "fan-1", "minutes": 3, "normal_hours": 1e-320}, 422, "calibration_failed"),
        ("calibration", {"from_machine": "fan-1", "alarm_rate": 5e-324}, 422, "request_invalid"),
        ("calibration", {"from_machine": "fan-1", "alarm_rate": 1e-7, "warn_rate": 1e-7}, 422, "request_invalid"),
        ("calibration", {"from_machine": "fan-1", "accept": "nobody"}, 422, "request_invalid"),
        ("calibration:accept", {}, 404, "calibration_not_found"),
        ("calibration:keep-minute", {"number": 1}, 404, "calibration_not_found"),
        ("calibration:drop-minute", {"number": 0}, 422, "request_invalid"),
        ("calibration:drop-minute", {"number": 10**9}, 422, "request_invalid"),
        ("calibration:finish", {}, 404, "calibration_not_found"),
    ],
)
def test_what_cannot_be_ordered_is_named(
    client: Any, path: str, body: dict[str, object], status: int, code: str
) -> None:
    answer = client.post(f"/v1/machines/fan-9/{path}", json={**ADA, **body})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["calibration", "calibration/report", "calibration/minutes/1.flac"])
def test_a_machine_that_is_not_commissioned_has_no_progress(client: Any, path: str) -> None:
    answer = client.get(f"/v1/machines/fan-9/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "calibration_not_found")
