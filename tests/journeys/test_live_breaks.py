"""Lines that break, in every way that lines do, and services that come back: what is heard, and what is marked."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from humwatch_service.client import Backlog, ServiceAddress, StreamClient, Times
from humwatch_service.protocol.messages import Bye, Hello, Score, ServerMessage
from tests.live_service import MACHINE, RATE_HZ, Plant, Service, Sounds, nursery, sounding

pytestmark = pytest.mark.slow

SPEED = 20.0
MINUTE_S = 60.0 / SPEED
HASTY = Times(ping_s=0.3, pong_s=0.3, close_s=0.2)
ROOT = Path(__file__).parents[2]


class Proxy:
    """A line between a client and a service, that breaks as it is told.

    Attributes:
        swallows: lines that are open pass nothing on any more, and nobody is told.
        crumbs: what the client sends comes a byte at a time.
        resets_after: bytes from the client after which the next line is torn, if anything.
        torn: how often that happened.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.crumbs = False
        self.resets_after: Callable[[], int] | None = None
        self.torn = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.StreamWriter] = set()
        self._passing: dict[asyncio.StreamWriter, bool] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._line, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        """Tear all lines; nobody is there any more."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._lines):
            writer.transport.abort()

    def swallow(self) -> None:
        """From now on the lines that are open pass nothing on, and stay open; new ones are sound."""
        for writer in self._lines:
            self._passing[writer] = False

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, back}
        self._lines |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, back))
                group.create_task(self._down(there, writer))
        except* OSError:
            pass
        finally:
            self._lines -= ends
            for end in ends:
                self._passing.pop(end, None)
                end.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.resets_after() if self.resets_after is not None else None
        while data := await reader.read(1 << 14):
            if not self._passing.get(writer, True):
                continue
            if left is not None and (left := left - len(data)) < 0:
                self.torn += 1
                raise ConnectionResetError
            for start in range(0, len(data), 1 if self.crumbs else len(data)):
                writer.write(data[start : start + 1] if self.crumbs else data)
                await writer.drain()
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 14):
            if self._passing.get(writer, True):
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    await proxy.plug_in()
    try:
        yield proxy
    finally:
        await proxy.pull()


@pytest.fixture(scope="module")
def sounds(workshop: Any) -> Sounds:
    return Sounds.of(workshop.machine)


@pytest.fixture
def live(make_server: Callable[..., Any], shared_models: Path) -> Any:
    return make_server(models_dir=shared_models, no_sound_s=1.0)


def run(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


async def unbroken(url: str, sound: bytes, first_sample: int = 0) -> tuple[list[Score], Bye]:
    """Scores of the same sound over a line that holds; its samples are counted from ``first_sample``."""
    messages: list[ServerMessage] = []
    backlog = Backlog(Hello(rate_hz=RATE_HZ, realtime=False, start_sample=first_sample), buffer_s=600.0)
    backlog.append(sound)
    backlog.finish()
    bye = await StreamClient(ServiceAddress(url), MACHINE, backlog, on_message=messages.append).run()
    return [message for message in messages if isinstance(message, Score)], bye


def gap_seconds(server: Any) -> float:
    found = re.search(rf'audio_gap_seconds_total{{machine_id="{MACHINE}"}} (\S+)', server.http.get("/metrics").text)
    assert found is not None
    return float(found[1])


def bare(scores: list[Score]) -> list[tuple[object, ...]]:
    """All of a score but the state, which depends on more than this sound."""
    return [(s.start_sample, s.end_sample, s.step_score, s.clip_start_sample, s.score, s.raw_score) for s in scores]


async def check_nothing_was_lost(server: Any, plant: Plant) -> None:
    """Every sample was heard once, and scored as if nothing had been."""
    bye = await plant.end()
    assert [link.gap_samples for link in plant.connections] == [0] * len(plant.connections)
    assert {link.ready.stream_id for link in plant.connections} == {"microphone-1"}
    assert (bye.samples, bye.gap_samples) == (len(plant.sent) // 2, 0)
    expected, whole = await unbroken(f"http://127.0.0.1:{server.port}", bytes(plant.sent))
    got = bare(plant.scores())
    assert len(got) > len(expected) / 3  # what is scored while nobody is there, nobody is told
    assert got == [score for score in bare(expected) if score in set(got)]
    assert (bye.steps, bye.worst_score) == (whole.steps, whole.worst_score)
    assert gap_seconds(server) == 0


def test_pulled_for_a_minute_and_the_buffer_holds_it(live: Any, sounds: Sounds) -> None:
    async def work() -> None:
        async with (
            line_to(live.port) as proxy,
            sounding(Plant(proxy.url, sounds, speed=SPEED, buffer_s=120.0)) as plant,
        ):
            await plant.until(lambda: plant.scores() and plant.scores()[-1].state == "normal")
            await proxy.pull()
            await asyncio.sleep(MINUTE_S)
            state = (await asyncio.to_thread(live.http.get, f"/v1/machines/{MACHINE}/status")).json()
            assert (state["state"], state["reasons"], state["stream"]["connected"]) == ("unknown", ["no_sound"], False)
            await proxy.plug_in()
            await plant.until(lambda: len(plant.connections) == 2)
            assert plant.connections[1].ready.resumed
            await plant.until(lambda: plant.scores()[-1].state == "normal")
            await check_nothing_was_lost(live, plant)

    run(work())


def test_pulled_for_a_minute_and_the_buffer_is_too_small(live: Any, sounds: Sounds) -> None:
    """What is missing is marked, to the sample; nothing is normal until a whole clip was heard behind it."""

    async def work() -> None:
        async with line_to(live.port) as proxy, sounding(Plant(proxy.url, sounds, speed=SPEED, buffer_s=15.0)) as plant:
            await plant.until(lambda: plant.scores() and plant.scores()[-1].state == "normal")
            await proxy.pull()
            await asyncio.sleep(MINUTE_S)
            await proxy.plug_in()
            await plant.until(lambda: len(plant.connections) == 2)
            link = plant.connections[1]
            start = len(plant.messages)
            await plant.until(lambda: plant.scores(start) and plant.scores(start)[-1].state == "normal")
            bye = await plant.end()
            begin, end = link.ready.next_sample, link.ready.next_sample + bye.gap_samples
            assert 40 * RATE_HZ < link.gap_samples <= bye.gap_samples <= plant.backlog.dropped_samples
            assert bye.samples == len(plant.sent) // 2 - bye.gap_samples
            assert gap_seconds(live) == pytest.approx(bye.gap_samples / RATE_HZ)
            behind = [score for score in plant.scores(start) if score.end_sample > begin]
            assert all(score.clip_start_sample is not None for score in behind if score.state == "normal")
            # as if listening had begun with the first sample behind the gap
            expected, _ = await unbroken(f"http://127.0.0.1:{live.port}", bytes(plant.sent[2 * end :]), end)
            assert bare(behind) == bare(expected)

    run(work())


def test_a_line_that_brings_byte_after_byte(live: Any, sounds: Sounds) -> None:
    async def work() -> None:
        async with line_to(live.port) as proxy:
            proxy.crumbs = True
            async with sounding(Plant(proxy.url, sounds, speed=SPEED)) as plant:
                await plant.until(lambda: len(plant.scores()) >= 6)
                await check_nothing_was_lost(live, plant)
                assert len(plant.connections) == 1

    run(work())


def test_a_line_that_swallows_everything(live: Any, sounds: Sounds) -> None:
    """Both ends think that they are connected: the client finds out by itself, and takes the stream over."""

    async def work() -> None:
        async with (
            line_to(live.port) as proxy,
            sounding(Plant(proxy.url, sounds, speed=SPEED, times=HASTY)) as plant,
        ):
            for number in range(1, 4):
                await plant.until(lambda count=number: len(plant.connections) == count and len(plant.scores()) >= 8)
                start = len(plant.messages)
                await plant.until(lambda start=start: len(plant.scores(start)) >= 5)
                proxy.swallow()
            await plant.until(lambda: len(plant.connections) == 4)
            await check_nothing_was_lost(live, plant)

    run(work())


def test_a_line_that_is_torn_at_random(live: Any, sounds: Sounds) -> None:
    chance = random.Random(6)

    async def work() -> None:
        async with line_to(live.port) as proxy:
            proxy.resets_after = lambda: chance.randrange(200, 400_000)
            async with sounding(Plant(proxy.url, sounds, speed=SPEED)) as plant:
                await plant.until(lambda: proxy.torn >= 12)
                proxy.resets_after = None
                await check_nothing_was_lost(live, plant)
                assert len(plant.connections) >= 6

    run(work())


LISTEN = """
import sys
from pathlib import Path
from humwatch_service.cli import listen as commands_listen
from humwatch_service.cli.main import main
from tests.sound_cards import FakeSound, card
sound = FakeSound([card("mic", rate_hz=16_000)])
sound.feed = Path(sys.argv.pop(1)).read_bytes()
commands_listen.load_sounddevice = lambda: sound
main()
"""


class Listener:
    """A `humwatch listen` process, with what it was told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.messages: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for so many further messages of a kind; returns the last."""
        deadline_s = time.monotonic() + 60
        while True:
            line = self._lines.get(timeout=max(0.1, deadline_s - time.monotonic()))
            assert line, "it ended"
            self.messages.append(json.loads(line))
            count -= self.messages[-1]["type"] == kind
            if not count:
                return self.messages[-1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")


@contextmanager
def listening(url: str, feed: Path) -> Iterator[Listener]:
    command = [sys.executable, "-c", LISTEN, str(feed), "listen", "--machine", MACHINE, "--url", url, "--json"]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Listener(process)
        finally:
            process.kill()


@pytest.mark.process
def test_listen_goes_on_by_itself_when_the_service_is_killed_or_stopped(
    tmp_path: Path, shared_models: Path, sounds: Sounds
) -> None:
    feed = tmp_path / "feed"
    feed.write_bytes(sounds.normal)
    with nursery() as mother:
        service = Service(mother, tmp_path, shared_models)
        service.start()
        with listening(service.url, feed) as listener:
            first = listener.until("ready")
            for end in (service.kill, service.stop):
                before = listener.until("received", 3)["sample"]
                assert end() in (None, 0)
                time.sleep(1.0)
                service.start()
                again = listener.until("ready")
                assert (again["stream_id"], again["resumed"]) == (first["stream_id"], True)
                assert again["next_sample"] <= before + RATE_HZ
                while listener.until("received")["sample"] <= before:
                    pass
            listener.process.send_signal(signal.SIGINT)
            bye = listener.until("bye")
            assert listener.process.wait(10) == 0
        assert bye["gap_samples"] == 0
        with httpx.Client(base_url=service.url, trust_env=False) as http:
            metrics = http.get("/metrics").text
        assert f'humwatch_audio_gap_seconds_total{{machine_id="{MACHINE}"}} 0.0' in metrics
        assert service.stop() == 0
