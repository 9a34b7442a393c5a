"""Real `humwatch serve` processes that are killed and started again, and machines that stream to them faster than life.

Run as a program it is where those processes come from: it imports once, and forks a service for each line on stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from humwatch.synthetic import Fault, SyntheticMachine
from humwatch_service.client import Backlog, Connected, LinkEvent, Patience, ServiceAddress, StreamClient, Times
from humwatch_service.protocol.messages import Bye, Hello, Score, ServerMessage, StateChange

MACHINE = "pump-2"
RATE_HZ = 16_000
PATIENCE_S = 180.0
"""How long something may take on a machine that is busy with something else."""
IMPATIENT = Patience(base_s=0.05, cap_s=0.2)


def tell(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def give_birth() -> None:
    """Fork a service for each line on stdin, and say when it has ended."""
    import humwatch.onnx_predictor  # noqa: F401
    import humwatch_service.app  # noqa: F401  imported once, not in each life
    from humwatch_service.cli.main import main
    from humwatch_service.errors import ModelsLoading

    ModelsLoading.retry_after_s = 0  # sound comes ten times as fast as it does: there are no seconds to wait
    tell(here=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ.update(order["environment"])
            with Path(order["log"]).open("ab") as log:
                os.dup2(log.fileno(), 2)
            sys.argv[1:] = order["arguments"]
            code: object = 1
            try:
                main()
            except SystemExit as end:
                code = end.code
            os._exit(code if isinstance(code, int) else 0)  # ONNX Runtime cannot tidy up what it made before the fork
        tell(pid=pid)
        _, status = os.waitpid(pid, 0)
        tell(ended=os.waitstatus_to_exitcode(status))


class Nursery:
    """Where services come from, one at a time; ``alive`` is the pid of the one that lives."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._asks, self._tells = process.stdin, process.stdout
        self.alive: int | None = None
        self.next("here")

    def ask(self, **order: object) -> None:
        self._asks.write(json.dumps(order) + "\n")
        self._asks.flush()

    def next(self, key: str) -> Any:
        """What is told next under a name."""
        while True:
            line = self._tells.readline()
            assert line, "the nursery is gone"
            told = json.loads(line)
            self.alive = told.get("pid", self.alive) if "ended" not in told else None
            if key in told:
                return told[key]
            assert "ended" not in told, f"the service ended by itself: {told}"


@contextmanager
def nursery() -> Iterator[Nursery]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUMWATCH_")}
    with subprocess.Popen(
        [sys.executable, __file__],
        env={**clean, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        born = Nursery(process)
        try:
            yield born
        finally:
            assert process.stdin is not None
            if born.alive is not None:
                with suppress(ProcessLookupError):
                    os.kill(born.alive, signal.SIGKILL)
            process.stdin.close()
            process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Service:
    """One service on one state folder and one port, through any number of lives."""

    def __init__(self, nursery: Nursery, folder: Path, models: Path, rule: str = "", **settings: object) -> None:
        """``rule`` is what the configuration says of the machine's alarm, in TOML."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid: int | None = None
        self.lives = 0
        config = folder / "humwatch.toml"
        config.write_text(f'[machines."{MACHINE}".alarm]\n{rule}\n')
        given = {"config": config, "state_dir": folder / "state", "models_dir": models, **settings}
        self._environment = {f"HUMWATCH_{name.upper()}": str(value) for name, value in given.items()}
        self._nursery = nursery

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert self._nursery.alive is None
        self._nursery.ask(
            environment=self._environment,
            log=str(self.folder / "service.log"),
            arguments=["serve", "--port", str(self.port), "--json"],
        )
        self.pid = self._nursery.next("pid")
        self.lives += 1
        assert self._nursery.next("url") == self.url

    def strike(self) -> None:
        """End it as a power cut does; from anywhere, at once."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> int:
        """Wait until it is dead; returns its exit code."""
        self.pid = None
        return int(self._nursery.next("ended"))

    def kill(self) -> None:
        self.strike()
        assert self.bury() == -signal.SIGKILL

    def stop(self) -> int:
        """Ask it to end, and wait for it; returns its exit code."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)
        return self.bury()

    async def ready(self, http: httpx.AsyncClient) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while (await http.get("/readyz")).status_code != 200:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.02)

    async def restart(self, http: httpx.AsyncClient) -> None:
        """After a strike: wait for the end of it, and start it again."""
        assert await asyncio.to_thread(self.bury) == -signal.SIGKILL
        await self.start_again(http)

    async def start_again(self, http: httpx.AsyncClient) -> None:
        await asyncio.to_thread(self.start)
        await self.ready(http)


def s16(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


@dataclass(frozen=True)
class Sounds:
    """Half a minute of each of the two sounds of a machine, as they are sent."""

    normal: bytes
    faulty: bytes

    @classmethod
    def of(cls, machine: SyntheticMachine) -> Sounds:
        fault = Fault("squeal", 0.0)
        return cls(
            s16(np.concatenate([machine.clip(800 + i, 5.0) for i in range(6)])),
            s16(np.concatenate([machine.clip(900 + i, 5.0, fault) for i in range(6)])),
        )


class Plant:
    """A machine that sounds as it is told, at ``speed`` times its pace, through the reference client.

    Attributes:
        faulty: which of the two sounds is made now.
        messages: of the service.
        links: what happened to the connection.
        sent: all sound so far.
        on_message: is called with each message at once.
    """

    def __init__(
        self,
        url: str,
        sounds: Sounds,
        *,
        speed: float = 10.0,
        buffer_s: float | None = None,
        hello: Hello | None = None,
        times: Times | None = None,
    ) -> None:
        self.faulty = False
        self.messages: list[ServerMessage] = []
        self.links: list[LinkEvent] = []
        self.sent = bytearray()
        self.on_message: Callable[[ServerMessage], None] = lambda message: None
        hello = hello or Hello(rate_hz=RATE_HZ, stream_id="microphone-1", realtime=False)
        # A service that is killed may take long to come back: the sound of that time, at this speed, is kept.
        self.backlog = Backlog(hello, buffer_s=PATIENCE_S * speed if buffer_s is None else buffer_s)
        self._client = StreamClient(
            ServiceAddress(url),
            MACHINE,
            self.backlog,
            patience=IMPATIENT,
            times=times,
            on_message=self._take,
            on_link=self.links.append,
        )
        self._sounds = sounds
        self._speed = speed
        self._realtime = hello.realtime
        self._changed = asyncio.Event()
        self._over = False

    async def run(self) -> Bye:
        """Sound until cancelled or until the backlog is finished."""
        feeding = asyncio.create_task(self._feed())
        try:
            return await self._client.run()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def end(self) -> Bye:
        """Make no more sound, and wait until all of it was heard."""
        self._over = True
        self.backlog.finish()
        await self.until(lambda: isinstance(self.messages[-1], Bye))
        bye = self.messages[-1]
        assert isinstance(bye, Bye)
        return bye

    async def until(self, what: Callable[[], object], *, timeout: float = PATIENCE_S) -> None:
        """Wait until something is so; looked at with each message."""
        async with asyncio.timeout(timeout):
            while not what():
                self._changed.clear()
                await self._changed.wait()

    async def until_event(self, kind: str, *, timeout: float = PATIENCE_S) -> StateChange:
        """Wait for the next event of a kind."""
        start = len(self.messages)
        await self.until(lambda: self.events(kind, start), timeout=timeout)
        return self.events(kind, start)[0]

    def events(self, kind: str, start: int = 0) -> list[StateChange]:
        return [m for m in self.messages[start:] if isinstance(m, StateChange) and m.event == kind]

    def scores(self, start: int = 0) -> list[Score]:
        return [m for m in self.messages[start:] if isinstance(m, Score)]

    @property
    def connections(self) -> list[Connected]:
        return [link for link in self.links if isinstance(link, Connected)]

    def _take(self, message: ServerMessage) -> None:
        self.messages.append(message)
        self.on_message(message)
        self._changed.set()

    async def _feed(self) -> None:
        """A quarter of a second of sound at a time; a clock that goes as fast as the sound does."""
        frames = RATE_HZ // 4
        started_s = time.monotonic()
        number = 0
        while True:
            await asyncio.sleep(max(0.0, started_s + number * 0.25 / self._speed - time.monotonic()))
            if self._over:
                return
            sound = self._sounds.faulty if self.faulty else self._sounds.normal
            at = 2 * frames * number % len(sound)
            number += 1
            self.sent += sound[at : at + 2 * frames]
            self.backlog.append(
                sound[at : at + 2 * frames], time_s=len(self.sent) / 2 / RATE_HZ if self._realtime else None
            )


@asynccontextmanager
async def sounding(plant: Plant) -> AsyncIterator[Plant]:
    """A plant that streams while the block runs; what breaks it breaks the block."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(plant.run())
        try:
            yield plant
        finally:
            running.cancel()


if __name__ == "__main__":
    give_birth()
