from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from humwatch_service.cli.health import MAX_ANSWER_BYTES, AddressUnknown, own_url
from humwatch_service.cli.main import app
from humwatch_service.config.layers import load_configuration

HEAVY = ("numpy", "scipy", "onnxruntime", "fastapi", "pydantic_settings", "sqlalchemy", "matplotlib", "humwatch.errors")


@pytest.fixture(autouse=True)
def environment_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HUMWATCH_"):
            monkeypatch.delenv(name)


def health(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["health", *(str(argument) for argument in arguments)])


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that says something else than the service would, to one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                for answer in answers:
                    connection.sendall(answer)
                if not answers:
                    done.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            done.set()
            thread.join(60)
            assert not thread.is_alive()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_service_that_works_is_ready_and_alive(server: Any) -> None:
    url = f"http://127.0.0.1:{server.port}"
    ready, alive = health("--url", url), health("--url", f"{url}/", "--live")
    assert (ready.exit_code, alive.exit_code) == (0, 0)
    assert ready.stdout.startswith(f"ok: {url}/readyz answered 200 in ")
    assert alive.stdout.startswith(f"ok: {url}/livez answered 200 in ")
    assert (ready.stdout.count("\n"), ready.stderr) == (1, "")
    answer = json.loads(health("--url", url, "--json").stdout)
    assert answer.pop("seconds") >= 0
    assert answer == {"url": f"{url}/readyz", "healthy": True, "status": 200, "reasons": []}


def test_the_address_comes_from_the_settings(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_HOST", "0.0.0.0")
    monkeypatch.setenv("HUMWATCH_PORT", str(server.port))
    assert f"http://127.0.0.1:{server.port}/readyz" in health().stdout


def test_no_proxy_stands_between(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert health("--url", f"http://127.0.0.1:{server.port}").exit_code == 0


def test_a_service_without_models_is_alive_but_not_ready(make_server: Callable[..., Any], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{make_server(models_dir=tmp_path / 'nowhere').port}"
    assert health("--url", url, "--live").exit_code == 0
    ready = health("--url", url, "--json")
    assert ready.exit_code == 1
    answer = json.loads(ready.stdout)
    assert (answer["healthy"], answer["status"]) == (False, 503)
    assert any("nowhere" in reason for reason in answer["reasons"]), answer
    line = health("--url", url).stdout
    assert line.startswith(f"not healthy: {url}/readyz: answered 503; ")
    assert "nowhere" in line


def test_nobody_there_is_not_healthy() -> None:
    result = health("--url", f"http://127.0.0.1:{closed_port()}")
    assert result.exit_code == 1
    assert "no answer; " in result.stdout
    assert result.stderr == ""


def test_a_service_that_hangs_is_not_healthy() -> None:
    with answering() as url:
        result = health("--url", url, "--timeout-s", "0.2", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reasons"] == ["timed out"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", None),
        (b"", None),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/livez\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 8\r\n\r\nnot JSON", 503),
        (b'HTTP/1.1 503 Busy\r\nContent-Length: 13\r\n\r\n{"reasons":7}', 503),
        (b"HTTP/1.1 500 Oh\r\n\r\n" + b"x" * (4 * MAX_ANSWER_BYTES), 500),
    ],
    ids=["not http", "nothing", "redirect", "text", "other json", "endless"],
)
def test_what_is_no_good_answer_is_not_healthy(answer: bytes, status: int | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                try:
                    connection.sendall(answer)
                except ConnectionError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        result = health("--url", f"http://127.0.0.1:{listening.getsockname()[1]}", "--live", "--json")
        thread.join(60)
    assert result.exit_code == 1
    assert (json.loads(result.stdout)["healthy"], json.loads(result.stdout)["status"]) == (False, status)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[::1", "http://a:port", ""])
def test_what_is_no_address_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PORT", str(closed_port()))
    result = health("--url", url)
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert result.stdout.startswith("not healthy: ")


@pytest.mark.parametrize(
    ("environment", "file", "url"),
    [
        ({}, None, "http://127.0.0.1:8000"),
        ({"HUMWATCH_HOST": "::", "HUMWATCH_PORT": "81"}, None, "http://[::1]:81"),
        ({"HUMWATCH_HOST": "0.0.0.0"}, "port = 9000", "http://127.0.0.1:9000"),
        ({"humwatch_port": "82", "HUMWATCH_HOST": ""}, 'host = "192.0.2.7"\nport = 9000', "http://192.0.2.7:82"),
        ({}, 'host = "plant.example"\nscore_queue = 3', "http://plant.example:8000"),
    ],
)
def test_it_reads_the_settings_as_the_service_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], file: str | None, url: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if file is not None:
        (tmp_path / "humwatch.toml").write_text(file)
        monkeypatch.setenv("HUMWATCH_CONFIG", str(tmp_path / "humwatch.toml"))
    assert own_url() == url
    settings = load_configuration().settings
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    assert url == f"http://{host}:{settings.port}"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HUMWATCH_PORT": "0"}, "say --url"),
        ({"HUMWATCH_PORT": "http"}, "say --url"),
        ({"HUMWATCH_CONFIG": "gone.toml"}, "gone.toml cannot be read"),
    ],
)
def test_settings_that_do_not_tell_are_said(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AddressUnknown, match=said):
        own_url()
    result = health()
    assert (result.exit_code, said in result.stdout) == (1, True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUMWATCH_")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.process
def test_the_probe_imports_little() -> None:
    looked = "import sys\nsys.argv[1:] = ['health', '--url', 'none']\nfrom humwatch_service.__main__ import main\n"
    looked += "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, *sorted(sys.modules))"
    code, *modules = run("-c", looked).stdout.splitlines()[-1].split()
    assert code == "1"
    assert "humwatch_service.cli.health" in modules
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.process
def test_the_module_runs_every_command(server: Any) -> None:
    assert run("-m", "humwatch_service", "health", "--url", f"http://127.0.0.1:{server.port}").returncode == 0
    assert run("-m", "humwatch_service", "health", "--nothing").returncode == 2
    usage = run("-m", "humwatch_service", "health", "--help")
    assert (usage.returncode, "Usage: humwatch health" in usage.stdout) == (0, True)
    assert run("-m", "humwatch_service", "config", "check").returncode == 0
