"""``humwatch health``: does the service that runs here answer?

It is asked again and again by whatever watches a container, so it imports little: no settings, no numpy. Where the
service listens it reads by itself; a test holds it to :func:`humwatch_service.config.layers.load_configuration`.
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from humwatch.text_files import bare_value, read_text
from humwatch_service.config.service_links import without_service_links

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000
LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a service that listens on every address is asked."""
MAX_ANSWER_BYTES: Final = 64 << 10


class AddressUnknown(Exception):
    """The address of the service cannot be found."""


@dataclass(frozen=True)
class HealthAnswer:
    """Answer of a probe.

    Attributes:
        url: URL that was asked.
        healthy: whether it answered, and well.
        status: status of HTTP; None when there was no answer.
        reasons: why it is not ready, or not reached.
        seconds: time that the answer took.
    """

    url: str
    healthy: bool
    status: int | None
    reasons: tuple[str, ...]
    seconds: float

    @property
    def line(self) -> str:
        """The answer for people."""
        if self.healthy:
            return f"ok: {self.url} answered {self.status} in {1000 * self.seconds:.0f} ms"
        said = "no answer" if self.status is None else f"answered {self.status}"
        return f"not healthy: {self.url}: {said}" + "".join(f"; {reason}" for reason in self.reasons)


def health(
    url: Annotated[
        str | None, typer.Option(help="Address of the service; by default where its settings say that it listens.")
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask only whether the process answers (/livez), not whether it can do its work."),
    ] = False,
    timeout_s: Annotated[float, typer.Option(min=0.1, max=60.0, help="Longest wait for the answer, seconds.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")] = False,
) -> None:
    """Ask the running service whether it is ready (/readyz). Exits with 1 when it is not, or does not answer."""
    try:
        answer = ask(f"{(url or own_url()).rstrip('/')}{'/livez' if live else '/readyz'}", timeout_s)
    except AddressUnknown as error:
        answer = HealthAnswer(url or "", healthy=False, status=None, reasons=(str(error),), seconds=0.0)
    typer.echo(json.dumps(asdict(answer), ensure_ascii=False) if as_json else answer.line)
    if not answer.healthy:
        raise typer.Exit(1)


def own_url() -> str:
    """Return the URL at which the service of this environment listens. Raises :class:`AddressUnknown`."""
    given = {**_of_file(bare_value(os.environ.get("HUMWATCH_CONFIG", ""))), **_of_environment()}
    host, port = str(given.get("host", DEFAULT_HOST)), str(given.get("port", DEFAULT_PORT))
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        raise AddressUnknown(f"the setting `port` is {port}, and no port to ask: say --url")
    host = LOOPBACK_OF.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(url: str, timeout_s: float) -> HealthAnswer:
    """Get a probe (blocking); nothing of the environment, such as a proxy, stands between. Follows no redirect."""
    began = time.monotonic()
    try:
        status, body = _get(url, timeout_s)
    except (OSError, HTTPException, ValueError) as error:
        reason = str(error) or type(error).__name__
        return HealthAnswer(url, healthy=False, status=None, reasons=(reason,), seconds=time.monotonic() - began)
    seconds = time.monotonic() - began
    return HealthAnswer(url, healthy=status == 200, status=status, reasons=_reasons(status, body), seconds=seconds)


def _get(url: str, timeout_s: float) -> tuple[int, bytes]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no address of a service; it looks like http://127.0.0.1:8000")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _reasons(status: int, body: bytes) -> tuple[str, ...]:
    """Return the reasons for which the service says that it is not ready."""
    if status == 200:
        return ()
    try:
        reasons = json.loads(body)["reasons"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(str(reason) for reason in reasons) if isinstance(reasons, list) else ()


def _of_environment() -> dict[str, object]:
    """Return host and port of the environment; as for settings, the case of a name and empty values do not count."""
    names = {"HUMWATCH_HOST": "host", "HUMWATCH_PORT": "port"}
    values = ((name.upper(), bare_value(value)) for name, value in without_service_links(os.environ).items())
    return {names[name]: value for name, value in values if name in names and value}


def _of_file(path: str) -> dict[str, object]:
    if not path:
        return {}
    try:
        values = tomllib.loads(read_text(Path(path)))
    except (OSError, ValueError) as error:
        raise AddressUnknown(f"HUMWATCH_CONFIG: {path} cannot be read: {error}") from error
    return {name: values[name] for name in ("host", "port") if name in values}
