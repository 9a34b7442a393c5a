"""Live sound through a real server: what is heard, what is refused, and what goes on after a break."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from humwatch.synthetic import SyntheticMachine

RATE_HZ = 16_000
KEY = "a-key-for-these-tests"


@contextmanager
def speaking(server: Any, machine_id: str = "pump-2", *, key: str | None = None) -> Iterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"ws://127.0.0.1:{server.port}/v1/machines/{machine_id}/stream"
    with connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        yield socket


def say(socket: ClientConnection, kind: str, **fields: Any) -> None:
    socket.send(json.dumps({"type": kind, **fields}))


def hear(socket: ClientConnection, *kinds: str, timeout: float = 20.0) -> dict[str, Any]:
    """The next message of one of these kinds."""
    deadline = time.monotonic() + timeout
    while True:
        message = json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic())))
        if message["type"] in kinds:
            return dict(message)


def begin(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    say(socket, "hello", **{"rate_hz": RATE_HZ, "realtime": False, **fields})
    return hear(socket, "ready", "error")


def everything(socket: ClientConnection) -> list[dict[str, Any]]:
    messages = []
    try:
        while True:
            messages.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed:
        return messages


def s16(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def in_pieces(data: bytes, frame_bytes: int, rng: np.random.Generator, largest: int = 9_000) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = int(rng.integers(1, largest)) * frame_bytes
        yield data[at : at + size]
        at += size


def streamed(
    server: Any, data: bytes, rng: np.random.Generator, frame_bytes: int, **hello: Any
) -> list[dict[str, Any]]:
    with speaking(server) as socket:
        assert begin(socket, **hello)["type"] == "ready"
        for piece in in_pieces(data, frame_bytes, rng):
            socket.send(piece)
        say(socket, "eof")
        return everything(socket)


def timeline(messages: list[dict[str, Any]], rate_hz: int) -> list[tuple[float, float, float, float | None]]:
    return [
        (m["start_sample"] / rate_hz, m["end_sample"] / rate_hz, m["step_score"], m["score"])
        for m in messages
        if m["type"] == "score"
    ]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_a_file_a_websocket_and_a_chunked_body_give_equal_scores(
    server: Any, workshop: Any, rng: np.random.Generator, rate_hz: int
) -> None:
    machine = SyntheticMachine(seed=3, rate_hz=rate_hz)
    recording = workshop.encoded(machine.clip(300, 6.3), rate_hz)
    stored, _ = soundfile.read(io.BytesIO(recording), dtype="int16")
    url = "/v1/machines/pump-2/score"
    answer = server.http.post(url, content=recording, headers={"Content-Type": "audio/wav"}).json()
    expected = [(m["start_s"], m["end_s"], m["score"], m["clip_score"]) for m in answer["timeline"]]

    def chunks() -> Iterator[bytes]:
        yield from in_pieces(stored.astype(">i2").tobytes(), 1, rng)  # odd sizes too: half a sample waits

    body = server.http.post(
        "/v1/machines/pump-2/stream?realtime=false",
        content=chunks(),
        headers={"Content-Type": f"audio/L16;rate={rate_hz};channels=1"},
    )
    assert body.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in body.text.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("ready", "bye")
    floats = (stored / np.float32(32_768)).astype("<f4").tobytes()
    for messages in (
        streamed(server, stored.astype("<i2").tobytes(), rng, 2, rate_hz=rate_hz),
        streamed(server, floats, rng, 4, rate_hz=rate_hz, format="f32le"),
        lines,
    ):
        got = timeline(messages, rate_hz)
        assert [found[2:] for found in got] == [found[2:] for found in expected]
        assert np.allclose([found[:2] for found in got], [found[:2] for found in expected], atol=1 / rate_hz)
        bye = messages[-1]
        assert (bye["samples"], bye["gap_samples"], bye["steps"]) == (len(stored), 0, len(expected))
        assert bye["worst_score"] == answer["score"]


def test_one_channel_of_several_is_heard(server: Any, workshop: Any, rng: np.random.Generator) -> None:
    sound = workshop.normal(301, 5.0)
    both = np.stack([workshop.faulty(302, 5.0), sound], axis=1)
    alone = streamed(server, s16(sound), rng, 2)
    second = streamed(server, s16(both), rng, 4, channels=2, channel=1)
    assert timeline(second, RATE_HZ) == timeline(alone, RATE_HZ)
    with speaking(server) as socket:
        refused = begin(socket, channels=2, channel=2)
    assert (refused["code"], refused["retry"]) == ("audio_channel_missing", False)


def test_a_fault_becomes_an_alarm_with_its_sound(make_server: Callable[..., Any], workshop: Any) -> None:
    server = make_server()
    with speaking(server) as socket:
        begin(socket)
        normal = np.concatenate([workshop.normal(310 + i) for i in range(3)])
        faulty = np.concatenate([workshop.faulty(320 + i) for i in range(5)])
        for at in range(0, len(normal), 8_000):
            socket.send(s16(normal[at : at + 8_000]))
        for at in range(0, len(faulty), 8_000):
            socket.send(s16(faulty[at : at + 8_000]))
        while (change := hear(socket, "state"))["event"] != "raised":
            pass
        assert (change["alarm_id"], change["before"]) == ("pump-2-000001", "warning")
        say(socket, "eof")
        bye = hear(socket, "bye")
        assert bye["state"] == "alarm"
    http = server.http
    found = http.get("/v1/alarms?open=true").json()["alarms"]
    assert [alarm["id"] for alarm in found] == ["pump-2-000001"]
    record = http.get("/v1/alarms/pump-2-000001").json()
    assert record["status"] == "active"
    assert record["context"]["rule"]["on_delay_s"] == 5.0
    assert any(band["low_hz"] < 3_100 < band["high_hz"] for band in record["context"]["bands"])
    assert len(record["context"]["trace"]) > 5
    deadline = time.monotonic() + 20
    while http.get("/v1/alarms/pump-2-000001").json()["evidence"] != "kept":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    clip = http.get("/v1/alarms/pump-2-000001/clip.flac")
    assert clip.headers["content-type"] == "audio/flac"
    samples, rate_hz = soundfile.read(io.BytesIO(clip.content), dtype="float32")
    assert rate_hz == RATE_HZ
    sent = np.concatenate([normal, faulty])
    stored = np.frombuffer(s16(sent), "<i2") / np.float32(32_768)
    raised = record["context"]["source"]["sample"]
    end = raised + 10 * RATE_HZ
    start = end - len(samples)
    assert raised - start == (4 + 5 + 10) * RATE_HZ  # a clip, the on-delay, and what was before them
    assert np.array_equal(samples, stored[start : start + len(samples)])
    deadline = time.monotonic() + 20
    while (picture := http.get("/v1/alarms/pump-2-000001/picture.png")).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert picture.content.startswith(b"\x89PNG")


def test_operators_acknowledge_shelve_judge_and_every_order_is_audited(
    make_server: Callable[..., Any], workshop: Any
) -> None:
    server = make_server()
    http = server.http
    with speaking(server) as socket:
        begin(socket)
        for i in range(4):
            socket.send(s16(workshop.faulty(330 + i)))
        while hear(socket, "state")["event"] != "raised":
            pass
        alarm = "/v1/alarms/pump-2-000001"
        assert http.post(f"{alarm}:ack", json={"who": " "}).status_code == 422
        shelved = http.post(f"{alarm}:shelve", json={"who": "ann", "why": "repair", "for_s": 600}).json()
        assert shelved["shelved"]
        assert http.post(f"{alarm}:shelve", json={"who": "ann", "for_s": 1e6}).json()["code"] == "shelf_too_long"
        acked = http.post(f"{alarm}:ack", json={"who": "bob", "why": "seen"}).json()
        assert (acked["acknowledged"]["who"], acked["acknowledged"]["why"]) == ("bob", "seen")
        again = http.post(f"{alarm}:ack", json={"who": "bob"})
        assert (again.status_code, again.json()["code"]) == (409, "operation_refused")
        judged = http.post(f"{alarm}:feedback", json={"who": "cy", "verdict": "true_alarm", "cause": "bearing"}).json()
        assert (judged["feedback"]["verdict"], judged["feedback"]["cause"]) == ("true_alarm", "bearing")
        machine = "/v1/machines/pump-2"
        assert http.post(f"{machine}:out-of-service", json={"who": "ann"}).json()["state"] == "out_of_service"
        events = [hear(socket, "state")["event"] for _ in range(5)]
        assert {"shelved", "acknowledged", "out_of_service"} <= set(events)
        assert http.post(f"{machine}:in-service", json={"who": "ann"}).json()["state"] == "alarm"
        assert http.post(f"{machine}:unshelve", json={"who": "ann"}).json()["shelf"] is None
        off = http.post(f"{machine}:run-state", json={"who": "plc", "running": False}).json()
        assert off["run_signal"] is False
        trail = [event["kind"] for event in http.get(f"{machine}/events").json()["events"]]
        for kind in (
            "raised",
            "shelved",
            "acknowledged",
            "feedback",
            "out_of_service",
            "in_service",
            "unshelved",
            "run_signal",
        ):
            assert kind in trail, kind
    assert http.get("/v1/alarms/pump-2-000009").json()["code"] == "alarm_not_found"
    assert http.post("/v1/alarms/..%2f:ack", json={"who": "x"}).status_code in (404, 422)


def test_a_second_stream_is_refused_and_the_same_one_takes_over(server: Any, workshop: Any) -> None:
    with speaking(server) as first:
        assert begin(first, stream_id="mic")["resumed"] is False
        first.send(s16(workshop.normal(340, 3.0)))
        hear(first, "received")
        with speaking(server) as second:
            refused = begin(second, stream_id="other")
            assert (refused["code"], refused["retry"]) == ("stream_owned", False)
        with speaking(server) as again:
            ready = begin(again, stream_id="mic")
            assert (ready["resumed"], ready["next_sample"]) == (True, 3 * RATE_HZ)
            assert hear(first, "error")["code"] == "stream_owned"
            with pytest.raises(ConnectionClosed) as closed:
                first.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            again.send(s16(workshop.normal(341, 3.0)))
            say(again, "eof")
            assert hear(again, "bye")["samples"] == 6 * RATE_HZ


def test_the_newest_stream_wins_where_that_is_set(start_server: Callable[..., Any]) -> None:
    server = start_server(stream_owner="newest")
    with speaking(server) as first, speaking(server) as second:
        assert begin(first, stream_id="old")["type"] == "ready"
        assert begin(second, stream_id="new")["type"] == "ready"
        assert hear(first, "error")["code"] == "stream_owned"


def test_a_broken_stream_goes_on_where_it_was_and_what_is_sent_twice_counts_once(
    server: Any, workshop: Any, rng: np.random.Generator
) -> None:
    sound = s16(workshop.normal(350, 7.0))
    whole = timeline(streamed(server, sound, rng, 2), RATE_HZ)
    scores = []
    with speaking(server) as socket:
        begin(socket, stream_id="cut")
        socket.send(sound[: 2 * 50_000])
        hear(socket, "score")
    for start, end in ((20_000, 70_000), (70_000, 7 * RATE_HZ)):
        with speaking(server) as socket:
            ready = begin(socket, stream_id="cut", start_sample=start)
            assert ready["resumed"]
            say(socket, "position", sample=start)
            socket.send(sound[2 * start : 2 * end])
            if end == 7 * RATE_HZ:
                say(socket, "eof")
                messages = everything(socket)
                scores = timeline(messages, RATE_HZ)
                assert (messages[-1]["samples"], messages[-1]["gap_samples"]) == (7 * RATE_HZ, 0)
            else:
                hear(socket, "received", "score")
    assert scores
    assert scores == whole[-len(scores) :]


def test_a_gap_is_marked_counted_and_never_normal(make_server: Callable[..., Any], workshop: Any) -> None:
    server = make_server()
    with speaking(server) as socket:
        begin(socket)
        socket.send(s16(workshop.normal(360, 5.0)))
        say(socket, "position", sample=5 * RATE_HZ + 1_600)
        socket.send(s16(workshop.normal(361, 5.0)))
        fault = hear(socket, "warn")
        assert (fault["code"], fault["active"]) == ("drop_outs", True)
        say(socket, "eof")
        messages = everything(socket)
    assert (messages[-1]["gap_samples"], messages[-1]["state"]) == (1_600, "unknown")
    assert all(m["state"] == "unknown" for m in messages if m["type"] == "score")
    metrics = server.http.get("/metrics").text
    assert 'humwatch_audio_gap_seconds_total{machine_id="pump-2"} 0.1' in metrics
    assert 'humwatch_source_faults_total{machine_id="pump-2",fault="drop_outs"} 1.0' in metrics


@pytest.mark.parametrize(
    ("messages", "code", "close"),
    [
        ([b"\x00\x00"], "stream_invalid", 1007),
        (["no json"], "stream_invalid", 1007),
        (['{"type":"hello"}'], "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":16000,"pitch":1}'], "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":16000,"version":2}'], "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":100}'], "audio_rate_unsupported", 1003),
        (['{"type":"hello","rate_hz":16000,"channels":17}'], "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":16000}'] * 2, "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":16000}', b"\x00", '{"type":"eof"}'], "stream_invalid", 1007),
        (['{"type":"hello","rate_hz":16000,"format":"f32le"}', b"\x00\x00\xc0\x7f"], "audio_not_finite", 1003),
    ],
)
def test_what_breaks_the_protocol_is_named_and_the_connection_closed(
    server: Any, messages: list[str | bytes], code: str, close: int
) -> None:
    with speaking(server) as socket:
        for message in messages:
            socket.send(message)
        error = hear(socket, "error")
        assert (error["code"], error["retry"]) == (code, False)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close
    assert server.http.get("/livez").status_code == 200


def test_a_message_that_is_too_big_closes_with_1009(server: Any) -> None:
    with speaking(server) as socket:
        limit = begin(socket)["limits"]["max_message_bytes"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.send(b"\x00" * (limit + 2))
            while True:
                socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_strangers_and_unknown_machines_are_refused_before_the_upgrade(start_server: Callable[..., Any]) -> None:
    server = start_server(api_keys=(KEY,))
    for machine_id, key, status, code in (
        ("pump-2", None, 401, "unauthorised"),
        ("pump-2", "wrong-wrong-wrong-wrong", 401, "unauthorised"),
        ("nobody", KEY, 404, "machine_not_found"),
        ("Not%20an%20id", KEY, 422, "machine_id_invalid"),
    ):
        with pytest.raises(InvalidStatus) as refused, speaking(server, machine_id, key=key):
            pass
        response = refused.value.response
        assert response.status_code == status
        assert json.loads(response.body or b"")["code"] == code
    with speaking(server, key=KEY) as socket:
        assert begin(socket)["type"] == "ready"


def test_pages_of_other_sites_may_not_open_a_stream(server: Any) -> None:
    url = f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers={"Origin": "http://evil.example"}, proxy=None),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_streams_beyond_the_limit_are_told_to_come_back(start_server: Callable[..., Any]) -> None:
    server = start_server(max_streams=1)
    with speaking(server, "pump-2") as first, speaking(server, "fan-1") as second:
        assert begin(first)["type"] == "ready"
        refused = begin(second)
        assert (refused["code"], refused["retry"], refused["retry_after_s"]) == ("streams_full", True, 10)
        with pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


def test_a_stream_that_says_nothing_is_closed_and_its_machine_unknown(start_server: Callable[..., Any]) -> None:
    server = start_server(stream_idle_timeout_s=1.0, no_sound_s=1.0)
    with speaking(server) as socket:
        begin(socket)
        assert hear(socket, "error", timeout=5)["code"] == "stream_idle"
    status = server.http.get("/v1/machines/pump-2/status").json()
    assert (status["state"], status["reasons"], status["stream"]["connected"]) == ("unknown", ["no_sound"], False)


def test_sound_that_ends_makes_the_machine_unknown(make_server: Callable[..., Any], workshop: Any) -> None:
    server = make_server(no_sound_s=1.0)
    with speaking(server) as socket:
        begin(socket)
        for i in range(3):
            socket.send(s16(workshop.normal(370 + i)))
        while hear(socket, "state")["state"] != "normal":
            pass
        change = hear(socket, "state", timeout=10)
        assert (change["state"], change["reasons"]) == ("unknown", ["no_sound"])


def framed(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


def test_a_flood_of_tiny_messages_is_heard_in_order_to_the_last_byte(server: Any, workshop: Any) -> None:
    data = s16(workshop.normal(381))[: RATE_HZ * 4]
    with speaking(server) as socket:
        begin(socket)
        flood = [framed(Opcode.BINARY, data[at : at + 3]) for at in range(0, len(data), 3)]
        flood.insert(len(flood) // 2, framed(Opcode.TEXT, b'{"type": "clock", "sample": 0, "time_s": 0.0}'))
        socket.socket.sendall(b"".join(flood))  # 20,000 messages in a few readings
        say(socket, "eof")
        messages = everything(socket)
    assert messages[-1]["samples"] == 2 * RATE_HZ
    received = [message["sample"] for message in messages if message["type"] == "received"]
    assert received == sorted(received)
    assert received[0] == pytest.approx(RATE_HZ, abs=2)


@pytest.mark.slow
def test_a_client_that_does_not_read_slows_nobody(server: Any, workshop: Any) -> None:
    with speaking(server) as lazy, speaking(server, "fan-1") as other:
        begin(lazy)
        begin(other)
        sound = s16(workshop.normal(380))
        for _ in range(6):
            lazy.send(sound)
            other.send(sound)
        say(other, "eof")
        assert hear(other, "bye")["samples"] == 6 * 5 * RATE_HZ


def test_a_chunked_body_is_refused_by_name_before_it_is_read(server: Any) -> None:
    for headers, status, code in (
        ({"Content-Type": "audio/wav"}, 415, "media_type_unsupported"),
        ({"Content-Type": "audio/L16"}, 415, "media_type_unsupported"),
        ({"Content-Type": "audio/x-raw;format=MP3;rate=16000"}, 415, "media_type_unsupported"),
        ({"Content-Type": "audio/L16;rate=1"}, 422, "audio_rate_unsupported"),
        ({"Content-Type": "audio/L16;rate=16000;channels=99"}, 422, "request_invalid"),
    ):
        answer = server.http.post("/v1/machines/pump-2/stream", content=b"\x00" * 32, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = server.http.post("/v1/machines/nobody/stream", content=b"")
    assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")


def test_a_chunked_body_may_be_larger_than_any_other(start_server: Callable[..., Any], workshop: Any) -> None:
    server = start_server(max_body_bytes=10_000)
    answer = server.http.post(
        "/v1/machines/pump-2/stream?realtime=false",
        content=s16(workshop.normal(390)),
        headers={"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"},
    )
    assert json.loads(answer.text.splitlines()[-1])["samples"] == 5 * RATE_HZ


def test_a_reload_loses_no_second_of_a_stream(make_server: Callable[..., Any], models: Any, workshop: Any) -> None:
    server = make_server()
    with speaking(server) as socket:
        begin(socket)
        for i in range(8):
            socket.send(s16(workshop.normal(400 + i)))
            if i == 2:
                workshop.make_bundle(
                    models, "pump-2", "2", workshop.constant_graph(), workshop.recordings, kind="spectrum_profile"
                )
                states = server.http.post("/v1/models:reload").json()["models"]
                assert ("pump-2", "2") in {(m["machine_id"], m["version"]) for m in states}
        say(socket, "eof")
        messages = everything(socket)
    scores = [m for m in messages if m["type"] == "score"]
    assert all(after["start_sample"] <= before["end_sample"] for before, after in pairwise(scores))
    first_clip = next(i for i, m in enumerate(messages) if m["type"] == "score" and m["score"] is not None)
    assert all(m["score"] is not None for m in messages[first_clip:] if m["type"] == "score")
    assert {m["state"] for m in messages[first_clip + 1 :] if m["type"] == "score"} == {"normal"}


def test_history_has_every_second(make_server: Callable[..., Any], workshop: Any) -> None:
    server = make_server()
    now_s = time.time()
    with speaking(server) as socket:
        begin(socket, realtime=True, start_time_s=now_s - 40.0)
        sound = s16(np.concatenate([workshop.normal(410 + i) for i in range(6)]))
        for at in range(0, len(sound), 16_000):
            socket.send(sound[at : at + 16_000])
        say(socket, "eof")
        hear(socket, "bye")
    server.app.state.service.live.recorder.flush(())
    points = server.http.get("/v1/machines/pump-2/history?resolution=second").json()
    assert len(points) >= 25
    assert points[0]["at_s"] == pytest.approx(now_s - 39, abs=2)
    assert any(point["score_mean"] is not None for point in points)


def test_an_httpx_client_gets_the_answer_while_it_sends(server: Any, workshop: Any) -> None:
    sound = s16(workshop.normal(420, 6.0))

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(sound), 32_000):
            yield sound[at : at + 32_000]
            time.sleep(0.05)

    headers = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000"}
    with httpx.Client(trust_env=False) as http:
        url = f"http://127.0.0.1:{server.port}/v1/machines/pump-2/stream?realtime=false"
        with http.stream("POST", url, content=slowly(), headers=headers, timeout=20) as answer:
            kinds = [json.loads(line)["type"] for line in answer.iter_lines()]
    assert kinds[0] == "ready"
    assert kinds[-1] == "bye"
