"""Traces over OTLP: what a request or a batch of a live stream spent its time on. Off unless a collector is named.

OpenTelemetry is imported only when it is on, and there is no provider for the whole process: each app has its own,
which ends with it. Spans carry ids, codes, counts and times, never a query, a header, a body or an exception's text.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humwatch_service.config.settings import Settings
from humwatch_service.errors import TracingUnavailable
from humwatch_service.telemetry.requests import PROBES, logged_path, request_id_of
from humwatch_service.telemetry.trace_export import EXPORT_TIMEOUT_S, WatchedExporter, otlp_exporter, own_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

MAX_QUEUED_SPANS: Final = 2_048
"""Finished spans that may wait for the collector; of more the oldest are dropped."""
MAX_BATCH_SPANS: Final = 512
BATCH_EVERY_S: Final = 2.0
CLOSE_S: Final = 1.0
"""Time that what is left gets when the service stops; after it the batch on its way is the last."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODULES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

Attribute = str | bool | int | float
Note = Callable[..., None]
"""Is told attributes of a span by name."""

_tracer: ContextVar[Tracer | None] = ContextVar("humwatch_tracer", default=None)
"""Of the request or batch that is being traced; it goes into worker threads with the context."""


def _ignored(**_attributes: Attribute | None) -> None:
    return None


_NOTHING: Final[AbstractContextManager[Note]] = nullcontext(_ignored)


def stage_span(name: str, **attributes: Attribute | None) -> AbstractContextManager[Note]:
    """Trace what is done inside as a span, if the request or batch is traced; yield a function that adds attributes."""
    tracer = _tracer.get()
    return _NOTHING if tracer is None else _stage(tracer, name, attributes)


def past_span(name: str, seconds: float, **attributes: Attribute | None) -> None:
    """Trace something that took ``seconds`` and ends now, as :func:`stage_span` does."""
    tracer = _tracer.get()
    if tracer is None:
        return
    now_ns = time.time_ns()
    tracer.start_span(name, start_time=now_ns - round(1e9 * seconds), attributes=_named(attributes)).end(now_ns)


@contextmanager
def _stage(tracer: Tracer, name: str, attributes: Mapping[str, Attribute | None]) -> Iterator[Note]:
    with tracer.start_as_current_span(
        name, attributes=_named(attributes), record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield lambda **more: span.set_attributes(_named(more))
        except BaseException as error:
            _failed(span, getattr(error, "code", type(error).__name__))
            raise


def _named(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Return attributes under this program's prefix, without those that are not known."""
    return {f"humwatch.{name}": value for name, value in attributes.items() if value is not None}


def _failed(span: Span, code: object) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", str(code))
    span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """The traces of one app. Raises :class:`TracingUnavailable` where they are wanted and the extra is missing.

    Args:
        settings: whether, where to, and of how many.
        make_exporter: maker of the exporter of finished spans, for tests.
        chance: uniform in [0, 1): decides which turns are traced.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_exporter: Callable[[str], SpanExporter] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        check_tracing(settings)
        self.on = settings.tracing_endpoint is not None
        self.follows_batches = self.on and settings.tracing_live_ratio > 0
        self._settings = settings
        self._make_exporter = make_exporter or otlp_exporter
        self._chance = chance
        self._exporter: WatchedExporter | None = None
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def start(self) -> None:
        """Begin, with a thread that sends; nothing where tracing is off."""
        if self._settings.tracing_endpoint is None or self._provider is not None:
            return
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        endpoint = self._settings.tracing_endpoint
        self._exporter = WatchedExporter(self._make_exporter(endpoint), endpoint)
        self._provider = own_provider(self._settings.tracing_sample_ratio)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,  # type: ignore[arg-type]  # its base class would have to be imported when it is off
                max_queue_size=MAX_QUEUED_SPANS,
                max_export_batch_size=MAX_BATCH_SPANS,
                schedule_delay_millis=1e3 * BATCH_EVERY_S,
                export_timeout_millis=1e3 * EXPORT_TIMEOUT_S,
            )
        )
        self._tracer = self._provider.get_tracer("humwatch", version("humwatch"))

    def close(self) -> None:
        """Send what is left, within a few seconds, and end the thread (blocking)."""
        if self._provider is None or self._exporter is None:
            return
        late = threading.Timer(CLOSE_S, self._exporter.shutdown)
        late.start()
        self._provider.shutdown()
        late.cancel()
        late.join()
        self._provider = self._tracer = None

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span | None]:
        """Trace an HTTP request; yield its span, or None where it is not traced. Its trace id goes into the log."""
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            _method(scope),
            context=TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": _method(scope), "url.path": logged_path(scope)},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if not span.is_recording():
                yield None
                return
            with self._followed():
                yield span

    @contextmanager
    def batch(self, waited_s: float) -> Iterator[None]:
        """Trace a batch of a live stream, of which some are traced; it waited ``waited_s`` for a worker."""
        if self._tracer is None or self._chance() >= self._settings.tracing_live_ratio:
            yield
            return
        with _stage(self._tracer, "live turn", {"waited_s": round(waited_s, 6)}), self._followed():
            yield

    @contextmanager
    def _followed(self) -> Iterator[None]:
        from opentelemetry.trace import format_trace_id, get_current_span

        trace_id = format_trace_id(get_current_span().get_span_context().trace_id)
        token = _tracer.set(self._tracer)
        try:
            with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                yield
        finally:
            _tracer.reset(token)


class RequestTraces:
    """Middleware outside of all others, there only when tracing is on: a span a request, but for probes."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what came of it."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(scope) as span:
            try:
                await self._app(scope, receive, noted)
            finally:
                if span is not None:
                    _describe(span, scope, status)


def _describe(span: Span, scope: Scope, status: int) -> None:
    """Add the attributes of a request that are known only at its end."""
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{_method(scope)} {route}")
        span.set_attribute("http.route", route)
    request_id = request_id_of(scope)
    if request_id is not None:
        span.set_attribute("humwatch.request_id", request_id)
    if status:
        span.set_attribute("http.response.status_code", status)
    if not status or status >= 500:
        _failed(span, status or "no_answer")


def _method(scope: Scope) -> str:
    return str(scope["method"]) if scope["method"] in _METHODS else "_OTHER"


def check_tracing(settings: Settings) -> None:
    """Refuse to be asked for traces that cannot be made. Raises :class:`TracingUnavailable`."""
    if settings.tracing_endpoint is not None and not all(map(_is_there, _MODULES)):
        raise TracingUnavailable(
            "tracing_endpoint is set, and OpenTelemetry is not installed: pip install 'humwatch[tracing]',"
            " or unset HUMWATCH_TRACING_ENDPOINT"
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False
