"""Sensors that sleep, wake up and push a few seconds: their bursts are judged as one stream."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
FAN = "fan-id_00"
PCM = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"}
SECOND = 32_000  # bytes


def example(name: str) -> bytes:
    samples, _ = soundfile.read(ROOT / "models" / FAN / "examples" / f"{name}.wav", dtype="int16")
    return bytes(np.asarray(samples).astype("<i2").tobytes())


NORMAL, ANOMALOUS = example("normal"), example("anomalous")


@pytest.fixture
def serve(make_server: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **given: make_server(models_dir=ROOT / "models", **given)


def post(server: Any, sound: Any, **said: Any) -> list[dict[str, Any]]:
    answer = server.http.post(f"/v1/machines/{FAN}/stream", params=said, headers=PCM, content=sound)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def raised(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message.get("event") == "raised"]


def bursts(
    server: Any, sound: bytes, *, count: int, seconds: float = 10.0, every_s: float = 600.0, **said: Any
) -> list[dict[str, Any]]:
    """What is answered to bursts cut out of a sound one after the other, each with its own time."""
    size, begun_s, messages = 2 * round(seconds * SECOND / 2), time.time() - every_s * count, []
    looped = sound * (2 + count * size // len(sound))
    for number in range(count):
        start_s = begun_s + number * every_s
        messages += post(server, looped[number * size : (number + 1) * size], start_time_s=start_s, **said)
    return messages


@pytest.mark.parametrize(("seconds", "count"), [(10.0, 4), (3.0, 12), (0.7, 60)])
def test_bursts_that_belong_together_alarm_and_normal_ones_never_do(
    serve: Callable[..., Any], seconds: float, count: int
) -> None:
    server = serve()
    normal = bursts(server, NORMAL, count=count, seconds=seconds, join_s=900)
    assert not raised(normal)
    scores = [message["score"] for message in normal if message["type"] == "score" and message["score"] is not None]
    assert len(scores) > 20
    assert max(scores) < 0.5
    assert {message["state"] for message in normal if message["type"] == "score" and message["score"] is not None} == {
        "normal"
    }
    assert not [message for message in normal if message["type"] == "warn"]
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["stream"]["gap_samples"] == 0
    assert len(raised(bursts(server, ANOMALOUS, count=count, seconds=seconds, join_s=900))) == 1


def test_without_joining_each_burst_begins_anew(serve: Callable[..., Any]) -> None:
    server = serve()
    assert not raised(bursts(server, ANOMALOUS, count=4))


def test_a_setting_of_the_machine_joins_too(serve: Callable[..., Any]) -> None:
    server = serve(machines={FAN: {"join_s": 900.0}})
    assert len(raised(bursts(server, ANOMALOUS, count=4))) == 1


def test_bursts_are_dated_one_by_one(serve: Callable[..., Any]) -> None:
    server = serve()
    begun_s = int(time.time()) - 1_800
    for number in range(3):
        post(server, NORMAL, start_time_s=begun_s + 600 * number, join_s=900)
    server.app.state.service.live.recorder.flush(())
    params = {"resolution": "second", "start_s": begun_s - 60, "end_s": begun_s + 1_800}
    rows = server.http.get(f"/v1/machines/{FAN}/history", params=params).json()
    by_burst = [[row["at_s"] for row in rows if 0 <= row["at_s"] - begun_s - 600 * n < 60] for n in range(3)]
    assert sum(map(len, by_burst)) == len(rows) >= 28
    assert all(max(each) - begun_s - 600 * n <= 10 for n, each in enumerate(by_burst))
    now_s = time.time()
    post(server, NORMAL, join_s=900)  # without a time: it ended when it came
    server.app.state.service.live.recorder.flush(())
    params = {"resolution": "second", "start_s": now_s - 30, "end_s": now_s + 30}
    rows = server.http.get(f"/v1/machines/{FAN}/history", params=params).json()
    assert len(rows) >= 9
    assert rows[0]["at_s"] == pytest.approx(now_s - 10, abs=2)


def test_a_websocket_joins_its_bursts_as_well(serve: Callable[..., Any]) -> None:
    server = serve()
    messages = []
    for _ in range(4):
        url = f"ws://127.0.0.1:{server.port}/v1/machines/{FAN}/stream"
        with connect(url, proxy=None, compression=None) as socket:
            socket.send(json.dumps({"type": "hello", "rate_hz": 16_000, "join_s": 900}))
            for at in range(0, len(ANOMALOUS), SECOND):
                socket.send(ANOMALOUS[at : at + SECOND])
            socket.send(json.dumps({"type": "eof"}))
            while not messages or messages[-1]["type"] != "bye":
                messages.append(json.loads(socket.recv(timeout=20)))
            assert messages[-1]["samples"] == 160_000
            messages.append({"type": "next"})
    assert len(raised(messages)) == 1


def test_the_machine_is_heard_in_the_pauses_and_no_longer(serve: Callable[..., Any]) -> None:
    server = serve(no_sound_s=1, machines={FAN: {"join_s": 4.0}})
    post(server, NORMAL)
    post(server, NORMAL)  # a whole clip, and the rest of its last second
    machine = server.app.state.service.live.machines.get(FAN)
    assert not machine.silent_for(1.0)
    deadline = time.monotonic() + 30
    while machine.state != "unknown" and time.monotonic() < deadline:
        assert machine.state == "normal"
        time.sleep(0.02)
    assert machine.alarm.reasons == ("no_sound",)
    assert time.monotonic() - machine.stream.arrivals.last_s >= 4.0
    again = post(server, NORMAL)
    assert again[0]["resumed"] is False  # the pause was too long


def test_another_format_or_name_is_another_stream(serve: Callable[..., Any]) -> None:
    server = serve()
    first = post(server, NORMAL, join_s=900)[0]
    second = post(server, NORMAL, join_s=900)[0]
    assert (second["resumed"], second["stream_id"]) == (True, first["stream_id"])
    named = post(server, NORMAL, join_s=900, stream_id="sensor-1")[0]
    assert (named["resumed"], named["stream_id"]) == (False, "sensor-1")
    assert post(server, NORMAL, join_s=900, stream_id="sensor-1")[0]["resumed"] is True
    headers = {"Content-Type": "audio/x-raw;format=S16LE;rate=8000;channels=1"}
    other = server.http.post(f"/v1/machines/{FAN}/stream?join_s=900", headers=headers, content=NORMAL)
    assert json.loads(other.text.splitlines()[0])["resumed"] is False


def test_two_bursts_at_once_are_not_mixed(serve: Callable[..., Any]) -> None:
    server = serve()
    go_on, begun = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield NORMAL[:SECOND]
        begun.set()
        go_on.wait(30)
        yield NORMAL[SECOND:]

    answers: list[list[dict[str, Any]]] = []
    sending = threading.Thread(target=lambda: answers.append(post(server, slowly(), join_s=900)))
    sending.start()
    begun.wait(30)
    machine = server.app.state.service.live.machines.get(FAN)
    while machine.stream is None or machine.stream.accepted < 16_000:
        assert sending.is_alive()
        time.sleep(0.01)
    refused = server.http.post(f"/v1/machines/{FAN}/stream?join_s=900", headers=PCM, content=ANOMALOUS)
    assert (refused.status_code, refused.json()["code"]) == (409, "stream_owned")
    go_on.set()
    sending.join(30)
    assert answers[0][-1]["samples"] == 160_000
    assert post(server, NORMAL, join_s=900)[0]["resumed"] is True


def test_a_restart_between_two_bursts_takes_nothing_of_either(serving: Callable[..., Any], tmp_path: Path) -> None:
    given = {"models_dir": ROOT / "models", "state_dir": tmp_path / "state"}
    with serving(**given) as server:
        post(server, ANOMALOUS, join_s=900, stream_id="sensor-1")
    with serving(**given) as server:
        messages = []
        for _ in range(4):
            messages += post(server, ANOMALOUS, join_s=900, stream_id="sensor-1")
        assert [message["samples"] for message in messages if message["type"] == "bye"] == 4 * [160_000]
        assert len([message for message in messages if message["type"] == "score"]) >= 38
        assert len(raised(messages)) == 1


def test_a_burst_that_is_sent_again_is_heard_once(serve: Callable[..., Any]) -> None:
    server = serve()
    start_s = time.time() - 3_600
    for number in range(6):
        answer = post(server, ANOMALOUS, join_s=900, start_time_s=start_s)
        assert not raised(answer)
        assert answer[-1]["samples"] == (0 if number else 160_000)
        assert [m["code"] for m in answer if m["type"] == "warn"] == (["sent_again"] if number else [])
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["stream"]["samples"] == 160_000
    short = post(server, ANOMALOUS[:2_000], join_s=900, start_time_s=start_s)
    assert [m["code"] for m in short if m["type"] == "warn"] == ["clock_stands"]  # shorter: it cannot be told


def test_a_burst_that_broke_and_is_sent_again_goes_on_where_it_broke(serve: Callable[..., Any]) -> None:
    server = serve()
    start_s = int(time.time()) - 3_600
    post(server, NORMAL[: 3 * SECOND], join_s=900, start_time_s=start_s)
    again = post(server, NORMAL, join_s=900, start_time_s=start_s)
    assert [m["code"] for m in again if m["type"] == "warn"] == ["sent_again"]
    assert again[-1]["samples"] == 7 * 16_000
    assert server.http.get(f"/v1/machines/{FAN}/status").json()["stream"]["samples"] == 160_000
    server.app.state.service.live.recorder.flush(())
    params = {"resolution": "second", "start_s": start_s, "end_s": start_s + 60}
    rows = server.http.get(f"/v1/machines/{FAN}/history", params=params).json()
    assert rows[-1]["at_s"] - start_s in (8, 9)


def test_a_sensor_whose_clock_stands_still_is_heard(serve: Callable[..., Any]) -> None:
    server = serve()
    messages, begun_s = [], time.time()
    for number in range(5):
        sound = ANOMALOUS[2 * 8_000 * number :] + ANOMALOUS[: 2 * 8_000 * number]
        messages += post(server, sound, join_s=900, start_time_s=1.5e9)
    assert len(raised(messages)) == 1
    assert [m["code"] for m in messages if m["type"] == "warn"] == 4 * ["clock_stands"]
    server.app.state.service.live.recorder.flush(())
    params = {"resolution": "second", "start_s": begun_s - 20, "end_s": begun_s + 120}
    assert server.http.get(f"/v1/machines/{FAN}/history", params=params).json()


@pytest.mark.parametrize("join_s", ["nan", "inf", "0", "-1", "1e9", "soon"])
def test_pauses_that_are_none_are_refused(serve: Callable[..., Any], join_s: str) -> None:
    answer = serve().http.post(f"/v1/machines/{FAN}/stream", params={"join_s": join_s}, headers=PCM, content=NORMAL)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_empty_bursts_and_odd_bytes_harm_nobody(serve: Callable[..., Any]) -> None:
    server = serve()
    for _ in range(20):
        assert post(server, b"", join_s=900)[-1]["type"] == "bye"
    assert post(server, NORMAL + b"\x00", join_s=900)[-1]["code"] == "stream_invalid"
    assert post(server, NORMAL, join_s=900)[0]["resumed"] is True
