from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from typer.testing import CliRunner

from humwatch_service.cli.main import app as cli
from humwatch_service.config.settings import Settings
from humwatch_service.errors import TracingUnavailable
from humwatch_service.streams.workers import StreamWorkers
from humwatch_service.telemetry import tracing as tracing_module
from humwatch_service.telemetry.tracing import RequestTraces, Tracing, past_span, stage_span
from tests.service.telemetry.test_logs import logged
from tests.service_fixtures import running
from tests.stream_batches import CalledBatch

ROOT = Path(__file__).parents[3]

ENDPOINT = "http://127.0.0.1:9/v1/traces"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """An OTLP/HTTP receiver in a thread."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.append(self.path)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        return {
            attribute.key: attribute.value.string_value
            for attribute in self.requests[0].resource_spans[0].resource.attributes
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(spans: InMemorySpanExporter) -> Iterator[Callable[..., Tracing]]:
    """Makes tracing whose spans are there as soon as they end."""
    made = []

    def make(**given: Any) -> Tracing:
        tracing = Tracing(Settings(tracing_endpoint=ENDPOINT, **given), make_exporter=lambda endpoint: spans)
        tracing.start()
        assert tracing._provider is not None
        tracing._provider.add_span_processor(SimpleSpanProcessor(spans))
        made.append(tracing)
        return tracing

    yield make
    for tracing in made:
        tracing.close()


class Client:
    """Asks an app without a network, one request after the other."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(self, path: str, headers: Any = None, times: int = 1) -> list[int]:
        async def ask() -> list[int]:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://humwatch") as client:
                return [(await client.get(path, headers=headers)).status_code for _ in range(times)]

        return asyncio.run(ask())


def served(tracing: Tracing) -> Client:
    """A small app with a route that works in stages."""

    async def hello(request: Request) -> PlainTextResponse:
        past_span("queue", 0.25)
        with stage_span("score", machine_id="fan-1", nothing=None) as note, stage_span("predict", windows=7):
            note(state="normal")
        return PlainTextResponse("hello")

    async def broken(request: Request) -> PlainTextResponse:
        with stage_span("score"):
            raise ValueError("whsec_secret")

    routes = [Route("/hello/{name}", hello), Route("/broken", broken), Route("/livez", hello), Route("/metrics", hello)]
    app = Starlette(routes=routes, middleware=[Middleware(RequestTraces, tracing=tracing)])
    return Client(app)


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_a_request_and_its_stages_are_one_trace(traced: Callable[..., Tracing], spans: InMemorySpanExporter) -> None:
    assert served(traced()).get("/hello/bob?token=hunter22") == [200]
    found = by_name(spans)
    assert set(found) == {"GET /hello/{name}", "queue", "score", "predict"}
    root = found["GET /hello/{name}"]
    assert root.parent is None
    assert dict(root.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": "/hello/bob",
        "http.route": "/hello/{name}",
        "http.response.status_code": 200,
    }
    for name, parent in (("queue", root), ("score", root), ("predict", found["score"])):
        link = found[name].parent
        assert link is not None
        assert link.span_id == parent.get_span_context().span_id
    assert dict(found["score"].attributes or {}) == {"humwatch.machine_id": "fan-1", "humwatch.state": "normal"}
    queue = found["queue"]
    assert queue.end_time is not None
    assert queue.start_time is not None
    assert queue.end_time - queue.start_time == 250_000_000


def test_a_failure_is_told_by_its_name_and_never_by_its_text(
    traced: Callable[..., Tracing], spans: InMemorySpanExporter
) -> None:
    assert served(traced()).get("/broken") == [500]
    score = by_name(spans)["score"]
    assert (score.attributes or {})["error.type"] == "ValueError"
    assert not score.status.is_ok
    assert "whsec_secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
def test_probes_are_not_traced(traced: Callable[..., Tracing], spans: InMemorySpanExporter, path: str) -> None:
    client = served(traced())
    client.get(path)
    assert spans.get_finished_spans() == ()
    client.get("/hello/x")
    assert len(spans.get_finished_spans()) == 4


@pytest.mark.parametrize(("flags", "ratio", "expected"), [("01", 0.0, 4), ("00", 1.0, 0)])
def test_the_callers_trace_and_its_decision_are_followed(
    traced: Callable[..., Tracing], spans: InMemorySpanExporter, flags: str, ratio: float, expected: int
) -> None:
    header = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"}
    served(traced(tracing_sample_ratio=ratio)).get("/hello/x", headers=header)
    assert {f"{span.get_span_context().trace_id:032x}" for span in spans.get_finished_spans()} <= {TRACE_ID}
    assert len(spans.get_finished_spans()) == expected


@pytest.mark.parametrize("header", ["", "00", "x" * 10_000, f"00-{'0' * 32}-{'0' * 16}-01", "\xff\xfe"])
def test_a_hostile_parent_is_no_parent(
    traced: Callable[..., Tracing], spans: InMemorySpanExporter, header: str
) -> None:
    served(traced()).get("/hello/x", headers={b"traceparent": header.encode("latin-1")})
    assert by_name(spans)["GET /hello/{name}"].parent is None


def test_the_ratio_leaves_requests_out(traced: Callable[..., Tracing], spans: InMemorySpanExporter) -> None:
    client = served(traced(tracing_sample_ratio=0.0))
    client.get("/hello/x")
    assert spans.get_finished_spans() == ()


def test_two_apps_have_traces_of_their_own(spans: InMemorySpanExporter) -> None:
    before = trace.get_tracer_provider()
    other = InMemorySpanExporter()
    pair = [
        Tracing(Settings(tracing_endpoint=ENDPOINT), make_exporter=lambda _, into=into: into) for into in (spans, other)
    ]
    for tracing in pair:
        tracing.start()
    served(pair[0]).get("/hello/x")
    for tracing in pair:
        tracing.close()
    assert len(spans.get_finished_spans()) == 4
    assert other.get_finished_spans() == ()
    assert trace.get_tracer_provider() is before


def test_some_turns_of_a_stream_are_traced(spans: InMemorySpanExporter) -> None:
    chances = iter([0.1, 0.9, 0.4])
    settings = Settings(tracing_endpoint=ENDPOINT, tracing_live_ratio=0.5, tracing_sample_ratio=0.0)
    tracing = Tracing(settings, make_exporter=lambda endpoint: spans, chance=lambda: next(chances))
    tracing.start()
    assert tracing.follows_batches
    workers = StreamWorkers(1, around=tracing.batch)

    def turn(windows: int) -> None:
        with stage_span("predict", windows=windows):
            pass

    for windows in (1, 2, 3):
        batch = CalledBatch(partial(turn, windows))
        workers.submit(batch)
        batch.wait()
    workers.close()
    tracing.close()
    found = spans.get_finished_spans()
    assert [span.name for span in found] == ["predict", "live turn", "predict", "live turn"]
    assert [(span.attributes or {}).get("humwatch.windows") for span in found] == [1, None, 3, None]
    assert (found[1].attributes or {})["humwatch.waited_s"] >= 0  # type: ignore[operator]


@pytest.mark.process
def test_off_imports_nothing_and_starts_nothing() -> None:
    code = (
        "import sys, threading\n"
        "from humwatch_service.app import create_app\n"
        "from humwatch_service.config.settings import Settings\n"
        "app = create_app(Settings())\n"
        "tracing = app.state.service.tracing\n"
        "tracing.start()\n"
        "assert not tracing.on\n"
        "sent = ('opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "assert not [name for name in sys.modules if name.startswith(sent)]\n"
        "assert not [thread.name for thread in threading.enumerate() if 'Otel' in thread.name]\n"
        "assert not [m for m in app.user_middleware if m.cls.__name__ == 'RequestTraces']\n"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_off_a_stage_is_nothing() -> None:
    with stage_span("score", machine_id="fan-1") as note:
        note(state="normal")
    past_span("queue", 1.0)
    assert stage_span("score") is stage_span("predict")


def test_wanted_without_the_extra_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "_MODULES", ("opentelemetry_that_is_missing.sdk",))
    Tracing(Settings())
    with pytest.raises(TracingUnavailable, match=r"pip install 'humwatch\[tracing\]'"):
        Tracing(Settings(tracing_endpoint=ENDPOINT))


@pytest.mark.usefixtures("logging_as_before")
def test_serve_refuses_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "_MODULES", ("opentelemetry_that_is_missing.sdk",))
    monkeypatch.setenv("HUMWATCH_TRACING_ENDPOINT", ENDPOINT)
    done = CliRunner().invoke(cli, ["serve", "--port", "0", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "tracing_unavailable"


def test_doctor_and_config_check_say_that_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "_MODULES", ("opentelemetry_that_is_missing.sdk",))
    monkeypatch.setenv("HUMWATCH_TRACING_ENDPOINT", ENDPOINT)
    findings = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)["findings"]
    (traces,) = [finding for finding in findings if finding["check"] == "traces"]
    assert traces["result"] == "failed"
    assert "humwatch[tracing]" in traces["detail"]
    checked = CliRunner().invoke(cli, ["config", "check", "--json"])
    assert json.loads(checked.stdout)["error"]["code"] == "tracing_unavailable"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector/", "https://collector/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_a_bare_endpoint_gets_the_standard_path(given: str, expected: str) -> None:
    assert Settings(tracing_endpoint=given).tracing_endpoint == expected


@pytest.mark.parametrize("given", ["http://bob:hunter22@collector", "http://collector/?key=hunter22", "collector:4318"])
def test_an_endpoint_holds_no_secret(given: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(tracing_endpoint=given)
    assert "hunter22" not in caught.value.errors(include_input=False)[0]["msg"]


def otel_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "Otel" in thread.name]


def test_a_score_arrives_at_a_real_receiver(
    shared_models: Any,
    workshop: Any,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of-the-collector")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=hall-7")
    settings = Settings(models_dir=shared_models, port=0, score_workers=1, tracing_endpoint=collector.url)
    with caplog.at_level(logging.INFO, "humwatch"), running(settings) as server:
        answer = server.http.post("/score?machine_id=pump-2&plot=png", content=workshop.encoded(workshop.normal()))
        assert answer.status_code == 200
        server.http.get("/metrics")
        scored, request = logged(caplog, "scored"), logged(caplog, "request")
    assert otel_threads() == []
    assert collector.paths[0] == "/v1/traces"
    assert collector.headers[0]["api-key"] == "of-the-collector"
    resource = collector.resource()
    assert resource["service.name"] == "humwatch"
    assert resource["service.version"]
    assert resource["service.instance.id"]
    assert resource["deployment.environment"] == "hall-7"
    found = {span.name: span for span in collector.spans()}
    assert set(found) == {"POST /score", "receive", "queue", "score", "predict", "picture"}
    root = found["POST /score"]
    assert {span.trace_id for span in found.values()} == {root.trace_id}
    for name, parent in (("receive", root), ("queue", root), ("score", root), ("predict", found["score"])):
        assert found[name].parent_span_id == parent.span_id, name
    assert scored["trace_id"] == request["trace_id"] == root.trace_id.hex()
    attributes = {attribute.key: attribute.value for attribute in root.attributes}
    assert attributes["humwatch.request_id"].string_value == request["request_id"]
    assert attributes["http.response.status_code"].int_value == 200
    assert b"plot" not in b"".join(request.SerializeToString() for request in collector.requests)


def test_turns_of_a_live_stream_arrive_at_a_real_receiver(
    shared_models: Any, workshop: Any, collector: Collector
) -> None:
    settings = Settings(
        models_dir=shared_models,
        port=0,
        tracing_endpoint=collector.url,
        tracing_live_ratio=1.0,
        tracing_sample_ratio=0.0,
    )
    sound = (workshop.normal(seconds=8.0) * 32_767).astype(">i2").tobytes()
    with running(settings) as server:
        headers = {"Content-Type": "audio/L16;rate=16000;channels=1"}
        answer = server.http.post("/v1/machines/pump-2/stream", content=sound, headers=headers)
        assert answer.status_code == 200
    assert otel_threads() == []
    found = collector.spans()
    turns = {span.span_id: span for span in found if span.name == "live turn"}
    assert turns
    assert {span.name for span in found} == {"live turn", "predict", "judge"}
    inner = [span for span in found if span.name != "live turn"]
    assert {span.parent_span_id for span in inner} <= set(turns)
    machines = {
        value.value.string_value for span in inner for value in span.attributes if value.key.endswith("machine_id")
    }
    assert machines == {"pump-2"}


def test_the_page_names_every_span_and_every_setting() -> None:
    page = (ROOT / "docs" / "tracing.md").read_text("utf-8")
    service = ROOT / "service" / "humwatch_service"
    code = "".join(path.read_text("utf-8") for path in service.rglob("*.py"))
    spans = set(re.findall(r'(?:stage_span|past_span)\("(.+?)"', code)) | {"live turn"}
    rows = [line.split("|") for line in page.split("## Spans")[1].splitlines() if line.startswith("| `")]
    assert {row[1].strip().strip("`") for row in rows[1:]} == spans
    settings = {name for name in Settings.model_fields if name.startswith("tracing_")}
    assert set(re.findall(r"^\| `(tracing_\w+)`", page, re.MULTILINE)) == settings


@pytest.mark.slow
def test_a_dead_collector_costs_a_request_nothing_and_the_log_one_line(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(Settings(tracing_endpoint=ENDPOINT))
    tracing.start()
    client = served(tracing)
    with caplog.at_level(logging.INFO, "humwatch"):
        requests = 2 * tracing_module.MAX_BATCH_SPANS // 4 + 1  # two batches, both lost
        assert client.get("/hello/x", times=requests) == [200] * requests
        assert tracing._provider is not None
        tracing._provider.force_flush()
        tracing.close()
    assert otel_threads() == []
    told = [record.msg["event"] for record in caplog.records if record.name == "humwatch.tracing"]  # type: ignore[call-overload,index]
    assert told == ["traces not delivered"]


def test_what_is_lost_is_counted_once_traces_arrive_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 400
    tracing = Tracing(Settings(tracing_endpoint=collector.url))
    tracing.start()
    client = served(tracing)
    assert tracing._provider is not None
    with caplog.at_level(logging.INFO, "humwatch"):
        client.get("/hello/x")
        tracing._provider.force_flush()
        collector.status = 200
        client.get("/hello/x")
        tracing.close()
    told = [record.msg for record in caplog.records if record.name == "humwatch.tracing"]
    assert [entry["event"] for entry in told] == ["traces not delivered", "traces delivered again"]  # type: ignore[call-overload,index]
    assert told[1]["lost_spans"] == 4  # type: ignore[call-overload,index]


def test_more_spans_than_may_wait_are_dropped_and_nobody_waits() -> None:
    released = threading.Event()

    class Hanging(InMemorySpanExporter):
        in_time = True

        def export(self, batch: Any) -> Any:
            self.in_time = self.in_time and released.wait(120)
            return super().export(batch)

        def shutdown(self) -> None:
            released.set()

    hanging = Hanging()
    tracing = Tracing(Settings(tracing_endpoint=ENDPOINT), make_exporter=lambda endpoint: hanging)
    tracing.start()
    client = served(tracing)
    requests = tracing_module.MAX_QUEUED_SPANS // 4 + 300
    assert client.get("/hello/x", times=requests) == [200] * requests
    tracing.close()
    assert hanging.in_time  # it was told to give up, by the service that stops
    assert otel_threads() == []
    kept = len(hanging.get_finished_spans())
    assert kept <= tracing_module.MAX_QUEUED_SPANS + tracing_module.MAX_BATCH_SPANS < 4 * requests
