"""The shipped Prometheus and Alertmanager beside a real service, natively, with other addresses and shorter waits."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = ("prometheus", "prometheus-alertmanager")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
LONGEST_FOR_S = 2
"""Longest wait of an alert here; a plant's are minutes."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def eventually(look: Callable[[], Any], *, seconds: float = 60.0, every_s: float = 0.3) -> Any:
    """What ``look`` finds as soon as it is something; asks again where the other side is not there yet."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except httpx.TransportError:
            found = None
        if found or time.monotonic() > deadline_s:
            assert found, f"nothing in {seconds} s"
            return found
        time.sleep(every_s)


@contextmanager
def process(arguments: list[str], log: Path, **given: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as the context; its output is in ``log``."""
    with log.open("wb") as output, subprocess.Popen(arguments, stdout=output, stderr=output, **given) as running:
        try:
            yield running
        finally:
            running.kill()


class Mailbox(BaseHTTPRequestHandler):
    """Takes what is posted; what came is in the server's ``letters``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.letters.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def mailbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that takes notifications, and those that came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mailbox)
    letters: list[dict[str, Any]] = []
    server.letters = letters  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", letters
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Observatory:
    """Addresses of a Prometheus and an Alertmanager, and what people were told."""

    prometheus: str
    alertmanager: str
    target: str
    letters: list[dict[str, Any]]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Series of an instant query; of a scalar, one without labels."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, trust_env=False).json()
        assert answer["status"] == "success", (expression, answer)
        result: Any = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [{"metric": {}, "value": result}]
        return list(result)

    def firing(self) -> list[dict[str, Any]]:
        """Alerts that Alertmanager knows, with ``status`` (state, inhibitedBy, silencedBy)."""
        found: list[dict[str, Any]] = httpx.get(f"{self.alertmanager}/api/v2/alerts", trust_env=False).json()
        return found

    def alert(self, name: str, **labels: str) -> dict[str, Any] | None:
        """An alert in Alertmanager, by its name and labels."""
        wanted = {"alertname": name, **labels}
        return next((alert for alert in self.firing() if wanted.items() <= alert["labels"].items()), None)


@contextmanager
def observatory(folder: Path, target: str, *, api_key: str) -> Iterator[Observatory]:
    """Prometheus and Alertmanager, with the files of ``docker/``, that watch the service at ``target`` (host:port)."""
    with ExitStack() as stack:
        address, letters = stack.enter_context(mailbox())
        alertmanager, prometheus = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        config = _alertmanager_files(folder, address)
        arguments = [f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}"]
        arguments += [f"--web.listen-address={alertmanager}", "--cluster.listen-address="]
        stack.enter_context(process([PROGRAMS[1], *arguments], folder / "alertmanager.log"))
        config = _prometheus_files(folder, target, alertmanager, prometheus, api_key)
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
        arguments += [f"--web.listen-address={prometheus}"]
        stack.enter_context(process([PROGRAMS[0], *arguments], folder / "prometheus.log"))
        found = Observatory(f"http://{prometheus}", f"http://{alertmanager}", target, letters)
        for url in (found.prometheus, found.alertmanager):
            eventually(lambda url=url: httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200)
        yield found


def _prometheus_files(folder: Path, target: str, alertmanager: str, prometheus: str, api_key: str) -> Path:
    """The shipped configuration and rules, with these addresses, scraping and judging every second."""
    shipped = ROOT / "docker" / "prometheus"
    key = folder / "api-key"
    key.write_text(api_key)
    config = yaml.safe_load((shipped / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    addresses = {"humwatch": target, "alertmanager": alertmanager, "prometheus": prometheus}
    for job in config["scrape_configs"]:
        job |= {"static_configs": [{"targets": [addresses[job["job_name"]]]}]}
        job.pop("scrape_interval", None)
        job.pop("scrape_timeout", None)
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(key)
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    config["rule_files"] = [str(folder / "rules" / "*.yml")]
    (folder / "rules").mkdir()
    for path in sorted((shipped / "rules").glob("*.yml")):
        rules = yaml.safe_load(path.read_text())
        for group in rules["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = f"{LONGEST_FOR_S}s"
                rule["expr"] = re.sub(r"\[(\w+):\w+\]", r"[\1:1s]", rule["expr"])  # whole minutes are far between
        (folder / "rules" / path.name).write_text(yaml.safe_dump(rules))
    place = folder / "prometheus.yml"
    place.write_text(yaml.safe_dump(config))
    return place


def _alertmanager_files(folder: Path, mailbox_url: str) -> Path:
    """The shipped configuration; every receiver's notifications are posted to the mailbox, and at once."""
    shipped = ROOT / "docker" / "alertmanager"
    config = yaml.safe_load((shipped / "alertmanager.yml").read_text())
    if "templates" in config:
        config["templates"] = [str(shipped / "templates" / "*.tmpl")]
    config["receivers"] = [
        {"name": receiver["name"], "webhook_configs": [{"url": f"{mailbox_url}/{receiver['name']}"}]}
        for receiver in config["receivers"]
    ]
    for route in _routes(config["route"]):
        route |= {"group_wait": "1s", "group_interval": "2s"}
    place = folder / "alertmanager.yml"
    place.write_text(yaml.safe_dump(config))
    return place


def _routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", []):
        yield from _routes(child)
