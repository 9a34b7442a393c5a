"""What the server answers by itself, before any route."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    "sent", [b"this is no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"]
)
def test_bytes_that_are_no_http_are_a_problem_like_any_other(server: Any, sent: bytes) -> None:
    status, problem = server.send(sent)
    assert (status, problem["code"]) == (400, "request_malformed")
    assert problem["detail"]


def test_connections_beyond_the_limit_are_told_and_later_ones_served(make_server: Callable[..., Any]) -> None:
    server = make_server(max_connections=2)
    held = [server.connect() for _ in range(2)]
    time.sleep(0.2)
    status, problem = server.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (status, problem["code"]) == (503, "overloaded")
    for connection in held:
        connection.close()
    time.sleep(0.2)
    assert server.http.get("/livez").status_code == 200
