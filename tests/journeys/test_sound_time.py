"""Sound is kept at the time at which it was recorded, whenever it comes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner
from websockets.sync.client import connect

from humwatch_service.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FAN = "fan-id_00"
PCM = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"}
HOUR_S = 3_600.0
DAY_S = 86_400.0


def example(name: str) -> bytes:
    samples, _ = soundfile.read(ROOT / "models" / FAN / "examples" / f"{name}.wav", dtype="int16")
    return bytes(np.asarray(samples).astype("<i2").tobytes())


NORMAL, ANOMALOUS = example("normal"), example("anomalous")
FAULT = NORMAL + 3 * ANOMALOUS
"""40 s, of which the last 30 are not normal."""


@pytest.fixture
def server(make_server: Callable[..., Any]) -> Any:
    return make_server(models_dir=ROOT / "models")


def post(server: Any, sound: bytes, **said: Any) -> list[dict[str, Any]]:
    answer = server.http.post(f"/v1/machines/{FAN}/stream", params=said, headers=PCM, content=sound)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def seconds(server: Any, start_s: float, end_s: float) -> list[dict[str, Any]]:
    server.app.state.service.live.recorder.flush(())
    params = {"resolution": "second", "start_s": start_s, "end_s": end_s}
    return list(server.http.get(f"/v1/machines/{FAN}/history", params=params).json())


def warnings(messages: list[dict[str, Any]]) -> list[str]:
    return [message["code"] for message in messages if message["type"] == "warn"]


@pytest.mark.parametrize("realtime", ["true", "false"])
@pytest.mark.parametrize("ago_s", [2 * HOUR_S, DAY_S, 10 * DAY_S])
def test_a_backlog_has_its_own_time(server: Any, ago_s: float, realtime: str) -> None:
    start_s = int(time.time() - ago_s)
    messages = post(server, FAULT, realtime=realtime, start_time_s=start_s)
    assert not {"start_time_ignored", "undated", "from_the_future"} & set(warnings(messages))
    rows = seconds(server, start_s, start_s + 60)
    assert len(rows) >= 39
    assert (rows[0]["at_s"] - start_s, rows[-1]["at_s"] - start_s) == (0, 39)
    now_s = time.time()
    assert seconds(server, now_s - 120, now_s + 60) == []
    raised = [message for message in messages if message.get("event") == "raised"]
    alarm = server.http.get(f"/v1/alarms/{raised[0]['alarm_id']}").json()
    assert start_s + 10 < alarm["raised_s"] == raised[0]["at_s"] < start_s + 40
    assert alarm["late_s"] == pytest.approx(ago_s, abs=120)
    assert alarm["heard_s"] == pytest.approx(now_s, abs=60)
    assert alarm["announced_s"] == pytest.approx(now_s, abs=60)
    assert all(start_s <= point["at_s"] <= start_s + 40 for point in alarm["context"]["trace"])
    events = server.http.get(f"/v1/machines/{FAN}/events").json()["events"]
    told = next(event for event in events if event["kind"] == "raised")
    assert told["details"]["late_s"] == pytest.approx(ago_s, abs=120)
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["heard_s"] == pytest.approx(start_s + 40, abs=2)


@pytest.mark.parametrize(
    ("start_time_s", "word"),
    [
        (1e9, None),
        (6.0e8, "before 1990"),
        (0.0, "before 1990"),
        (-1e300, "before 1990"),
        (4e9, "clock"),
        (1e300, "clock"),
        (1_796_046_300_000.0, "milliseconds"),
        (1.7e15, "microseconds"),
    ],
)
def test_what_cannot_be_is_ignored_with_a_word(server: Any, start_time_s: float, word: str | None) -> None:
    now_s = time.time()
    messages = post(server, NORMAL, realtime="false", start_time_s=start_time_s)
    if word is None:
        assert warnings(messages) == []
        assert len(seconds(server, start_time_s, start_time_s + 20)) >= 9
        return
    assert warnings(messages) == ["start_time_ignored"]
    assert any(word in message.get("message", "") for message in messages)
    assert len(seconds(server, now_s - 11, now_s + 5)) >= 9  # by its arrival
    page = server.http.get("/metrics").text
    assert f'humwatch_sound_redated_total{{machine_id="{FAN}",reason="start_time_ignored"}} 1' in page


@pytest.mark.parametrize("said", ["nan", "inf", "-inf"])
def test_what_is_no_time_is_refused(server: Any, said: str) -> None:
    url = f"/v1/machines/{FAN}/stream"
    answer = server.http.post(url, params={"start_time_s": said}, headers=PCM, content=NORMAL)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_a_start_of_now_for_sound_that_would_last_into_the_future_is_that_of_its_end(server: Any) -> None:
    now_s = time.time()
    messages = post(server, FAULT, realtime="false", start_time_s=now_s)
    assert warnings(messages) == ["start_time_ignored"]
    rows = seconds(server, now_s - 60, now_s + 30)
    assert len(rows) >= 39
    assert rows[-1]["at_s"] <= now_s + 2


@pytest.mark.parametrize("realtime", ["true", "false"])
def test_a_recording_without_a_start_ends_now(server: Any, realtime: str) -> None:
    now_s = time.time()
    messages = post(server, FAULT, realtime=realtime)
    assert "undated" not in warnings(messages)
    rows = seconds(server, now_s - 60, now_s + 30)
    assert len(rows) >= 39
    assert rows[0]["at_s"] == pytest.approx(now_s - 40, abs=3)


def test_a_burst_of_unknown_length_ends_when_it_came(server: Any) -> None:
    now_s = time.time()
    with connect(f"ws://127.0.0.1:{server.port}/v1/machines/{FAN}/stream", proxy=None, compression=None) as line:
        line.send(json.dumps({"type": "hello", "rate_hz": 16_000}))
        for at in range(0, len(NORMAL) - 64_000, 3_200):
            line.send(NORMAL[at : at + 3_200])
        line.send(json.dumps({"type": "eof"}))
        while json.loads(line.recv(timeout=20))["type"] != "bye":
            pass
    rows = seconds(server, now_s - 60, now_s + 30)
    assert len(rows) >= 7
    assert rows[0]["at_s"] == pytest.approx(now_s - 8, abs=2)


def test_sound_of_unknown_length_that_is_faster_than_time_does_not_collapse(server: Any) -> None:
    begun_s = time.time()

    def pieces() -> Any:
        for at in range(0, len(FAULT), 32_000):
            yield FAULT[at : at + 32_000]

    answer = server.http.post(f"/v1/machines/{FAN}/stream?realtime=false", headers=PCM, content=pieces())
    messages = [json.loads(line) for line in answer.text.splitlines()]
    assert warnings(messages) == ["undated"]
    rows = seconds(server, begun_s - DAY_S - 60, time.time() + 10)
    assert len(rows) >= 30
    assert max(row["at_s"] for row in rows) - min(row["at_s"] for row in rows) >= 30
    raised = next(message for message in messages if message.get("event") == "raised")
    assert begun_s <= raised["at_s"] <= time.time()


def test_what_is_older_comes_later_and_takes_no_second_that_was_heard(server: Any) -> None:
    start_s = int(time.time() - DAY_S)
    post(server, FAULT, realtime="false", start_time_s=start_s)
    before = seconds(server, start_s, start_s + 60)
    post(server, NORMAL, realtime="false", start_time_s=start_s - 300)
    assert len(seconds(server, start_s - 300, start_s - 280)) >= 9
    post(server, NORMAL + NORMAL + NORMAL, realtime="false", start_time_s=start_s + 10)
    after = seconds(server, start_s, start_s + 60)
    judged = [row for row in before if set(row["states"]) != {"unknown"}]
    assert [row for row in after if row["at_s"] in {each["at_s"] for each in judged}] == judged


def test_the_gauges_say_how_old_the_sound_is(server: Any) -> None:
    post(server, FAULT, realtime="false", start_time_s=time.time() - DAY_S)
    lines = {
        line.split("{")[0]: float(line.rsplit(" ", 1)[1])
        for line in server.http.get("/metrics").text.splitlines()
        if line.startswith(("humwatch_sound_age_seconds{", "humwatch_alarm_sound_age", "humwatch_audio_last_sample"))
        and f'machine_id="{FAN}"' in line
    }
    assert lines["humwatch_sound_age_seconds"] == pytest.approx(DAY_S, abs=120)
    assert lines["humwatch_alarm_sound_age_seconds"] == pytest.approx(DAY_S, abs=120)
    assert lines["humwatch_audio_last_sample_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_an_alarm_about_old_sound_is_in_force_since_that_was_heard(server: Any) -> None:
    begun_s = time.time()
    post(server, FAULT, realtime="false", start_time_s=begun_s - DAY_S)
    with server.http.stream("GET", "/v1/live") as answer:
        told = next(line for line in answer.iter_lines() if line.startswith("data:"))
    tile = json.loads(told.removeprefix("data:"))["machines"][0]
    assert tile["alarm_id"] == f"{FAN}-000001"
    assert begun_s - 1 < tile["alarm_since_s"] < time.time() + 1


def test_after_a_backlog_live_sound_is_from_now(server: Any) -> None:
    post(server, FAULT, realtime="false", start_time_s=time.time() - DAY_S)
    now_s = time.time()
    post(server, NORMAL)
    rows = seconds(server, now_s - 20, now_s + 20)
    assert len(rows) >= 9
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["heard_s"] > now_s - 15


@pytest.mark.parametrize("hello", [{}, {"realtime": False}, {"join_s": 900}, {"start_time_s": 1.5e9}])
def test_gaps_of_years_break_nothing(server: Any, hello: dict[str, Any]) -> None:
    begun_s = time.time()
    url = f"ws://127.0.0.1:{server.port}/v1/machines/{FAN}/stream"
    for far in (1 << 62, 10**12):
        with connect(url, proxy=None, compression=None) as line:
            line.send(json.dumps({"type": "hello", "rate_hz": 16_000, **hello}))
            line.send(NORMAL[:64_000])
            line.send(json.dumps({"type": "position", "sample": far}))
            line.send(NORMAL)
            line.send(json.dumps({"type": "eof"}))
            messages = [{"type": "none"}]
            while messages[-1]["type"] not in ("bye", "error"):
                messages.append(json.loads(line.recv(timeout=20)))
        assert messages[-1]["type"] == "bye"
    heard_s = server.http.get(f"/v1/machines/{FAN}/status").json()["heard_s"]
    assert (1.5e9 if "start_time_s" in hello else begun_s - 60) < heard_s <= time.time()


def test_a_body_without_an_end_by_its_length_is_from_now(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        head = (
            f"POST /v1/machines/{FAN}/stream?realtime=false HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**17}\r\n"
        )
        line.sendall(f"{head}Content-Type: {PCM['Content-Type']}\r\n\r\n".encode() + NORMAL[:320_000])
        heard = b""
        while b'"score"' not in heard:
            heard += (more := line.recv(65_536))
            assert more, heard
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["heard_s"] == pytest.approx(time.time(), abs=30)


def test_replay_says_that_a_start_that_cannot_be_is_not_believed(server: Any) -> None:
    path = ROOT / "models" / FAN / "examples" / "normal.wav"
    url = f"http://127.0.0.1:{server.port}"
    arguments = ["replay", str(path), "--machine", FAN, "--url", url, "--speed", "0", "--start-time", "2126-01-01"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("warning: start_time_ignored: start_time_s: the sound would be from 2126") == 1
