"""Looking on at a real server: what comes, what comes again after a break, and who has to wait."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from humwatch.bundle.bundle import read_bundle
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.scoring.explain import explain_bands
from humwatch_service.viewers.events import (
    AlarmAnnouncement,
    FleetChanges,
    FleetNow,
    MachineHello,
    SoundStep,
    Tick,
    Tile,
)
from humwatch_service.viewers.viewer import MAX_WAITING
from humwatch_service.web.server import STALLED_S, BoundedProtocol
from tests.event_reader import EventReader, reading

RATE_HZ = 16_000
PCM = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"}
FLEET, SOUND = "/v1/live", "/v1/machines/pump-2/live"


def pcm(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def play(server: Any, samples: np.ndarray, machine_id: str = "pump-2", stream_id: str | None = None) -> None:
    """Stream sound to its end; everything is scored then."""
    named = {} if stream_id is None else {"stream_id": stream_id}
    answer = server.http.post(
        f"/v1/machines/{machine_id}/stream", params={"realtime": "false", **named}, headers=PCM, content=pcm(samples)
    )
    assert '"type":"bye"' in answer.text.replace(" ", "")


@pytest.fixture
def watched(make_server: Any) -> Any:
    return make_server(max_viewers=3)


def test_all_machines_come_at_once_and_in_order(watched: Any) -> None:
    with reading(watched.http, FLEET) as events:
        first = events.next()
        assert (first.name, first.retry) == ("fleet", "2000")
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        whole = FleetNow.model_validate(first.data)
        assert [(tile.machine_id, tile.machine_type, tile.state) for tile in whole.machines] == [
            ("fan-1", "fan", "unknown"),
            ("pump-2", "pump", "unknown"),
        ]
        assert not whole.machines[0].listened
        beat = events.until(lambda event: event.name == "changes" and not event.data["machines"])
        assert FleetChanges.model_validate(beat.data).gone == []


def test_what_is_new_of_a_machine_comes_and_makes_the_whole_again(watched: Any, workshop: Any) -> None:
    with reading(watched.http, FLEET) as events:
        tiles = {tile["machine_id"]: tile for tile in events.next().data["machines"]}
        play(watched, workshop.faulty(seconds=20.0))
        told = events.until(lambda event: event.name == "alarm" and event.data["kind"] == "raised")
        alarm = AlarmAnnouncement.model_validate(told.data)
        assert (alarm.machine_id, alarm.alarm_id, alarm.announced) == ("pump-2", "pump-2-000001", True)
        events.until(lambda event: any(tile["alarm_id"] for tile in event.data.get("machines", [])))
        for event in events.seen[1:]:
            tiles.update({tile["machine_id"]: tile for tile in event.data.get("machines", [])})
    with reading(watched.http, FLEET) as again:
        now = {tile["machine_id"]: tile for tile in again.next().data["machines"]}
    tile = Tile.model_validate(tiles["pump-2"])
    assert (tile.alarm_id, tile.acknowledged, tile.listened) == ("pump-2-000001", False, True)
    assert tile.alarm_since_s == pytest.approx(alarm.at_s)
    assert tiles["fan-1"] == now["fan-1"]
    assert tiles["pump-2"]["alarm_since_s"] == now["pump-2"]["alarm_since_s"]


def test_an_acknowledged_alarm_is_told_and_shown(watched: Any, workshop: Any) -> None:
    play(watched, workshop.faulty(seconds=20.0))
    with reading(watched.http, FLEET) as events:
        assert events.next().data["machines"][1]["acknowledged"] is False
        watched.http.post("/v1/alarms/pump-2-000001:ack", json={"who": "ann", "why": "looking"}).raise_for_status()
        events.until(lambda event: event.name == "alarm" and event.data["kind"] == "acknowledged")
        events.until(lambda event: [tile["acknowledged"] for tile in event.data.get("machines", [])] == [True])


def test_a_machine_that_went_is_named(make_server: Any, models: Any) -> None:
    server = make_server()
    with reading(server.http, FLEET) as events, reading(server.http, "/v1/machines/fan-1/live") as sound:
        events.next()
        assert sound.next().name == "hello"
        (models / "fan-1").rename(models.parent / "fan-1")
        server.http.post("/v1/models:reload").raise_for_status()
        assert events.until(lambda event: event.data.get("gone"))
        assert events.seen[-1].data["gone"] == ["fan-1"]
        assert {event.name for event in sound.rest()} <= {"hello", "status", "tick"}
    assert server.http.get("/v1/machines/fan-1/live").status_code == 404


def test_the_sound_of_a_machine_is_what_its_model_hears(watched: Any, workshop: Any, models: Any) -> None:
    samples = np.rint(workshop.faulty(seconds=8.0) * 32_768).astype(np.float32) / 32_768
    play(watched, samples)
    bundle = read_bundle(models / "pump-2" / "1")
    steps = bundle.monitor(OnnxPredictor(bundle.graph), source_rate_hz=RATE_HZ, channel=0).push(samples[:, None])
    with reading(watched.http, SOUND) as events:
        hello = MachineHello.model_validate(events.next().data)
        assert events.next().name == "status"
        sounds = [SoundStep.model_validate(events.next().data) for _ in steps]
        Tick.model_validate(events.until(lambda event: event.name == "tick").data)
    assert (hello.model_version, len(hello.bands_hz), hello.level_db) == ("1", 128, (-100.0, 40.0))
    for sound, step in zip(sounds, steps, strict=True):
        windows = step.block.windows[:, 2, :]  # 31 windows of one hop: four make a column
        assert sound.columns == 7
        edges = np.arange(8) * len(windows) // 7
        level = np.frombuffer(base64.b64decode(sound.level), np.uint8).reshape(7, 128)
        departure = np.frombuffer(base64.b64decode(sound.departure), np.int8).reshape(7, 128)
        for place, (start, end) in enumerate(pairwise(edges)):
            mean = windows[start:end].mean(axis=0)
            assert np.abs(level[place] / 255 * 140 - 100 - mean).max() < 0.3
            heard = departure[place] != -128
            bands = bundle.manifest.scoring.bands(bundle.manifest.features)
            assert np.array_equal(np.flatnonzero(heard), bands)
            expected = np.clip(mean[bands] - bundle.calibration.clip.normal.mean, -24, 24)
            assert np.abs(departure[place][bands] / 127 * 24 - expected).max() < 0.1
        assert sound.step_score == pytest.approx(step.step.score, abs=1e-3)
        if step.clip is not None:
            assert sound.score == pytest.approx(step.clip.score, abs=1e-3)
            edges_hz = bundle.manifest.pipeline.band_edges_hz
            ranges = explain_bands(step.clip.contributions, step.clip.departures_db, edges_hz)
            assert [band.low_hz for band in sound.bands] == [band.low_hz for band in ranges]
        assert sound.end_s - sound.start_s == pytest.approx(31 * 512 / RATE_HZ, abs=2e-3)
    assert hello.column_s == pytest.approx(31 * 512 / RATE_HZ / 7)


def dropped(server: Any) -> float:
    (value,) = re.findall(r"^humwatch_page_events_dropped_total (\S+)$", server.http.get("/metrics").text, re.MULTILINE)
    return float(value)


def ids(events: EventReader) -> list[str]:
    return [event.id for event in events.seen if event.id is not None]


@pytest.mark.slow
def test_after_a_break_nothing_is_missing_and_nothing_comes_twice(watched: Any, workshop: Any) -> None:
    play(watched, workshop.normal(seconds=8.0))
    with reading(watched.http, SOUND) as before:
        before.until(lambda event: event.name == "tick")
    first = ids(before)
    play(watched, workshop.normal(seconds=8.0))
    with reading(watched.http, SOUND, {"Last-Event-ID": first[-3]}) as after:
        after.until(lambda event: event.name == "tick")
    token = first[0].partition(".")[0]
    assert first == [f"{token}.{number}" for number in range(1, len(first) + 1)]
    assert ids(after) == [f"{token}.{number}" for number in range(len(first) - 1, 2 * len(first) + 1)]


NO_EVENT_IDS = [
    "",
    "x",
    "0" * 20_000,
    "deadbeef.1",
    "{token}.-1",
    "{token}.1.1",
    "{token}.٣",
    "{token}.1e3",
    "../../etc",
    "%0a",
]


@pytest.mark.slow
def test_an_event_id_that_is_none_is_as_good_as_none(make_server: Any, workshop: Any) -> None:
    server = make_server(max_viewers=1 + len(NO_EVENT_IDS))
    play(server, workshop.normal(seconds=4.0))
    with reading(server.http, SOUND) as plain:
        plain.until(lambda event: event.name == "tick")
    token = ids(plain)[0].partition(".")[0]
    with ExitStack() as stack:
        http = stack.enter_context(httpx.Client(base_url=server.http.base_url, trust_env=False))
        readers = {}
        for hostile in NO_EVENT_IDS:  # at once: each waits for the next tick
            given = {"Last-Event-ID": hostile.replace("{token}", token).encode()}
            readers[hostile] = stack.enter_context(reading(http, SOUND, given))  # type: ignore[arg-type]
        for hostile, events in readers.items():
            events.until(lambda event: event.name == "tick")
            assert ids(events) == ids(plain), hostile


def test_an_event_of_the_future_hides_nothing_that_comes(watched: Any, workshop: Any) -> None:
    play(watched, workshop.normal(seconds=4.0))
    with reading(watched.http, SOUND) as plain:
        plain.until(lambda event: event.name == "tick")
    token = ids(plain)[0].partition(".")[0]
    with reading(watched.http, SOUND, {"Last-Event-ID": f"{token}.999999999999999"}) as events:
        events.until(lambda event: event.name == "status")
        play(watched, workshop.normal(seconds=4.0))
        assert events.until(lambda event: event.name == "sound").id == f"{token}.{len(ids(plain)) + 1}"


def test_no_more_look_on_than_may_and_who_leaves_makes_room(watched: Any) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(reading(watched.http, path)) for path in (FLEET, SOUND, FLEET)]
        assert [reader.next().name for reader in readers] == ["fleet", "hello", "fleet"]
        for path in (FLEET, SOUND):
            with watched.http.stream("GET", path) as refused:
                assert refused.status_code == 503
                assert json.loads(refused.read())["code"] == "viewers_full"
                assert refused.headers["Retry-After"] == "10"
        assert watched.app.state.service.broadcast.viewers == 3
    deadline_s = time.monotonic() + 20
    while watched.app.state.service.broadcast.viewers:  # the server sees a little later that they are gone
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    with reading(watched.http, FLEET) as events:
        assert events.next().name == "fleet"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/machines/nobody/live", 404, "machine_not_found"),
        ("/v1/machines/NOBODY/live", 422, "machine_id_invalid"),
        ("/v1/machines/nobody/normal.flac", 404, "machine_not_found"),
        ("/v1/machines/pump-2/normal.flac", 404, "normal_sound_not_found"),
        ("/v1/fleet/history?minutes=0", 422, "request_invalid"),
        ("/v1/fleet/history?minutes=241", 422, "request_invalid"),
    ],
)
def test_what_is_not_there_is_refused(client: httpx.Client, path: str, status: int, code: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def lazy_connection(port: int) -> socket.socket:
    """One that takes little before the other side has to wait."""
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    lazy.settimeout(20)
    lazy.connect(("127.0.0.1", port))
    return lazy


@pytest.mark.slow
def test_who_does_not_read_is_told_the_newest_and_how_much_was_missed(watched: Any, workshop: Any) -> None:
    play(watched, workshop.normal(seconds=2.0))
    with lazy_connection(watched.port) as lazy:
        lazy.sendall(f"GET {SOUND} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert lazy.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(100):  # some megabytes lie in the sockets before anything has to wait
            play(watched, np.tile(workshop.normal(seconds=5.0), 60))
            if dropped(watched) > 2 * MAX_WAITING:
                break
        lazy_sees = b""
        while not re.search(rb"event: missed\ndata: \{\"events\":(\d+)\}", lazy_sees):
            lazy_sees += lazy.recv(1 << 20)
        numbers = [int(found) for found in re.findall(rb"id: [0-9a-f]{8}\.(\d+)\n", lazy_sees)]
        assert numbers == sorted(set(numbers))
    assert watched.http.get("/livez").status_code == 200


@pytest.mark.slow
def test_who_reads_nothing_is_cut_off(watched: Any, workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "_stalled_after_s", 0.2)
    broadcast = watched.app.state.service.broadcast
    with lazy_connection(watched.port) as lazy:
        lazy.sendall(f"GET {SOUND} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert lazy.recv(15) == b"HTTP/1.1 200 OK"
        while broadcast.viewers:
            play(watched, np.tile(workshop.normal(seconds=5.0), 60))
    assert watched.http.get("/livez").status_code == 200


class Line:
    """A transport and a loop of which a test holds the strings."""

    def __init__(self) -> None:
        self.unread, self.aborted = 1_000, False
        self.timers: list[Any] = []

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True

    def call_later(self, seconds: float, call: Any, *given: Any) -> Any:
        self.timers.append((seconds, lambda: call(*given)))
        return SimpleNamespace(cancel=lambda: None)


@pytest.mark.parametrize(("method", "watched_over"), [("GET", True), ("POST", False)])
def test_only_who_wants_to_hear_has_to_read(method: str, watched_over: bool) -> None:
    line = Line()
    protocol: Any = object.__new__(BoundedProtocol)
    protocol.scope, protocol.loop, protocol.transport = {"method": method}, line, line
    protocol._wait_for_reader()
    assert [seconds for seconds, _ in line.timers] == ([STALLED_S] if watched_over else [])
    if watched_over:
        line.unread = 999
        line.timers.pop()[1]()
        assert not line.aborted
        line.timers.pop()[1]()
        assert line.aborted


def test_open_connections_end_when_the_service_stops(make_server: Any, workshop: Any) -> None:
    server = make_server()
    play(server, workshop.normal(seconds=4.0))
    with reading(server.http, FLEET) as fleet, reading(server.http, SOUND) as sound:
        fleet.next()
        sound.next()
        service = server.app.state.service
        service.live.overload._task.get_loop().call_soon_threadsafe(service.stop_streams)  # what the server does first
        assert fleet.rest()[0].name == "fleet"
        assert sound.rest()[0].name == "hello"


def test_with_keys_nobody_looks_on_without_one(make_server: Any) -> None:
    server = make_server(api_keys=("a-key-for-these-tests",))
    for path in (FLEET, SOUND, "/v1/fleet/history", "/v1/machines/pump-2/normal.flac"):
        assert server.http.get(path).status_code == 401
    with reading(server.http, FLEET, {"X-API-Key": "a-key-for-these-tests"}) as events:
        assert events.next().name == "fleet"


def test_the_last_minutes_of_all_machines(watched: Any, workshop: Any) -> None:
    play(watched, workshop.faulty(seconds=20.0))
    watched.app.state.service.live.recorder.flush(())
    answer = watched.http.get("/v1/fleet/history", params={"minutes": 5}).json()
    assert answer["step_s"] == 60
    assert answer["start_s"] % 60 == 0
    assert set(answer["machines"]) == {"fan-1", "pump-2"}
    assert answer["machines"]["fan-1"] == {"scores": [None] * 5, "states": [None] * 5}
    heard = answer["machines"]["pump-2"]
    assert "alarm" in heard["states"][-2:]
    assert max(score for score in heard["scores"] if score is not None) > 1.0
