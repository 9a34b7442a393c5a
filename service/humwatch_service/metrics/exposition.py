"""Metrics as text for whoever scrapes them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool

from humwatch_service.metrics.lines import LineFamily, TextFormat, text_of

PACKED_FROM_BYTES: Final = 10_000
"""Shorter texts are not worth compressing."""
END: Final = b"# EOF\n"
"""Last line of OpenMetrics."""


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
    """Renders a registry and the families of machines, once at a time.

    Whoever asks while one rendering runs shares the next one with all who wait: however many scrape, two renderings at
    most are between a question and its answer, and an answer is never older than its question.
    """

    def __init__(self, registry: CollectorRegistry, machines: Collection[LineFamily]) -> None:
        self._registry = registry
        self._machines = machines
        self._rendering = asyncio.Lock()
        self._next: dict[tuple[TextFormat, bool], asyncio.Task[Scrape]] = {}

    async def scrape(self, accept: str, accept_encoding: str) -> Scrape:
        """The metrics now, as the headers ``Accept`` and ``Accept-Encoding`` want them. On the event loop."""
        wanted = (format_of(accept), _takes_gzip(accept_encoding))
        task = self._next.get(wanted)
        if task is None:
            task = self._next[wanted] = asyncio.create_task(self._in_turn(*wanted))
        return await asyncio.shield(task)

    def render(self, form: TextFormat) -> tuple[bytes, str]:
        """All metrics as text (blocking), and its content type."""
        encode, content_type = choose_encoder("application/openmetrics-text" if form == "openmetrics" else "")
        text: bytes = encode(self._registry)
        end = END if text.endswith(END) else b""
        return b"".join((text.removesuffix(end), text_of(self._machines, form).encode(), end)), content_type

    async def _in_turn(self, form: TextFormat, packed: bool) -> Scrape:
        async with self._rendering:
            del self._next[form, packed]  # who asks from now on gets a newer one
            return await run_in_threadpool(self._scrape, form, packed)

    def _scrape(self, form: TextFormat, packed: bool) -> Scrape:
        text, content_type = self.render(form)
        if packed and len(text) >= PACKED_FROM_BYTES:
            return Scrape(gzip.compress(text, compresslevel=1, mtime=0), content_type, "gzip")
        return Scrape(text, content_type, None)


def format_of(accept: str) -> TextFormat:
    """The format that is sent: plain text wherever that is taken.

    There are no exemplars and no times of creation here, so OpenMetrics says no more.
    """
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    plain = kinds & {"text/plain", "text/*", "*/*"}
    return "openmetrics" if "application/openmetrics-text" in kinds and not plain else "plain"


def _takes_gzip(accept_encoding: str) -> bool:
    codings = dict(part.replace(" ", "").lower().partition(";")[::2] for part in accept_encoding.split(","))
    return "gzip" in codings and codings["gzip"] not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
