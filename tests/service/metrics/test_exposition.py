"""How /metrics goes out."""

from __future__ import annotations

import asyncio
import gzip
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from humwatch_service.metrics.exposition import Exposition, Scrape
from humwatch_service.metrics.lines import LineFamily
from humwatch_service.metrics.table import MetricSpec


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    gauge = Gauge("some_bytes", "Some.", ["name"], registry=registry)
    for number in range(950):
        gauge.labels(f"{number}").set(number)
    return registry


def test_both_kinds_of_families_are_in_the_text(registry: CollectorRegistry) -> None:
    family = LineFamily(MetricSpec("some_level", "gauge", ("machine_id",), "Some level."))
    family.line("fan-1").set(0.5)
    shown = Exposition(registry, [family])
    plain, _ = shown.render("plain")
    assert plain == generate_latest(registry) + family.text("plain").encode()
    openmetrics, kind = shown.render("openmetrics")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith(b'some_level{machine_id="fan-1"} 0.5\n# EOF\n')
    assert openmetrics.count(b"# EOF") == 1


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("br, identity", False)],
)
def test_the_text_is_compressed_when_that_is_asked_for(
    registry: CollectorRegistry, accept_encoding: str, packed: bool
) -> None:
    scrape = asyncio.run(Exposition(registry, ()).scrape("", accept_encoding))
    assert (scrape.encoding == "gzip") == packed
    assert (gzip.decompress(scrape.body) if packed else scrape.body) == generate_latest(registry)
    assert not packed or len(scrape.body) < len(gzip.decompress(scrape.body)) / 4


def test_a_short_text_is_not_compressed() -> None:
    assert asyncio.run(Exposition(CollectorRegistry(), ()).scrape("", "gzip")).encoding is None


def test_all_who_wait_share_one_rendering_that_is_newer_than_their_question(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("state", "What is so.", registry=registry)
    times: list[float] = []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(self: Exposition, form: str) -> tuple[bytes, str]:
        text = generate_latest(registry), "text/plain"
        times.append(gauge._value.get())
        begun.set()
        assert go_on.wait(20)
        return text

    monkeypatch.setattr(Exposition, "render", slowly)

    async def ask() -> list[Scrape]:
        shown = Exposition(registry, ())
        first = asyncio.create_task(shown.scrape("", ""))
        await asyncio.to_thread(begun.wait, 20)
        gauge.set(1)
        others = [asyncio.create_task(shown.scrape("*/*", "")) for _ in range(30)]
        await asyncio.sleep(0)
        others[0].cancel()  # one who hangs up takes nothing from the others
        go_on.set()
        return [await first, *[await other for other in others[1:]]]

    first, *others = asyncio.run(ask())
    assert times == [0.0, 1.0]
    assert b"state 0.0" in first.body
    assert all(b"state 1.0" in other.body for other in others)


def test_a_scrape_over_http_says_how_it_is_packed(client: Any) -> None:
    with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(packed).startswith(b"# HELP")
    plain = client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
