from __future__ import annotations

import pytest

import humwatch_service.client as client
from humwatch_service.client.refusal import of_close, of_failure, of_response
from humwatch_service.errors import ServiceRefused, ServiceUnreachable
from humwatch_service.protocol.messages import Failure


@pytest.mark.parametrize(
    ("status", "retry"), [(401, False), (403, False), (404, False), (302, False), (408, True), (429, True), (503, True)]
)
def test_which_answers_are_final(status: int, retry: bool) -> None:
    refusal = of_response(status, {"Retry-After": "7"}, b'{"code": "c", "detail": "d"}')
    assert (refusal.code, refusal.detail, refusal.retry, refusal.retry_after_s) == ("c", "d", retry, 7.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": 1}', b"\xff"])
def test_an_answer_that_is_no_problem_has_a_code_too(body: bytes) -> None:
    refusal = of_response(502, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, body)
    assert (refusal.code, refusal.retry, refusal.retry_after_s) == ("http_502", True, None)


@pytest.mark.parametrize(
    ("code", "retry"),
    [(None, True), (1000, True), (1001, True), (1006, True), (1011, True), (1012, True), (1013, True)]
    + [(code, False) for code in (1002, 1003, 1007, 1008, 1009)],
)
def test_which_close_codes_are_final(code: int | None, retry: bool) -> None:
    assert of_close(code, "because").retry is retry


def test_a_refusal_becomes_the_error_that_it_is() -> None:
    failure = Failure(code="stream_owned", detail="x", retry=False)
    assert isinstance(of_failure(failure).error(), ServiceRefused)
    assert str(of_failure(failure).error()) == "stream_owned: x"
    assert isinstance(of_close(1006, None).error(), ServiceUnreachable)


def test_the_public_names_are_there() -> None:
    assert all(hasattr(client, name) for name in client.__all__)
    public = {name for name, thing in vars(client).items() if isinstance(thing, type)}
    assert public <= set(client.__all__)
