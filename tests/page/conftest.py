"""A real headless Chromium on a real service, whose machine sounds ten times as fast as life.

Playwright's loop runs in the main thread as long as a browser is open: browsers belong to a module, so that no other
test of the process finds a loop running.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from humwatch.synthetic import SyntheticMachine
from tests.live_service import MACHINE, Nursery, Plant, Service, Sounds, nursery
from tests.service_fixtures import constant_graph, make_bundle, neighbour_graph

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

RULE = "on_delay_s = 3\noff_delay_s = 3"
PATIENCE_MS = 60_000
RATE_HZ = 16_000
PICTURES = Path(__file__).parents[2] / "runs" / "page-tests"
"""What each test saw last, to be looked at."""


class SoundingMachine:
    """A plant in a thread of its own: it sounds as ``faulty`` says, whatever the test waits for."""

    def __init__(self, url: str, sounds: Sounds, *, speed: float = 10.0) -> None:
        self._url = url
        self._sounds = sounds
        self._speed = speed
        self._plant: Plant | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def faulty(self) -> bool:
        return self._plant is not None and self._plant.faulty

    @faulty.setter
    def faulty(self, faulty: bool) -> None:
        while self._plant is None:
            time.sleep(0.01)
        self._plant.faulty = faulty

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._running = self._loop.create_task(self._sound())
        self._loop.run_until_complete(self._running)
        self._loop.close()

    async def _sound(self) -> None:
        self._plant = Plant(self._url, self._sounds, speed=self._speed)
        try:
            await self._plant.run()
        except asyncio.CancelledError:
            return


class House:
    """A service, the machine that sounds to it, and a way to ask it behind the page's back."""

    def __init__(self, service: Service, sounds: Sounds, *, speed: float = 10.0) -> None:
        self.service = service
        self._speed = speed
        self.url = f"{service.url}/ui/"
        self.http = httpx.Client(base_url=service.url, trust_env=False, timeout=20)
        self._sounds = sounds
        self.machine: SoundingMachine | None = None

    def begin(self) -> None:
        self.service.start()
        self.until(lambda: self.http.get("/readyz").status_code == 200)
        self.machine = SoundingMachine(self.service.url, self._sounds, speed=self._speed)
        self.until(lambda: self.state() == "normal")

    def end(self) -> None:
        if self.machine is not None:
            self.machine.stop()
        self.http.close()
        if self.service.pid is not None:
            self.service.kill()

    def state(self) -> str:
        return str(self.status()["state"])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/machines/{MACHINE}/status").json()
        return found

    def order(self, place: str, **fields: object) -> dict[str, Any]:
        answer = self.http.post(f"/v1/{place}", json={"who": "ann", "why": "a test", **fields})
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def alarms(self, **query: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/v1/alarms", params=dict(query)).json()["alarms"]
        return found

    def raise_alarm(self) -> str:
        """A fault is heard, and ends; the id of the alarm, which is in force or just over."""
        known = {alarm["id"] for alarm in self.alarms()}
        assert self.machine is not None
        self.machine.faulty = True
        self.until(lambda: {alarm["id"] for alarm in self.alarms()} - known)
        (found,) = {alarm["id"] for alarm in self.alarms()} - known
        return str(found)

    def calm(self) -> None:
        """The machine sounds as it should, and is shown so; what is open is acknowledged."""
        assert self.machine is not None
        self.machine.faulty = False
        self.until(lambda: self.state() == "normal")
        for alarm in self.alarms(open=True):
            if alarm["acknowledged"] is None:
                self.order(f"alarms/{alarm['id']}:ack")

    @staticmethod
    def until(what: Callable[[], object], timeout_s: float = PATIENCE_MS / 1_000) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                if what():
                    return
            except (httpx.TransportError, KeyError, ValueError):
                pass
            assert time.monotonic() < deadline_s, "waited in vain"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def mother() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


@pytest.fixture(scope="session")
def synthetic() -> SyntheticMachine:
    return SyntheticMachine(seed=3)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory, synthetic: SyntheticMachine) -> Path:
    """Models of two machines; only one of them sounds."""
    folder = tmp_path_factory.mktemp("page")
    recordings = [folder / f"{number:02d}.wav" for number in range(12)]
    for number, path in enumerate(recordings):
        soundfile.write(path, synthetic.clip(number, 4.0), RATE_HZ, subtype="PCM_16")
    root = folder / "models"
    make_bundle(root, "fan-1", "1", neighbour_graph(), recordings)
    make_bundle(root, MACHINE, "1", constant_graph(), recordings, kind="spectrum_profile", machine_type="pump")
    return root


@pytest.fixture(scope="session")
def sounds(synthetic: SyntheticMachine) -> Sounds:
    return Sounds.of(synthetic)


@pytest.fixture(scope="module")
def make_house(
    mother: Nursery, bundles: Path, sounds: Sounds, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., House]]:
    """Makes the one house of a module, with settings of its own."""
    houses = []

    def make(*, speed: float = 10.0, **settings: object) -> House:
        folder = tmp_path_factory.mktemp("house")
        models = Path(shutil.copytree(bundles, folder / "models"))
        houses.append(House(Service(mother, folder, models, RULE, **settings), sounds, speed=speed))
        return houses[-1]

    yield make
    for house in houses:
        house.end()


@pytest.fixture(scope="module")
def house(make_house: Callable[..., House]) -> House:
    made = make_house()
    made.begin()
    return made


def _sync_api() -> Any:
    return pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with _sync_api().sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield started
        started.close()


class Window:
    """Opens pages, and knows everything that went wrong on them."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.troubles: list[str] = []
        self.expected: list[str] = []

    def open(self, address: str, *, width: int = 1280, theme: str = "light", insecure: bool = False) -> Any:
        """Open an address; ``insecure`` accepts a certificate of a test's own."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=theme,
            reduced_motion="reduce",
            ignore_https_errors=insecure,
        )
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        return page

    def close(self, name: str) -> None:
        """Keep a picture of every page as it was in the end."""
        for number, context in enumerate(self._contexts):
            for page in context.pages:
                page.screenshot(path=PICTURES / f"{name}-{number}.png", full_page=True)
            context.close()

    def unexpected(self) -> list[str]:
        return [trouble for trouble in self.troubles if not any(re.search(known, trouble) for known in self.expected)]

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text} {message.location.get('url', '')}")


@pytest.fixture
def window(browser: Any, request: pytest.FixtureRequest) -> Iterator[Window]:
    """A window in which nothing may go wrong but what the test expects: no console error, nothing against the CSP."""
    window = Window(browser)
    try:
        yield window
        assert window.unexpected() == []
    finally:
        window.close(re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-"))


@pytest.fixture
def expect() -> Any:
    found = _sync_api().expect
    found.set_options(timeout=PATIENCE_MS)
    return found


def is_too_wide(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def grave(page: Any) -> list[Any]:
    """What axe finds that keeps somebody out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (violation["id"], violation["help"], [node["html"][:160] for node in violation["nodes"]][:3])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
