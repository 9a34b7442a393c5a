from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
import structlog

from humwatch_service.logs import configure_logging, event_logger, log_formatter


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
    monkeypatch.setattr(type(server.app.state.service.machines), "get", lambda self, name: 1 / 0)
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
