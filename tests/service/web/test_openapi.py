from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

BOUNDED = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("audio/L16", "audio/L24", "audio/x-raw")
def as_it_is(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def described(client: httpx.Client) -> Any:
    return client.get("/openapi.json").json()


def test_both_ways_to_send_a_recording_are_described(described: Any) -> None:
    for path in ("/score", "/v1/machines/{machine_id}/score"):
        operation = described["paths"][path]["post"]
        content = operation["requestBody"]["content"]
        assert {"multipart/form-data", "audio/wav", "audio/flac", "application/octet-stream"} <= set(content)
        assert {"application/json", "image/png"} <= set(operation["responses"]["200"]["content"])


def test_every_parameter_and_every_field_of_an_answer_is_described(described: Any) -> None:
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            assert all(parameter["description"] for parameter in operation.get("parameters", []))
    for name in ("ScoreAnswer", "Moment", "Band", "Notice", "FalseAlarms", "Levels", "Span", "MachineCard", "Problem"):
        schema = described["components"]["schemas"][name]
        for field, about in schema["properties"].items():
            assert about.get("description"), (name, field)


def test_every_error_is_described_as_a_problem(described: Any) -> None:
    for methods in described["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")) and "Readiness" not in str(response):
                    assert list(response["content"]) == ["application/problem+json"]


def test_no_page_loads_anything_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/docs", "/redoc"):
        assert client.get(path).status_code == 404


@pytest.mark.slow
def test_no_request_breaks_the_service_or_its_description(server: Any) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    schema = schema.exclude(path_regex="/live$")  # events without an end: tests/service/test_live_events.py
    for found in schema.get_all_operations():
        operation = found.ok()

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def positive(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def negative(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        positive()
        if operation.query:  # elsewhere nothing can be wrong with a parameter: a path takes any text
            negative()
