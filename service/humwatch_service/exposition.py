"""Metrics as text for whoever scrapes them, without holding up the streams of the same process."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from starlette.concurrency import run_in_threadpool

NAP_EVERY: Final = 100
"""Samples between two naps: about a millisecond of work."""
NAP_S: Final = 50e-6
PACKED_FROM_BYTES: Final = 10_000
"""Shorter texts are not worth compressing."""


@dataclass(frozen=True)
class Scrape:
    """What goes out.

    Attributes:
        body: the text, compressed where ``encoding`` says so.
        content_type: of the text.
        encoding: ``gzip``, or None.
    """

    body: bytes
    content_type: str
    encoding: str | None


class Exposition:
    """Renders a registry, once at a time. Belongs to the event loop.

    Whoever asks while one rendering runs shares the next one with all who wait: however many scrape, two renderings at
    most are between a question and its answer, and an answer is never older than its question.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._rendering = asyncio.Lock()
        self._next: dict[tuple[str, bool], asyncio.Task[Scrape]] = {}

    async def scrape(self, accept: str, accept_encoding: str) -> Scrape:
        """The metrics now, as the headers ``Accept`` and ``Accept-Encoding`` want them."""
        wanted = (preferred(accept), _takes_gzip(accept_encoding))
        task = self._next.get(wanted)
        if task is None:
            task = self._next[wanted] = asyncio.create_task(self._in_turn(wanted))
        return await asyncio.shield(task)

    async def _in_turn(self, wanted: tuple[str, bool]) -> Scrape:
        async with self._rendering:
            del self._next[wanted]  # who asks from now on gets a newer one
            return await run_in_threadpool(self._scrape, *wanted)

    def _scrape(self, accept: str, packed: bool) -> Scrape:
        text, content_type = rendered(self._registry, accept)
        if packed and len(text) >= PACKED_FROM_BYTES:
            return Scrape(gzip.compress(text, compresslevel=1, mtime=0), content_type, "gzip")
        return Scrape(text, content_type, None)


def rendered(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """All metrics as text (blocking), and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_Napping(registry)), content_type


def preferred(accept: str) -> str:
    """The kind of text that is sent: plain text wherever that is taken.

    There are no exemplars and no times of creation here, so OpenMetrics says no more, and takes twice the time.
    """
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return accept if "application/openmetrics-text" in kinds and not kinds & {"text/plain", "text/*", "*/*"} else ""


def _takes_gzip(accept_encoding: str) -> bool:
    codings = dict(part.replace(" ", "").lower().partition(";")[::2] for part in accept_encoding.split(","))
    return "gzip" in codings and codings["gzip"] not in ("q=0", "q=0.0", "q=0.00", "q=0.000")


class _Napping(Collector):
    """A registry that lets the other threads have the interpreter every so often.

    A thread that has it gives it up after 5 ms at the earliest, to each that waits, and a step of a stream waits for it
    many times.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """The families, whose samples come with pauses."""
        for family in self._registry.collect():
            family.samples = _Samples(family.samples)
            time.sleep(NAP_S)
            yield family


class _Samples(list[Sample]):
    """Samples that come with pauses."""

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), NAP_EVERY):
            yield from self[start : start + NAP_EVERY]
            if start:
                time.sleep(NAP_S)
