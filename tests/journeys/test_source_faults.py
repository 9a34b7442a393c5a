"""Faults of a source, put into a stream that a real server follows in real time as far as the clocks can tell."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from humwatch.audio.quality import CLIPPED_SHARE, DC_OFFSET, LEVEL_MARGIN_DB, SILENT_DBFS, STUCK_SECONDS
from humwatch.audio.sound_blocks import HELD_SECONDS
from humwatch.run_state import OFF_BELOW_QUIETEST_DB, ON_BELOW_QUIETEST_DB
from humwatch.source.faults import HARD_FAULTS, SOURCE_FAULTS
from humwatch.source.health import CLOCK_DRIFT, WRONG_RATE
from humwatch.source.lost_sound import HELD_STRETCHES
from humwatch.source.sound_window import WINDOW_S
from humwatch.synthetic import SyntheticMachine

pytestmark = pytest.mark.slow

Sound = npt.NDArray[np.float64]

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text("utf-8")
RATE_HZ = 16_000
CARD_HZ, FAST_HZ = 44_100, 48_000
MIC = "mic-1"
CLIP_S = 10.0
BEGINS_S, ENDS_S, OVER_S = 15, 52, 115
"""Seconds of sound at which the fault begins, at which it ends, and at which the stream does."""
NAMED_WITHIN_S = 30
LEVEL_DBFS = -26.0


def machine_sound(rate_hz: int, seconds: float) -> Sound:
    return SyntheticMachine(seed=3, rate_hz=rate_hz, level_dbfs=LEVEL_DBFS).clip(700, seconds).astype(np.float64)


def switched_card() -> Sound:
    """Of a sound card that takes more samples than it says, for a while."""
    sound = machine_sound(RATE_HZ, OVER_S)
    heard, fast = (soxr.resample(sound, RATE_HZ, rate_hz) for rate_hz in (CARD_HZ, FAST_HZ))
    heard[BEGINS_S * CARD_HZ : ENDS_S * CARD_HZ] = fast[: (ENDS_S - BEGINS_S) * CARD_HZ]
    return np.asarray(heard)


@pytest.fixture(scope="module")
def sound() -> Sound:
    return machine_sound(RATE_HZ, OVER_S)


@pytest.fixture(scope="module")
def mic_models(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Path:
    """A machine that has clips of the usual length."""
    root = tmp_path_factory.mktemp("mic")
    paths = [root / f"{number:02}.wav" for number in range(12)]
    machine = SyntheticMachine(seed=3, level_dbfs=LEVEL_DBFS)
    for number, path in enumerate(paths):
        soundfile.write(path, machine.clip(number, CLIP_S), RATE_HZ, subtype="PCM_16")
    graph = workshop.constant_graph()
    workshop.make_bundle(root / "models", MIC, "1", graph, paths, kind="spectrum_profile", clip_s=CLIP_S)
    return root / "models"


@pytest.fixture
def mic(make_server: Callable[..., Any], mic_models: Path) -> Any:
    """A server that has heard nothing yet."""
    return make_server(models_dir=mic_models)


def s16(samples: Sound) -> bytes:
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def status(server: Any, machine_id: str = MIC) -> dict[str, Any]:
    return dict(server.http.get(f"/v1/machines/{machine_id}/status").json())


def metric(server: Any, name: str, fault: str) -> float:
    text = server.http.get("/metrics").text
    return next(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (sample.name, sample.labels.get("fault"), sample.labels.get("machine_id")) == (name, fault, MIC)
    )


@dataclass
class Source:
    """A client that says with each second of sound when it was taken, and waits until it is judged."""

    server: Any
    socket: ClientConnection
    rate_hz: int = RATE_HZ
    true_rate_hz: float = RATE_HZ
    """Samples that come in a second of the clock."""
    sample: int = 0
    time_s: float = 0.0
    start_s: float = field(default_factory=lambda: float(int(time.time()) - 1_000))
    messages: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> None:
        self.say("hello", rate_hz=self.rate_hz, realtime=True, start_time_s=self.start_s)
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def second(self, samples: Sound, lost: int = 0) -> dict[str, Any]:
        """Send a second of sound, behind ``lost`` samples that never come; return the machine's status after it."""
        if lost:
            self.sample += lost
            self.time_s += lost / self.true_rate_hz
            self.say("position", sample=self.sample)
        self.say("clock", sample=self.sample, time_s=self.time_s)
        self.socket.send(s16(samples))
        self.sample += len(samples)
        self.time_s += len(samples) / self.true_rate_hz
        deadline = time.monotonic() + 20
        while True:
            found = status(self.server)
            if found["stream"] and found["stream"]["samples"] == self.sample and not found["stream"]["waiting_s"]:
                return found
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def finish(self) -> list[dict[str, Any]]:
        self.say("eof")
        deadline = time.monotonic() + 20
        while not self.messages or self.messages[-1]["type"] != "bye":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self.messages

    def _listen(self) -> None:
        try:
            for text in self.socket:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass


@contextmanager
def following(server: Any, **given: Any) -> Iterator[Source]:
    url = f"ws://127.0.0.1:{server.port}/v1/machines/{MIC}/stream"
    with connect(url, proxy=None, compression=None, max_queue=None) as opened:
        source = Source(server, opened, **given)
        source.begin()
        yield source


def holes(second: Sound) -> Sound:
    """8 ms of zeros, every 0.4 s."""
    hurt = second.copy()
    for start in range(777, len(hurt), 6_400):
        hurt[start : start + 128] = 0.0
    return hurt


def same(second: Sound) -> Sound:
    return second


@dataclass(frozen=True)
class Injection:
    """A fault: what is done to the sound, to the count and to the clock while it lasts."""

    code: str
    change: Callable[[Sound], Sound] = same
    gap_samples: int = 0
    overflows: int = 0
    rate_share: float = 1.0


INJECTED = {
    "digital silence": Injection("silent", np.zeros_like),
    "one value": Injection("stuck", lambda x: np.full_like(x, 0.0123)),
    "gain of 20 dB, clipping": Injection("clipped", lambda x: 10 * x),
    "offset of 0.2": Injection("dc_offset", lambda x: x + 0.2),
    "gaps of 0.2 s, marked": Injection("drop_outs", gap_samples=3_200),
    "overflows of the sound card": Injection("drop_outs", lambda x: x[320:], overflows=1),
    "holes of 8 ms, hidden": Injection("drop_outs", holes),
    "48 kHz, said to be 44.1 kHz": Injection("wrong_rate", rate_share=FAST_HZ / CARD_HZ),
    "a clock off by 0.5 %": Injection("clock_drift", rate_share=1.005),
    "gain of 12 dB": Injection("level_unusual", lambda x: np.clip(4 * x, -0.99, 0.99)),
    "gain of -20 dB": Injection("level_unusual", lambda x: x / 10),
}


@dataclass
class Course:
    """What a stream with a fault came to: the status after each second, and all messages."""

    source: Source
    counted_before: float
    seconds: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    shown_by_metric: bool = False
    counted: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether it was normal, and nothing else, for four seconds."""
        return all((found["state"], found["faults"]) == ("normal", []) for _, found in self.seconds[-4:])

    def first(self, after_s: float, holds: Callable[[dict[str, Any]], bool]) -> float:
        """End of the first second from ``after_s`` on of which something holds, seconds of sound."""
        return next(at_s for at_s, found in self.seconds if at_s > after_s and holds(found))


def run_course(server: Any, sound: Sound, fault: Injection, rate_hz: int) -> Course:
    """Send normal sound with a fault in it, until it is normal again for a while."""
    with following(server, rate_hz=rate_hz) as source:
        course = Course(source, metric(server, "humwatch_source_faults_total", fault.code))
        for second in range(len(sound) // rate_hz):
            piece, lost = sound[second * rate_hz : (second + 1) * rate_hz], 0
            bad = BEGINS_S <= second < ENDS_S
            source.true_rate_hz = rate_hz * (fault.rate_share if bad else 1.0)
            if bad:
                piece = fault.change(piece)
                lost = fault.gap_samples if second % 6 == 3 else 0
                if fault.overflows and second % 6 == 3:
                    source.say("dropped", overflows=fault.overflows)
            found = source.second(piece, lost)
            course.seconds.append((second + 1.0, found))
            if second > ENDS_S and course.is_settled:
                break
            if second == BEGINS_S + NAMED_WITHIN_S:
                course.shown_by_metric = metric(server, "humwatch_source_fault", fault.code) == 1.0
        course.counted = metric(server, "humwatch_source_faults_total", fault.code)
        source.finish()
    return course


def has(code: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: any(fault["code"] == code for fault in found["faults"])


def check_course(course: Course, code: str) -> tuple[float, float]:
    """All that a fault promises; return the seconds of sound until it was named, and until it was normal again."""
    before = dict(course.seconds)[float(BEGINS_S)]
    assert (before["state"], before["faults"]) == ("normal", [])
    named_s = course.first(BEGINS_S, has(code))
    normal_s = course.first(ENDS_S, lambda found: found["state"] == "normal")
    during = [found for at_s, found in course.seconds if named_s <= at_s <= ENDS_S]
    assert all(has(code)(found) and code in found["reasons"] for found in during)
    assert {found["state"] for found in during} <= {"unknown", "off", "alarm", "warning"}
    if code in HARD_FAULTS:
        assert {found["state"] for found in during} == {"unknown"}
    assert all(found["state"] == "normal" for at_s, found in course.seconds if at_s >= normal_s)
    assert course.shown_by_metric
    assert course.counted == course.counted_before + 1
    check_messages(course.source, code, named_s, ENDS_S)
    check_history(course.source, named_s, ENDS_S)
    return named_s - BEGINS_S, normal_s - ENDS_S


def check_messages(source: Source, code: str, named_s: float, ends_s: float) -> None:
    """The client was warned in time, once, and told of no normal second."""
    begins = [
        i for i, m in enumerate(source.messages) if m["type"] == "warn" and (m["code"], m["active"]) == (code, True)
    ]
    ends = [
        i for i, m in enumerate(source.messages) if m["type"] == "warn" and (m["code"], m["active"]) == (code, False)
    ]
    assert (len(begins), len(ends)) == (1, 1)
    assert begins < ends
    scores = [(i, m) for i, m in enumerate(source.messages) if m["type"] == "score"]
    late = next((i for i, m in scores if m["end_sample"] > (named_s + 1) * source.rate_hz), begins[0])
    assert begins[0] <= late
    lost_s = (source.messages[-1]["gap_samples"]) / source.rate_hz
    during = [m for _, m in scores if named_s <= m["end_sample"] / source.rate_hz - lost_s <= ends_s]
    assert all(m["state"] != "normal" for m in during)
    changes = [m for m in source.messages if m["type"] == "state" and named_s <= m["at_s"] - source.start_s <= ends_s]
    assert all(m["state"] != "normal" for m in changes)


def check_history(source: Source, named_s: float, ends_s: float) -> None:
    source.server.app.state.service.live.recorder.flush(())
    span = {"start_s": source.start_s + named_s + 1, "end_s": source.start_s + ends_s - 1, "resolution": "second"}
    points = source.server.http.get(f"/v1/machines/{MIC}/history", params=span).json()
    assert len(points) > 0.8 * (ends_s - named_s - 2)
    assert all("normal" not in point["states"] for point in points)


def documented(name: str) -> tuple[str, int, int]:
    """A row of the page's table of injected faults: code, seconds until named, seconds until normal again."""
    (row,) = re.findall(rf"^\| {re.escape(name)} \| `(\w+)` \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    return row[0], int(row[1]), int(row[2])


@pytest.mark.parametrize("name", INJECTED)
def test_a_fault_is_named_is_never_normal_and_is_forgotten(mic: Any, sound: Sound, name: str) -> None:
    fault = INJECTED[name]
    if fault.code == "wrong_rate":
        course = run_course(mic, switched_card(), fault, CARD_HZ)
    else:
        course = run_course(mic, sound, fault, RATE_HZ)
    named_s, normal_s = check_course(course, fault.code)
    sys.stdout.write(f"\n| {name} | `{fault.code}` | {named_s:.0f} | {normal_s:.0f} |")
    assert named_s <= NAMED_WITHIN_S
    code, named_page_s, normal_page_s = documented(name)
    assert code == fault.code
    assert (named_s, normal_s) == pytest.approx((named_page_s, normal_page_s), abs=1.0)


def test_the_page_names_every_fault_and_what_it_does_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (hard|soft) \|", PAGE, re.MULTILINE)
    assert [code for code, _ in rows] == list(SOURCE_FAULTS)
    assert {code for code, kind in rows if kind == "hard"} == HARD_FAULTS
    assert {fault.code for fault in INJECTED.values()} == set(SOURCE_FAULTS) - {"bandwidth_limited"}


@pytest.mark.parametrize(
    "value",
    [
        f"{SILENT_DBFS:.0f} dBFS",
        f"{STUCK_SECONDS:g} s",
        f"{HELD_SECONDS * 1000:.0f} ms",
        f"{HELD_STRETCHES} of them",
        f"{WRONG_RATE:.0%}".replace("%", " %"),
        f"{CLOCK_DRIFT:.1%}".replace("%", " %"),
        f"{CLIPPED_SHARE:.2%}".replace("%", " %"),
        f"{DC_OFFSET:.0%}".replace("%", " %"),
        f"{LEVEL_MARGIN_DB:.0f} dB",
        f"last {WINDOW_S:.0f} s",
        f"{ON_BELOW_QUIETEST_DB:.0f} dB below",
        f"{OFF_BELOW_QUIETEST_DB:.0f} dB below",
    ],
)
def test_the_pages_numbers_are_those_of_the_code(value: str) -> None:
    assert value in PAGE


def test_a_rate_too_low_is_named_at_once(mic: Any) -> None:
    """It lasts as long as the stream."""
    heard = machine_sound(8_000, 15)
    with following(mic, rate_hz=8_000, true_rate_hz=8_000) as source:
        found = [source.second(heard[at : at + 8_000]) for at in range(0, len(heard), 8_000)]
        assert {m["state"] for m in source.finish() if "state" in m} == {"unknown"}
    assert {one["state"] for one in found} == {"unknown"}
    assert all("bandwidth_limited" in one["reasons"] for one in found[2:])


def test_a_machine_that_is_said_to_stand_is_off_and_its_microphone_is_not_blamed(mic: Any, sound: Sound) -> None:
    hiss = np.random.default_rng(1).normal(0.0, 10 ** (-70 / 20), 20 * RATE_HZ)
    order = f"/v1/machines/{MIC}:run-state"
    with following(mic) as source:
        for signal, heard, seconds in ((None, hiss, 12), (False, hiss, 12), (True, sound, 34)):
            assert mic.http.post(order, json={"who": "plc", "running": signal}).status_code == 200
            found = [source.second(heard[at : at + RATE_HZ]) for at in range(0, seconds * RATE_HZ, RATE_HZ)]
            if signal is None:
                assert (found[-1]["state"], found[-1]["reasons"]) == ("off", ["level_unusual"])
                assert has("level_unusual")(found[-1])
            elif signal is False:
                assert {(one["state"], *one["reasons"]) for one in found[2:]} == {("off",)}
                assert not any(has("level_unusual")(one) for one in found[2:])
            else:
                assert not any(has("level_unusual")(one) for one in found)
                assert found[-1]["state"] == "normal"
        assert mic.http.post(order, json={"who": "plc", "running": None}).status_code == 200
        source.finish()


class RawClient:
    """A WebSocket of which every byte can be chosen."""

    def __init__(self, server: Any, machine_id: str = "pump-2") -> None:
        self.connection = server.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /v1/machines/{machine_id}/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        self.connection.sendall(head.encode())
        while b"\r\n\r\n" not in self.connection.recv(65_536):
            pass

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @staticmethod
    def frame(payload: bytes, opcode: int = 2) -> bytes:
        """A whole message, masked with zeros."""
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + struct.pack(">H", size)
        return bytes([128 | opcode]) + length + bytes(4) + payload

    def say(self, kind: str, **fields: Any) -> bytes:
        frame = self.frame(json.dumps({"type": kind, **fields}).encode(), 1)
        self.connection.sendall(frame)
        return frame

    def send(self, samples: Sound, clock_from: int | None = None) -> None:
        """Send sound in messages of 0.1 s, each with its place on a clock when ``clock_from`` is its first sample."""
        for at in range(0, len(samples), RATE_HZ // 10):
            if clock_from is not None and at % RATE_HZ == 0:
                self.say("clock", sample=clock_from + at, time_s=(clock_from + at) / RATE_HZ)
            self.connection.sendall(self.frame(s16(samples[at : at + RATE_HZ // 10])))

    def begin(self, sound: Sound, **hello: Any) -> None:
        """Be heard until the machine is normal."""
        self.say("hello", rate_hz=RATE_HZ, realtime=True, **hello)
        self.send(sound, 0)

    def reset(self) -> None:
        """Vanish as a killed process does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the other side closes the line; nothing is answered meanwhile."""
        self.connection.settimeout(seconds)
        try:
            while self.connection.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True


@pytest.fixture
def heard() -> Sound:
    """What makes `pump-2` normal: enough to be sure of the clock, and 0.1 s that no worker is woken for."""
    return machine_sound(RATE_HZ, 14.1)


def wait_for(server: Any, state: str, seconds: float, *reasons: str) -> float:
    """Wait until the machine is shown so; return how long it took."""
    began_s = time.monotonic()
    while (found := status(server, "pump-2"))["state"] != state or not set(reasons) <= set(found["reasons"]):
        assert time.monotonic() - began_s < seconds, found
        time.sleep(0.02)
    return time.monotonic() - began_s


def never_normal(server: Any, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert status(server, "pump-2")["state"] != "normal"
        time.sleep(0.02)


def test_a_client_that_is_there_and_sends_nothing_makes_the_machine_unknown(
    start_server: Callable[..., Any], heard: Sound
) -> None:
    server = start_server(no_sound_s=1.0)
    with RawClient(server) as client:
        client.begin(heard)
        wait_for(server, "normal", 5)
        assert wait_for(server, "unknown", 5, "no_sound") < 3.5
        client.say("position", sample=len(heard))
        never_normal(server, 1.5)


def test_a_trickle_of_bytes_is_no_sound(start_server: Callable[..., Any], heard: Sound) -> None:
    server = start_server(no_sound_s=1.0)
    with RawClient(server) as client:
        client.begin(heard)
        wait_for(server, "normal", 5)
        began_s, shown = time.monotonic(), []
        while time.monotonic() - began_s < 4.5:
            client.connection.sendall(client.frame(b"\x01"))
            shown.append((time.monotonic() - began_s, status(server, "pump-2")["state"]))
            time.sleep(0.05)
    assert {state for at_s, state in shown if at_s > 3.5} == {"unknown"}


def test_a_killed_client_leaves_an_unknown_machine_and_its_stream_goes_on(
    start_server: Callable[..., Any], heard: Sound
) -> None:
    server = start_server(no_sound_s=1.0)
    with RawClient(server) as client:
        client.begin(heard, stream_id="killed")
        wait_for(server, "normal", 5)
        client.reset()
    wait_for(server, "unknown", 5, "no_sound")
    assert status(server, "pump-2")["stream"]["connected"] is False
    with RawClient(server) as again:
        again.say("hello", rate_hz=RATE_HZ, realtime=True, stream_id="killed")
        again.send(heard, len(heard))
        wait_for(server, "normal", 5)


def test_a_half_open_connection_is_ended_and_makes_room_for_another(
    start_server: Callable[..., Any], heard: Sound
) -> None:
    server = start_server(no_sound_s=1.0, stream_ping_s=0.7)
    with RawClient(server) as client, RawClient(server) as another:
        client.begin(heard, stream_id="half-open")
        wait_for(server, "normal", 5)
        assert client.is_closed_within(5)
        assert another.is_closed_within(5)
    wait_for(server, "unknown", 5, "no_sound")
    with RawClient(server) as third:
        third.begin(heard, stream_id="another")
        wait_for(server, "normal", 5)


def test_sound_that_comes_byte_by_byte_is_the_same_sound(server: Any, heard: Sound) -> None:
    scores = []
    few, data = RATE_HZ, s16(heard[: 6 * RATE_HZ])
    for size in (1, 3_200):
        with RawClient(server) as client:
            hello = client.frame(b'{"type": "hello", "rate_hz": 16000, "realtime": false}', 1)
            for at in range(len(hello)):
                client.connection.sendall(hello[at : at + 1])
            cuts = [*range(0, few, size), *range(few, len(data), 3_200), len(data)]
            client.connection.sendall(b"".join(client.frame(data[a:b]) for a, b in pairwise(cuts)))
            client.say("eof")
            answer = b""
            while b'"type":"bye"' not in answer:
                answer += client.connection.recv(65_536)
        scores.append(re.findall(rb'"end_sample":(\d+),"step_score":([^,]+)', answer))
    assert len(scores[0]) >= 5
    assert scores[0] == scores[1]


def test_sound_at_ten_times_its_rate_is_never_normal(start_server: Callable[..., Any]) -> None:
    """By the service's clock alone: the client says nothing of its own."""
    server = start_server()
    block, shown, sent = machine_sound(RATE_HZ, 10.0), [], 0
    with RawClient(server) as client:
        client.say("hello", rate_hz=RATE_HZ, realtime=True)
        began_s = time.monotonic()
        while time.monotonic() - began_s < 12.5:
            at = sent % len(block)
            client.connection.sendall(client.frame(s16(block[at : at + RATE_HZ // 2])))
            sent += RATE_HZ // 2
            shown.append(status(server, "pump-2"))
            time.sleep(max(0.0, began_s + sent / RATE_HZ / 10 - time.monotonic()))
    assert {one["state"] for one in shown} == {"unknown"}
    assert any("rate_unconfirmed" in one["reasons"] for one in shown)
    assert "wrong_rate" in shown[-1]["reasons"]


def test_a_recording_that_is_sent_as_live_sound_is_never_normal(server: Any, heard: Sound) -> None:
    answer = server.http.post(
        "/v1/machines/fan-1/stream",
        content=s16(heard),
        headers={"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"},
    )
    states = [json.loads(line).get("state") for line in answer.text.splitlines()]
    assert "unknown" in states
    assert "normal" not in states
