"""The text of all metrics, for a scrape."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool

from humwatch_service.headers import quality_values
from humwatch_service.metrics.lines import LineFamily, TextFormat, text_of

PACKED_FROM_BYTES: Final = 10_000
"""Size from which a text is worth compressing."""
END: Final = b"# EOF\n"
"""Last line of OpenMetrics."""


@dataclass(frozen=True)
class Scrape:
    """The answer to a scrape.

    Attributes:
        body: text of the metrics, compressed where ``encoding`` says so.
        content_type: media type of the text.
        encoding: ``gzip``, or None.
    """

    body: bytes
    content_type: str
    encoding: str | None


class Exposition:
    """The rendering of a registry and of the families of machines, one at a time.

    Scrapes that come while one rendering runs share the next one: however many there are, two renderings at most lie
    between a scrape and its answer, and an answer is never older than its scrape.

    Args:
        registry: metrics of the client library.
        machines: families of machines.
    """

    def __init__(self, registry: CollectorRegistry, machines: Collection[LineFamily]) -> None:
        self._registry = registry
        self._machines = machines
        self._rendering = asyncio.Lock()
        self._next: dict[tuple[TextFormat, bool], asyncio.Task[Scrape]] = {}

    async def scrape(self, accept: str, accept_encoding: str) -> Scrape:
        """Return the metrics now, as the headers ``Accept`` and ``Accept-Encoding`` want them. On the event loop."""
        wanted = (format_of(accept), _takes_gzip(accept_encoding))
        task = self._next.get(wanted)
        if task is None:
            task = self._next[wanted] = asyncio.create_task(self._in_turn(*wanted))
        return await asyncio.shield(task)

    def render(self, form: TextFormat) -> tuple[bytes, str]:
        """Render all metrics (blocking); return the text and its content type."""
        encode, content_type = choose_encoder("application/openmetrics-text" if form == "openmetrics" else "")
        text: bytes = encode(self._registry)
        end = END if text.endswith(END) else b""
        return b"".join((text.removesuffix(end), text_of(self._machines, form).encode(), end)), content_type

    async def _in_turn(self, form: TextFormat, packed: bool) -> Scrape:
        async with self._rendering:
            del self._next[form, packed]  # a scrape from now on gets a newer one
            return await run_in_threadpool(self._scrape, form, packed)

    def _scrape(self, form: TextFormat, packed: bool) -> Scrape:
        text, content_type = self.render(form)
        if packed and len(text) >= PACKED_FROM_BYTES:
            return Scrape(gzip.compress(text, compresslevel=1, mtime=0), content_type, "gzip")
        return Scrape(text, content_type, None)


def format_of(accept: str) -> TextFormat:
    """Return the format to send: plain text wherever that is accepted.

    There are no exemplars and no times of creation here, so OpenMetrics says no more.
    """
    kinds = set(quality_values(accept))
    plain = kinds & {"text/plain", "text/*", "*/*"}
    return "openmetrics" if "application/openmetrics-text" in kinds and not plain else "plain"


def _takes_gzip(accept_encoding: str) -> bool:
    return quality_values(accept_encoding).get("gzip", 0.0) > 0
