"""The real service, as a process of its own on a free port of loopback, with a folder that is thrown away."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from humwatch_capacity.version import THIS, ServiceVersion
from humwatch_service.config.settings import ENV_PREFIX
from humwatch_service.errors import ServiceUnreachable

LISTENS_S: Final = 60.0
"""Longest time until it listens."""
READY_S: Final = 60.0
"""Longest time until it is ready, and a second more for each machine."""
STOPS_S: Final = 30.0
LAST_WORDS_S: Final = 5.0


class ServiceUnderTest:
    """A running `humwatch serve`.

    Attributes:
        pid: id of its process.
        port: on 127.0.0.1.
        http: speaks to it, and to nothing else.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.pid = process.pid
        self.port = int(url.rpartition(":")[2])
        self.http = httpx.Client(base_url=url, timeout=20.0, trust_env=False)

    def check(self) -> None:
        """See that it still runs. Raises :class:`ServiceUnreachable`."""
        code = self._process.poll()
        if code is not None:
            raise ServiceUnreachable(f"the service under test ended by itself (exit status {code})")

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until every model is loaded. Raises :class:`ServiceUnreachable`."""
        deadline_s = time.monotonic() + seconds
        while True:
            self.check()
            try:
                answer = self.http.get("/readyz")
            except httpx.HTTPError as error:
                raise ServiceUnreachable(f"the service under test does not answer: {error}") from error
            if answer.status_code == 200:
                return
            if time.monotonic() > deadline_s:
                raise ServiceUnreachable(f"the service under test is not ready after {seconds:.0f} s: {answer.text}")
            time.sleep(0.1)


@contextmanager
def serving(
    models: Path,
    state: Path,
    log: Path,
    settings: Mapping[str, str],
    machines: int,
    version: ServiceVersion = THIS,
) -> Iterator[ServiceUnderTest]:
    """Start the service, and wait until it is ready; stop it at the end.

    Nothing of this process's own configuration comes to it: what ``settings`` do not say has its default.

    Args:
        models: folder of models.
        state: folder of its state.
        log: file that its log is appended to.
        settings: settings by name, as the environment would say them.
        machines: number of machines in ``models``; more of them take longer to load.
        version: version of the service.

    Raises:
        ServiceUnreachable: it does not start, or does not become ready.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    environment |= {f"{ENV_PREFIX}{name.upper()}": value for name, value in settings.items()}
    environment[f"{ENV_PREFIX}STATE_DIR"] = str(state)
    environment |= version.environment
    arguments = ["serve", "--port", "0", "--host", "127.0.0.1", "--json", "--models", str(models)]
    with (
        log.open("ab") as written,
        subprocess.Popen(
            [*version.command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which stops the service afterwards
        ) as process,
    ):
        try:
            service = ServiceUnderTest(process, _url(process))
            with service.http:
                service.wait_until_ready(READY_S + machines)
                yield service
        finally:
            _stop(process)


def _url(process: subprocess.Popen[str]) -> str:
    """Return the URL that the service writes first."""
    assert process.stdout is not None  # it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(LISTENS_S) else ""
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError) as error:
        said = line.strip() or "it said nothing"
        with suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WORDS_S)  # it may be about to say more in its log
        raise ServiceUnreachable(f"the service under test did not start: {said}") from error


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_S)
    except subprocess.TimeoutExpired:
        process.kill()
