"""The example of nginx, as it stands, between clients and a real service: every way that sound and answers take."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch_service.cli.main import app
from tests.deployment.nginx import NGINX, PATIENCE_S, Ports, nginx

KEY: Final = "a-key-of-the-plant-0123456789abcdef"
RATE_HZ: Final = 16_000
MAX_BODY_BYTES: Final = 3 << 20
MACHINE: Final = "pump-2"
HTML: Final = {"Accept": "text/html"}

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not NGINX, reason="nginx is not installed (scripts/install-test-packages.sh)"),
]


@dataclass(frozen=True)
class Plant:
    """A service behind nginx, and a client that trusts its certificate."""

    ports: Ports
    server: Any
    http: httpx.Client
    authority: Path

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


@pytest.fixture(scope="module")
def plant(start_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    ports, folder = Ports.free(), tmp_path_factory.mktemp("nginx")
    server = start_server(
        api_keys=(KEY,),
        trusted_proxies=("127.0.0.1", "::1"),
        public_url=ports.left_on_url,
        max_body_bytes=MAX_BODY_BYTES,
    )
    with nginx(folder, ports, server.port) as authority:
        trusted = ssl.create_default_context(cafile=authority)
        with httpx.Client(verify=trusted, trust_env=False, timeout=60, headers={"X-API-Key": KEY}) as http:
            yield Plant(ports, server, http, authority)


@pytest.fixture
def recording(tmp_path: Path, workshop: Any) -> Path:
    path = tmp_path / "normal.wav"
    soundfile.write(path, np.concatenate([workshop.normal(900 + i, 4.0) for i in range(3)]), RATE_HZ, subtype="PCM_16")
    return path


def replay(plant: Plant, recording: Path, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Result:
    monkeypatch.setenv("SSL_CERT_FILE", str(plant.authority))
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    arguments = ["replay", recording, "--machine", MACHINE, "--url", url, "--key-file", key_file, "--speed", "0"]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("where", ["url", "left_on_url"])
def test_sound_goes_through_a_websocket(
    plant: Plant, recording: Path, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = replay(plant, recording, getattr(plant.ports, where), monkeypatch, tmp_path)
    assert done.exit_code == 0, done.output
    assert "192000 samples were heard, 0 are missing" in done.stdout


def test_a_proxy_that_drops_upgrade_is_named_with_what_to_set(
    plant: Plant, recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = replay(plant, recording, plant.ports.dropped_url, monkeypatch, tmp_path)
    assert done.exit_code == 1
    assert "error: service_refused: upgrade_required: " in done.stderr
    assert "proxy_set_header Upgrade $http_upgrade;" in done.stderr


class Chunked:
    """A request whose body goes on while its answer comes."""

    def __init__(self, plant: Plant, path: str) -> None:
        raw = socket.create_connection(("localhost", plant.ports.tls), timeout=60)
        self._socket = plant.tls.wrap_socket(raw, server_hostname="localhost")
        self._read = b""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n"
        head += f"Content-Type: audio/x-raw;format=S16LE;rate={RATE_HZ};channels=1\r\n\r\n"
        self._socket.sendall(head.encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def until(self, kind: str) -> dict[str, Any]:
        """Read on until a message of a kind came."""
        while True:
            for line in self._read.splitlines():
                if line.startswith(b'{"type":"%s"' % kind.encode()) and line.endswith(b"}"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            piece = self._socket.recv(65_536)
            assert piece, self._read
            self._read += piece

    def head(self) -> str:
        return self._read.partition(b"\r\n\r\n")[0].decode().lower()

    def close(self) -> None:
        self._socket.close()


def test_a_chunked_stream_is_answered_while_it_is_sent(plant: Plant, workshop: Any) -> None:
    stream = Chunked(plant, f"/humwatch/v1/machines/{MACHINE}/stream")
    try:
        sound = (workshop.normal(910, 4.0) * 32_767).astype("<i2").tobytes()
        stream.send(sound[:3_200])
        assert stream.until("ready")["machine_id"] == MACHINE  # before the second piece is sent: nothing waits for it
        assert stream.head().startswith("http/1.1 200")
        for at in range(3_200, len(sound), 3_200):
            stream.send(sound[at : at + 3_200])
        assert stream.until("score")["end_sample"] > 0  # and nothing for the end
        stream.send(b"")
        assert stream.until("bye")["samples"] == len(sound) // 2
    finally:
        stream.close()


def test_events_come_at_once(plant: Plant) -> None:
    with plant.http.stream("GET", f"{plant.ports.url}/v1/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        # An event is some hundred bytes: a proxy that collects them would let this wait for minutes.
        kinds = [line for _, line in zip(range(200), lines, strict=False) if line.startswith("event:")][:1]
        assert kinds


@pytest.mark.parametrize(
    ("method", "path", "leads_to"),
    [
        ("GET", "", "/ui/"),
        ("GET", "/", "/ui/"),
        ("GET", "/ui", "/ui/"),
        ("GET", "/v1/machines/", "/v1/machines"),
        ("POST", "/score/", "/score"),
    ],
)
@pytest.mark.parametrize("where", ["url", "left_on_url"])
def test_redirects_stay_on_the_path(plant: Plant, where: str, method: str, path: str, leads_to: str) -> None:
    url = getattr(plant.ports, where)
    asked = f"{url}{path}"
    answer = plant.http.request(method, asked, headers=HTML, follow_redirects=False)
    seen = []
    while answer.next_request is not None:
        seen.append(str(answer.next_request.url))
        answer = plant.http.send(answer.next_request)
    assert seen[-1] == f"{url}{leads_to}"
    assert answer.status_code == (422 if method == "POST" else 200)


def test_how_much_may_be_sent_the_service_says(plant: Plant, workshop: Any) -> None:
    url = f"{plant.ports.url}/v1/machines/{MACHINE}/score"
    long = workshop.encoded(np.concatenate([workshop.normal(920 + i, 10.0) for i in range(5)]))
    assert 1 << 20 < len(long) < MAX_BODY_BYTES  # nginx's own limit is one MiB
    answer = plant.http.post(url, content=long, headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 200, answer.text
    refused = plant.http.post(url, content=b"RIFF" * (1 << 20), headers={"Content-Type": "audio/wav"})
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


def test_the_log_has_the_clients_own_address(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    def logged() -> set[str]:
        told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        entries = [entry for entry in told if entry["event"] == "request" and entry["path"] == "/v1/machines"]
        return {str(entry["client"]) for entry in entries}

    transport = httpx.HTTPTransport(verify=plant.tls, local_address="127.0.0.7")
    with caplog.at_level(logging.INFO, logger="humwatch.access"), httpx.Client(transport=transport) as http:
        lie = {"X-API-Key": KEY, "X-Forwarded-For": "192.0.2.66"}
        assert http.get(f"https://127.0.0.1:{plant.ports.tls}/humwatch/v1/machines", headers=lie).status_code == 200
        deadline_s = time.monotonic() + PATIENCE_S
        while not logged():  # the line is written once the answer is sent
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert logged() == {"127.0.0.7"}


@pytest.mark.parametrize(("where", "path"), [("url", "/humwatch/"), ("left_on_url", "/left-on/")])
def test_a_session_is_the_services_own(plant: Plant, where: str, path: str) -> None:
    url = getattr(plant.ports, where)
    origin = url.removesuffix(path.rstrip("/"))
    answer = plant.http.post(f"{url}/v1/session", json={"key": KEY}, headers={"Origin": origin})
    assert answer.status_code == 204, answer.text
    cookie = answer.headers["set-cookie"]
    assert f"Path={path};" in cookie
    assert ("Secure" in cookie) is url.startswith("https")
    plant.http.cookies.clear()


def test_what_there_is_begins_with_the_path(plant: Plant) -> None:
    assert plant.http.get(f"{plant.ports.url}/openapi.json").json()["servers"] == [{"url": "/humwatch"}]
    assert plant.http.get(f"{plant.ports.left_on_url}/openapi.json").json()["servers"] == [{"url": "/left-on"}]
    assert "servers" not in plant.server.http.get("/openapi.json", headers={"X-API-Key": KEY}).json()
