"""Senders as they are: 24 bits, slow lines, files sent as samples, kept connections; and those that hold a place."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from humwatch_service.protocol.messages import SAMPLE_BYTES, SampleFormat
from humwatch_service.protocol.pcm import encoded
from humwatch_service.web import sound_body
from tests.service_fixtures import read_answer

STREAM = "/v1/machines/pump-2/stream?realtime=false"
S16 = "audio/x-raw;format=S16LE;rate=16000;channels=1"


@pytest.fixture(scope="module")
def sound(workshop: Any) -> Any:
    """Faulty sound of 24 bits, float32 (n, 1)."""
    return (np.rint(workshop.faulty() * (1 << 23)) / (1 << 23)).astype(np.float32)[:, None]


@pytest.fixture(scope="module")
def expected(server: Any, workshop: Any, sound: Any) -> float:
    data = workshop.encoded(sound[:, 0], subtype="PCM_24")
    return float(server.http.post("/score?machine_id=pump-2", content=data).json()["score"])


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def speaking(server: Any) -> ClientConnection:
    url = f"ws://127.0.0.1:{server.port}/v1/machines/pump-2/stream"
    return connect(url, proxy=None, compression=None)


def greeted(connection: ClientConnection, **hello: Any) -> dict[str, Any]:
    connection.send(json.dumps({"type": "hello", "rate_hz": 16_000, "realtime": False, **hello}))
    return dict(json.loads(connection.recv(timeout=20)))


def everything(connection: ClientConnection) -> list[dict[str, Any]]:
    messages = []
    try:
        while True:
            messages.append(json.loads(connection.recv(timeout=20)))
    except ConnectionClosed:
        return messages


@pytest.mark.parametrize("form", [form for form, size in SAMPLE_BYTES.items() if size > 2])
def test_24_bits_in_any_form_give_the_score_of_the_file(
    server: Any, sound: Any, expected: float, form: SampleFormat
) -> None:
    data = encoded(sound, form)
    with speaking(server) as connection:
        assert greeted(connection, format=form)["type"] == "ready"
        for at in range(0, len(data), 10_007):
            connection.send(data[at : at + 10_007])
        connection.send('{"type":"eof"}')
        assert everything(connection)[-1]["worst_score"] == expected
    headers = {"Content-Type": f"audio/x-raw;format={form.upper()};rate=16000"}
    assert lines(server.http.put(STREAM, content=data, headers=headers))[-1]["worst_score"] == expected


def test_l24_is_heard_as_rfc_3190_says(server: Any, sound: Any, expected: float) -> None:
    both = np.concatenate([np.zeros_like(sound), sound], axis=1)
    answer = server.http.post(
        f"{STREAM}&channel=1",
        content=encoded(both, "s24be"),
        headers={"Content-Type": "audio/L24;rate=16000;channels=2;channel-order=DV.LR"},
    )
    assert lines(answer)[-1]["worst_score"] == expected


def unfinished(sound: Any, *, data_bytes: int = 0xFFFF_FFFF) -> bytes:
    """What `arecord -f S24_3LE -t wav` writes to a pipe."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 48_000, 3, 24)
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data" + struct.pack("<I", data_bytes) + encoded(sound, "s24le")


@pytest.mark.parametrize("content_type", ["audio/wav", "audio/x-wav", "", "application/x-www-form-urlencoded", None])
def test_a_wav_file_without_an_end_is_a_stream(
    server: Any, sound: Any, expected: float, content_type: str | None
) -> None:
    data = unfinished(sound)

    def chunks() -> Iterator[bytes]:
        yield from (data[at : at + 1] for at in range(60))  # the header, byte by byte
        yield data[60:]

    headers = {} if content_type is None else {"Content-Type": content_type}
    bye = lines(server.http.put(STREAM, content=chunks(), headers=headers))[-1]
    assert (bye["type"], bye["samples"], bye["worst_score"]) == ("bye", len(sound), expected)


def test_chunks_behind_the_samples_are_no_sound_and_another_file_is_refused(server: Any, sound: Any) -> None:
    data = unfinished(sound, data_bytes=3 * len(sound))
    headers = {"Content-Type": "audio/wav"}
    bye = lines(server.http.post(STREAM, content=data + b"LIST\x04\x00\x00\x00INFO", headers=headers))[-1]
    assert (bye["type"], bye["samples"]) == ("bye", len(sound))
    error = lines(server.http.post(STREAM, content=data + data, headers=headers))[-1]
    assert (error["type"], error["code"]) == ("error", "stream_invalid")
    assert "this is a WAV file" in error["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"\x00" * 5_000, "", "without a content type does not say"),
        (b"\x00" * 5_000, "application/octet-stream", "does not say what samples"),
        (b"RIFF\x00", "audio/wav", "does not say"),
        (b"RIFF....WAVEfmt ", "audio/wav", "ends within its header"),
        (b"", "audio/wav", "does not say"),
        (b"fLaC\x00\x00\x00\x22" + bytes(60), "", "a FLAC file"),
        (b"\x00" * 50, "audio/basic", "mu-law of 8 kHz"),
    ],
)
def test_what_nothing_says_the_samples_of_is_refused(server: Any, body: bytes, content_type: str, words: str) -> None:
    answer = server.http.post(STREAM, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")
    assert words in answer.json()["detail"]


def files(workshop: Any) -> dict[str, bytes]:
    noise = workshop.normal()
    return {
        "WAV": workshop.encoded(noise),
        "FLAC": workshop.encoded(noise, form="FLAC"),
        "Ogg": workshop.encoded(noise, form="OGG", subtype="VORBIS"),
    }


@pytest.mark.parametrize("container", ["WAV", "FLAC", "Ogg"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_file_sent_as_samples_is_refused_by_name(
    server: Any, workshop: Any, monkeypatch: pytest.MonkeyPatch, container: str, size: int
) -> None:
    monkeypatch.setattr(sound_body, "FIRST_BYTES_S", 60.0)
    data = files(workshop)[container][:400]

    def chunks() -> Iterator[bytes]:
        yield from (data[at : at + size] for at in range(0, len(data), size))

    answer = server.http.post(STREAM, content=chunks(), headers={"Content-Type": S16})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")
    assert f"this is a{'n' if container == 'Ogg' else ''} {container} file" in answer.json()["detail"]
    with speaking(server) as connection:
        assert greeted(connection, stream_id="refused")["next_sample"] == 0
        try:
            for piece in chunks():
                connection.send(piece)
        except ConnectionClosed:
            pass
        error = everything(connection)[-1]
    assert (error["type"], error["code"], error["retry"]) == ("error", "stream_invalid", False)
    assert f"{container} file" in error["detail"]
    with speaking(server) as connection:
        assert greeted(connection, stream_id="refused")["next_sample"] == 0, "nothing of the header was heard"
        connection.send('{"type":"eof"}')
        assert everything(connection)[-1]["samples"] == 0


def test_after_a_break_too(server: Any, workshop: Any) -> None:
    with speaking(server) as connection:
        greeted(connection, stream_id="broken")
        connection.send(bytes(16_000))
    with speaking(server) as connection:
        ready = greeted(connection, stream_id="broken")
        assert (ready["resumed"], ready["next_sample"]) == (True, 8_000)
        connection.send(json.dumps({"type": "position", "sample": 8_000}))
        connection.send(files(workshop)["WAV"][:400])
        assert everything(connection)[-1]["code"] == "stream_invalid"


def test_a_header_that_comes_late_is_an_error_of_the_stream(
    server: Any, workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_body, "FIRST_BYTES_S", 0.0)
    head = f"POST {STREAM} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {S16}\r\nContent-Length: 400\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode())
        begun = connection.recv(100)
        assert begun.startswith(b"HTTP/1.1 200")
        connection.sendall(files(workshop)["WAV"][:400])
        answer = begun
        while b'"error"' not in answer:
            answer += connection.recv(4_096) or pytest.fail(f"closed after {answer!r}")
    assert b'"code":"stream_invalid"' in answer
    assert b"this is a WAV file" in answer


def test_first_bytes_that_might_be_a_header_are_heard_in_the_end(server: Any) -> None:
    with speaking(server) as connection:
        greeted(connection)
        connection.send(b"RIFF")
        connection.send(json.dumps({"type": "position", "sample": 10}))
        connection.send(b"RIFF....")
        connection.send('{"type":"eof"}')
        bye = everything(connection)[-1]
    assert (bye["type"], bye["samples"], bye["gap_samples"]) == ("bye", 6, 8)


MULTIPART = (
    b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nRIFF'
)


class RawWebSocket:
    """WebSocket whose frames are sent byte by byte, and whose pings are never answered: a line that is too slow."""

    def __init__(self, server: Any) -> None:
        self._socket = server.connect()
        self._socket.sendall(
            b"GET /v1/machines/pump-2/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline() not in (b"\r\n", b""):
            pass
        self.pings = 0

    @staticmethod
    def frame(data: bytes, opcode: int) -> bytes:
        return struct.pack("!BBQ4x", 0x80 | opcode, 0x80 | 127, len(data)) + data  # masked with zeros

    def say(self, **message: Any) -> None:
        self.send(self.frame(json.dumps(message).encode(), 1))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; an error is one of any."""
        while True:
            opcode, size = struct.unpack("!BB", self._file.read(2))
            if size >= 126:
                size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
            data = self._file.read(size)
            self.pings += opcode == 0x89
            if opcode == 0x81 and (message := json.loads(data))["type"] in (kind, "error"):
                return dict(message)

    def __enter__(self) -> RawWebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module")
def impatient(start_server: Callable[..., Any]) -> Any:
    return start_server(stream_idle_timeout_s=4.0, stream_ping_s=2.0)


def test_a_message_over_a_slow_line_may_take_longer_than_the_idle_time(impatient: Any) -> None:
    with RawWebSocket(impatient) as client:
        client.say(type="hello", rate_hz=16_000, realtime=False)
        assert client.hear("ready")["type"] == "ready"
        frame = client.frame(bytes(40_000), 2)
        for at in range(0, len(frame), 2_000):
            client.send(frame[at : at + 2_000])
            time.sleep(0.3)  # 7 kB/s: the message takes 6 s
        client.say(type="eof")
        assert client.hear("bye")["samples"] == 20_000
        assert client.pings, "none of them was answered"


def test_a_message_that_drips_is_closed(impatient: Any) -> None:
    with RawWebSocket(impatient) as client:
        client.say(type="hello", rate_hz=16_000, realtime=False)
        assert client.hear("ready")["type"] == "ready"
        client.send(client.frame(bytes(40_000), 2)[:1_000])
        for _ in range(16):
            client.send(b"\0")
            time.sleep(0.3)
        assert client.hear("bye")["code"] == "stream_idle"


def answered(connection: socket.socket, path: str = "/v1/machines") -> bytes:
    """The head of an answer over a connection that is kept."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536) or pytest.fail(f"closed after {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))[15:])
    while len(body) < length:
        body += connection.recv(65_536)
    return head.lower()


def test_a_connection_is_kept_longer_than_a_proxy_keeps_its_own_and_says_so(server: Any) -> None:
    with server.connect() as connection:
        for _ in range(3):
            assert b"keep-alive: timeout=75" in answered(connection)


def test_a_connection_is_closed_after_the_time_that_was_set_and_used_again_before(
    start_server: Callable[..., Any],
) -> None:
    server = start_server(keep_alive_s=4)
    with server.connect() as connection:
        began_s = time.monotonic()
        for _ in range(4):
            assert b"keep-alive: timeout=4" in answered(connection)
            time.sleep(1.2)  # with a request between, it is kept beyond its time
        quiet_s = time.monotonic()
        assert quiet_s - began_s > 4
        assert connection.recv(1) == b""
        assert time.monotonic() - quiet_s > 3.5


def test_kept_connections_do_not_keep_the_service_from_stopping(serving: Callable[..., Any]) -> None:
    with serving(keep_alive_s=3_600) as server, server.connect() as connection:
        answered(connection)
        server.http.close()
        connection.settimeout(None)
        held = connection.dup()
    with held:
        held.settimeout(20)
        assert held.recv(1) == b""


def temporary_files() -> int:
    """Files of this process that have no name any more: large uploads."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(entry.readlink()))
        except OSError:
            continue
    return sum("(deleted)" in name for name in names)


def until(what: Callable[[], bool], *, within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.02)


def upload_head(size: int) -> bytes:
    return (
        f"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()


def test_a_hundred_slow_uploads_take_their_places_and_give_them_back(
    start_server: Callable[..., Any], workshop: Any
) -> None:
    server = start_server(max_uploads=4, max_body_bytes=10 << 20)
    before = temporary_files()
    good = workshop.encoded(workshop.normal())
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(100)]
        for connection in slow:
            connection.sendall(upload_head(9 << 20))
        refused = 0
        for connection in slow[4:]:
            status, problem = read_answer(connection)
            assert (status, problem["code"]) == (503, "overloaded")
            refused += 1
        assert refused == 96
        for connection in slow[:4]:
            connection.sendall(good + bytes(2 << 20))
        until(lambda: temporary_files() == before + 4)
        assert server.http.post("/score?machine_id=pump-2", content=good).status_code == 503
    until(lambda: server.http.post("/score?machine_id=pump-2", content=good).status_code == 200)
    until(lambda: temporary_files() == before)


@pytest.mark.parametrize(
    "begun",
    [
        upload_head(5_000) + b"RIFF",
        b"PUT /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nRIFF",
        MULTIPART,
    ],
)
@pytest.mark.parametrize("killed", [True, False])
def test_a_body_shorter_than_it_claims_gives_its_place_back(
    start_server: Callable[..., Any], workshop: Any, begun: bytes, killed: bool
) -> None:
    server = start_server(max_uploads=1)
    good = workshop.encoded(workshop.normal(seconds=1.5))
    with server.connect() as connection:
        connection.sendall(begun)
        until(lambda: server.http.put("/score?machine_id=pump-2", content=good).status_code == 503)
        if killed:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.shutdown(socket.SHUT_WR)
        until(lambda: server.http.put("/score?machine_id=pump-2", content=good).status_code == 200)


def test_a_file_read_back_is_what_was_streamed(server: Any, sound: Any) -> None:
    """The header made here is one that libsndfile reads as the same sound."""
    data = unfinished(sound, data_bytes=3 * len(sound))
    data = b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]
    assert np.array_equal(soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0], sound)
