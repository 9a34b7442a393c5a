"""Export of finished spans: a provider of an app's own, and an exporter whose failures are logged once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from humwatch_service.telemetry.logs import event_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

EXPORT_TIMEOUT_S: Final = 2.0
"""Longest time for one batch, with all attempts."""

_log = event_logger("humwatch.tracing")


class WatchedExporter:
    """Exporter around another, which logs when batches stop to arrive and when they do again: once each."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._lost = 0
        self._ended = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that does not arrive is given up (blocking, on the provider's thread)."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                _log.warning("traces not delivered", endpoint=self._endpoint)
            self._lost += len(spans)
        elif self._lost:
            _log.info("traces delivered again", endpoint=self._endpoint, lost_spans=self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """End waiting between attempts, and take no more; from any thread, more than once."""
        if self._ended.acquire(blocking=False):
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing waits here."""
        return True


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Return an exporter that posts batches; the standard variables name headers and certificates."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint, timeout=EXPORT_TIMEOUT_S)


def own_provider(sample_ratio: float) -> TracerProvider:
    """Return a provider of an app's own; the standard variables may name the service otherwise."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
    from opentelemetry.trace import SpanKind

    requests = TraceIdRatioBased(sample_ratio)

    class Roots(Sampler):
        """Requests by the ratio; of turns only those that are to be traced come here."""

        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *rest: Any, **more: Any
        ) -> SamplingResult:
            sampler = requests if kind is SpanKind.SERVER else ALWAYS_ON
            return sampler.should_sample(parent_context, trace_id, name, kind, *rest, **more)

        def get_description(self) -> str:
            return f"Humwatch{{{sample_ratio}}}"

    own = {
        "service.name": "humwatch",
        "service.version": version("humwatch"),
        "service.instance.id": str(uuid.uuid4()),
    }
    resource = Resource(own).merge(OTELResourceDetector().detect())
    return TracerProvider(sampler=ParentBased(Roots()), resource=resource, shutdown_on_exit=False)
