from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

import pytest
import structlog

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.telemetry.log_limits import MAX_ITEMS, MAX_KINDS, REPEATS, WINDOW_S, RepeatLimit
from humwatch_service.telemetry.logs import configure_logging, event_logger, log_formatter


def rendered(record: logging.LogRecord, form: Any = "json") -> str:
    return log_formatter(form).format(record)


def logged(caplog: pytest.LogCaptureFixture, event: str) -> Any:
    """The first entry of an event; a request is logged a moment after its answer was sent."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for record in list(caplog.records):
            if record.name.startswith("humwatch.") and (entry := json.loads(rendered(record)))["event"] == event:
                return entry
        time.sleep(0.01)
    raise AssertionError(f"no event {event!r} was logged")


def test_an_event_is_one_json_object_with_its_request(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "humwatch.tests"),
        structlog.contextvars.bound_contextvars(request_id="abc"),
    ):
        event_logger("humwatch.tests").info("scored", machine_id="fan-1", duration_s=0.5, path="a\nb")
    line = rendered(caplog.records[-1])
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "scored",
        "machine_id": "fan-1",
        "duration_s": 0.5,
        "path": "a\nb",
        "request_id": "abc",
        "level": "info",
        "logger": "humwatch.tests",
    }


def test_records_of_others_have_the_same_form() -> None:
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "x.py", 1, "%s is %d", ("port", 7), None)
    entry = json.loads(rendered(record))
    assert (entry["event"], entry["level"], entry["logger"]) == ("port is 7", "warning", "uvicorn.error")


def test_an_exception_is_in_its_entry(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "humwatch.tests"):
        try:
            raise ValueError("broken")
        except ValueError:
            event_logger("humwatch.tests").exception("failed")
    assert "ValueError: broken" in json.loads(rendered(caplog.records[-1]))["exception"]


def test_text_for_people(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "humwatch.tests"):
        event_logger("humwatch.tests").info("scored", machine_id="fan-1")
    assert "machine_id=fan-1" in rendered(caplog.records[-1], "console")


@pytest.mark.usefixtures("logging_as_before")
def test_uvicorn_goes_through_the_same_handler() -> None:
    configure_logging("warning", "json")
    root = logging.getLogger()
    assert (len(root.handlers), root.level) == (1, logging.WARNING)
    assert logging.getLogger("uvicorn.error").handlers == []
    assert logging.getLogger("uvicorn.error").propagate


def test_a_request_and_its_score_are_logged_under_one_id(
    client: Any, workshop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "humwatch"):
        client.post(
            "/v1/machines/pump-2/score",
            content=workshop.encoded(workshop.normal()),
            headers={"X-Request-ID": "line-7", "Content-Type": "audio/wav"},
        )
        scored, request = logged(caplog, "scored"), logged(caplog, "request")
    assert scored["request_id"] == request["request_id"] == "line-7"
    assert scored["machine_id"] == "pump-2"
    assert scored["duration_s"] > 0
    assert (request["method"], request["status"]) == ("POST", 200)


def test_a_path_cannot_write_lines_of_its_own(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "humwatch"):
        client.get("/x%0Aforged=1" + "y" * 3000)
        entry = logged(caplog, "request")
    assert "\n" not in entry["path"]
    assert len(entry["path"]) <= 200


def test_a_crash_is_a_problem_without_details(
    make_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    monkeypatch.setattr(type(server.app.state.service.models), "get", lambda self, name: 1 / 0)
    with caplog.at_level(logging.INFO, "humwatch"):
        answer = server.http.get("/v1/machines/fan-1")
        scored = server.http.post("/score?machine_id=fan-1", content=b"x")
        crash = logged(caplog, "unhandled error")
    for found in (answer, scored):
        assert (found.status_code, found.json()["code"]) == (500, "internal_error")
        assert "division" not in found.text
        assert found.headers["Content-Type"] == "application/problem+json"
    assert "ZeroDivisionError" in crash["exception"]
    assert crash["request_id"] == answer.json()["request_id"]
    assert server.http.get("/livez").status_code == 200


HOSTILE = 'fan\n{"event": "forged"}\r\u2028\x1b[2J\x00'


@pytest.mark.parametrize("place", ["machine_id", "file", "exception"])
def test_no_value_begins_a_line_of_its_own(caplog: pytest.LogCaptureFixture, place: str) -> None:
    log = event_logger("humwatch.tests")
    with caplog.at_level(logging.INFO, "humwatch.tests"):
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            if place == "exception":
                log.exception("failed")
            else:
                log.info("failed", **{place: HOSTILE}, names=[HOSTILE], by={HOSTILE: 1})
    line = rendered(caplog.records[-1])
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert HOSTILE in json.loads(line)[place]


def test_in_text_for_people_nothing_steers_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "humwatch.tests"):
        event_logger("humwatch.tests").info("failed", machine_id=HOSTILE, names=[HOSTILE], by={HOSTILE: HOSTILE})
    assert rendered(caplog.records[-1], "console").isprintable()


def test_a_request_id_cannot_be_forged_over_lines(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "humwatch"):
        client.get("/v1/models", headers={"X-Request-ID": "a b\tforged", "User-Agent": HOSTILE.encode()[:3]})
        entry = logged(caplog, "request")
    assert entry["request_id"].isalnum()
    assert "forged" not in json.dumps(entry)


def test_a_record_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "humwatch.tests"):
        event_logger("humwatch.tests").info(
            "failed", reason="x" * 10**6, machine_ids=["m" * 10] * 10**5, score=float("nan"), raw=[float("inf")]
        )
    line = rendered(caplog.records[-1])
    assert len(line) < 20_000
    entry = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (entry["score"], entry["raw"], len(entry["machine_ids"])) == (None, [None], MAX_ITEMS)
    assert entry["reason"].endswith("... (996000 more)")


def written(limit: RepeatLimit, times: int, level: int = logging.WARNING, **said: Any) -> list[logging.LogRecord]:
    records = [
        logging.LogRecord("humwatch.tests", level, "x.py", 1, {"event": "e", **said}, (), None) for _ in range(times)
    ]
    return [record for record in records if limit.filter(record)]


def test_trouble_that_repeats_is_counted_instead_of_written() -> None:
    now_s = 0.0
    limit = RepeatLimit(clock=lambda: now_s)
    assert len(written(limit, 600, machine_id="fan-1")) == REPEATS  # ten a second for a minute
    assert len(written(limit, 600, machine_id="fan-2")) == REPEATS
    now_s = WINDOW_S
    (first, *others) = written(limit, 3, machine_id="fan-1")
    assert len(others) == 2
    assert json.loads(rendered(first))["suppressed"] == 600 - REPEATS
    assert "suppressed" not in json.loads(rendered(others[0]))


def test_what_is_no_trouble_is_never_held_back() -> None:
    assert len(written(RepeatLimit(), 1000, logging.INFO)) == 1000


def test_records_of_libraries_are_bounded_as_well() -> None:
    limit = RepeatLimit(clock=lambda: 0.0)
    records = [logging.LogRecord("lib", logging.ERROR, "x.py", 1, "lost %s", (n,), None) for n in range(100)]
    assert sum(map(limit.filter, records)) == REPEATS


def test_the_kinds_that_are_counted_are_bounded() -> None:
    limit = RepeatLimit(clock=lambda: 0.0)
    for number in range(2 * MAX_KINDS):
        assert written(limit, 1, machine_id=str(number))
    assert len(limit._kinds) == MAX_KINDS


@pytest.mark.usefixtures("logging_as_before")
def test_the_handler_bounds_and_redacts(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", ["k" * 24])
    log = event_logger("humwatch.tests")
    for _ in range(100):
        try:
            raise ValueError(f"Authorization: Bearer {'k' * 24}, or https://bob:hunter22@example.com")
        except ValueError:
            log.exception("failed", reason=f"it was {base64.b64encode(b'k' * 24).decode()}", **{"a": ["k" * 24]})
    logging.getLogger("lib").error("said %s", "k" * 24)
    logging.getLogger("httpx").info("GET https://example.com/secret")
    logging.getLogger("opentelemetry.exporter").error("again")
    lines = capsys.readouterr().err.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["event"] for entry in entries] == ["failed"] * REPEATS + ["said (redacted)"]
    for secret in ("k" * 24, base64.b64encode(b"k" * 24).decode(), "hunter22"):
        assert secret not in "".join(lines)


def test_probes_are_quiet_and_requests_say_their_route(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "humwatch"):
        for path in ("/livez", "/readyz", "/healthz", "/metrics", "/v1/machines/fan-1", "/nowhere"):
            client.get(path)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = [record for record in list(caplog.records) if record.name == "humwatch.access"]
            if len(found) == 6:
                break
            time.sleep(0.01)
    entries = [json.loads(rendered(record)) for record in found]
    assert [(entry["route"], entry["level"]) for entry in entries] == [
        ("/livez", "debug"),
        ("/readyz", "debug"),
        ("/healthz", "debug"),
        ("/metrics", "debug"),
        ("/v1/machines/{machine_id}", "info"),
        ("unmatched", "info"),
    ]


def test_a_running_service_logs_no_secret_by_itself(make_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without any redaction: what is not put into a record cannot be forgotten in it."""
    secrets = {
        "key": "key-of-the-line-0123456789",
        "wrong": "wrong-key-0123456789",
        "query": "query-secret-0123456789",
        "url": "T0000/url-secret-0123456789",
        "signature": "signing-secret-0123456789",
    }
    webhook = WebhookSettings(
        name="chat", url=f"http://127.0.0.1:9/{secrets['url']}", secret=secrets["signature"], events=("shelved",)
    )
    with caplog.at_level(logging.DEBUG):
        server = make_server(
            api_keys=(secrets["key"],), allowed_hosts=("127.0.0.1",), webhooks=(webhook,), webhook_hosts=("127.0.0.1",)
        )
        headers = {"X-API-Key": secrets["key"]}
        shelf = {"who": "bob", "why": "test", "for_s": 60}
        assert server.http.post("/v1/machines/fan-1:shelve", json=shelf, headers=headers).status_code == 200
        server.http.get("/v1/machines", headers={"Authorization": f"Bearer {secrets['wrong']}"})
        server.http.get(f"/v1/machines?token={secrets['query']}", headers=headers)
        logged(caplog, "notification not delivered")
    said = "".join(
        rendered_plainly(record) for record in caplog.records if not record.name.startswith(("asyncio", "http"))
    )
    assert "notification not delivered" in said
    for name, secret in secrets.items():
        assert secret not in said, name


def rendered_plainly(record: logging.LogRecord) -> str:
    return f"{record.name} {record.msg} {record.args} {record.exc_text or ''}\n"
