from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from humwatch_service.errors import TooManyAttempts
from humwatch_service.web.sessions import (
    COOKIE,
    FREE_FAILURES,
    MAX_CLIENTS,
    MAX_SESSIONS,
    SESSION_S,
    Attempts,
    Sessions,
)

KEY = "a-key-for-the-tests"
ORDER = {"who": "ann", "why": "a test"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def guarded(make_server: Any) -> Any:
    return make_server(api_keys=(KEY,))


def browser(server: Any) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=20)


def own(server: Any) -> dict[str, str]:
    return {"Origin": f"http://127.0.0.1:{server.port}"}


def sign_in(http: httpx.Client, key: str = KEY, **headers: str) -> httpx.Response:
    return http.post("/v1/session", json={"key": key}, headers=headers)


def test_a_session_is_known_until_it_is_over_or_ended() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    first, second = sessions.begin(), sessions.begin()
    assert first != second
    assert sessions.knows(first) and sessions.knows(second)
    assert not sessions.knows(first + "x")
    assert not sessions.knows(None)
    assert not sessions.knows("\udc80")
    sessions.end(first)
    sessions.end(None)
    assert not sessions.knows(first)
    clock.now_s += SESSION_S - 0.1
    assert sessions.knows(second)
    clock.now_s += 0.1
    assert not sessions.knows(second)
    assert len(sessions) == 0


def test_of_too_many_sessions_the_oldest_goes() -> None:
    sessions = Sessions()
    tokens = [sessions.begin() for _ in range(MAX_SESSIONS + 1)]
    assert len(sessions) == MAX_SESSIONS
    assert not sessions.knows(tokens[0])
    assert sessions.knows(tokens[1]) and sessions.knows(tokens[-1])


def test_who_guesses_waits_twice_as_long_each_time() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(FREE_FAILURES + 8):
        attempts.check("192.0.2.1")
        attempts.failed("192.0.2.1")
        try:
            attempts.check("192.0.2.1")
        except TooManyAttempts as error:
            waits.append(error.retry_after_s)
            clock.now_s += error.retry_after_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    attempts.check("192.0.2.2")
    attempts.succeeded("192.0.2.1")
    assert len(attempts) == 0


def test_failures_are_forgotten_after_a_while_and_are_bounded() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(FREE_FAILURES):
        attempts.failed("192.0.2.1")
    clock.now_s += 601.0
    attempts.failed("192.0.2.1")
    attempts.check("192.0.2.1")
    for number in range(2 * MAX_CLIENTS):
        attempts.failed(f"name-{number}")
    assert len(attempts) == MAX_CLIENTS


def test_an_ipv6_network_is_one_client() -> None:
    attempts = Attempts(Clock())
    for number in range(FREE_FAILURES):
        attempts.failed(f"2001:db8::{number:x}")
    with pytest.raises(TooManyAttempts):
        attempts.check("2001:db8::ffff")
    attempts.check("2001:db8:0:1::1")


def test_a_key_is_exchanged_for_a_cookie_that_no_script_can_read(guarded: Any) -> None:
    with browser(guarded) as http:
        assert http.get("/v1/session").json() == {"key_needed": True, "signed_in": False}
        answer = sign_in(http)
        assert (answer.status_code, answer.content) == (204, b"")
        morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
        assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "strict", "/")
        assert (morsel["max-age"], morsel["secure"]) == ("43200", "")
        assert KEY not in morsel.value
        assert http.get("/v1/session").json() == {"key_needed": True, "signed_in": True}
        assert http.get("/v1/machines").status_code == 200
        assert http.delete("/v1/session").status_code == 204
        assert http.get("/v1/machines").status_code == 401
        http.cookies.set(COOKIE, morsel.value)
        assert http.get("/v1/machines").status_code == 401  # the session is over, not only the cookie gone


def test_a_cookie_for_a_page_behind_tls_is_for_tls_only(guarded: Any) -> None:
    host = f"127.0.0.1:{guarded.port}"
    with browser(guarded) as http:
        answer = sign_in(http, Origin=f"https://{host}")
        assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"] is True


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "x", "kéy", "\ud800", "x" * 1_000])
def test_a_wrong_key_gets_nothing(guarded: Any, key: str) -> None:
    with browser(guarded) as http:
        content = b'{"key": "' + key.encode("utf-8", "surrogatepass") + b'"}'
        answer = http.post("/v1/session", content=content)
        assert answer.status_code == (400 if key == "\ud800" else 401)
        assert "set-cookie" not in answer.headers
        assert http.get("/v1/session").json()["signed_in"] is False


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"key": 1}', b'{"key": ""}', b'{"key": "x", "a": 1}', b"\xff"])
def test_what_is_no_key_at_all_is_malformed(guarded: Any, body: bytes) -> None:
    answer = guarded.http.post("/v1/session", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")


def test_a_stranger_may_not_send_much(guarded: Any) -> None:
    answer = guarded.http.post("/v1/session", content=b" " * 5_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_who_guesses_is_slowed_down_and_the_right_key_waits_too(guarded: Any) -> None:
    with browser(guarded) as http:
        for _ in range(FREE_FAILURES):
            assert sign_in(http, "wrong").status_code == 401
        for key in ("wrong", KEY):
            refused = sign_in(http, key)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
            assert int(refused.headers["Retry-After"]) >= 1
        assert http.get("/v1/machines", headers={"X-API-Key": KEY}).status_code == 200  # programs are not concerned


def test_with_a_session_only_the_own_page_may_change_anything(guarded: Any) -> None:
    with browser(guarded) as http:
        sign_in(http)
        order = "/v1/machines/pump-2:out-of-service"
        back = "/v1/machines/pump-2:in-service"
        foreign: list[dict[str, str]] = [
            {},
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": "http://["},
            {**own(guarded), "Sec-Fetch-Site": "cross-site"},
            {**own(guarded), "Sec-Fetch-Site": "same-site"},
            {**own(guarded), "Sec-Fetch-Site": "none"},
        ]
        for headers in foreign:
            answer = http.post(order, json=ORDER, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused"), headers
        assert http.post(order, json=ORDER, headers=own(guarded)).status_code == 200
        assert http.post(back, json=ORDER, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        key = {"X-API-Key": KEY, "Origin": "https://elsewhere.example"}
        assert http.post(order, json=ORDER, headers=key).status_code == 200  # a key is proof enough, as before


def test_a_key_goes_before_a_session(guarded: Any) -> None:
    with browser(guarded) as http:
        sign_in(http)
        assert http.get("/v1/machines", headers={"X-API-Key": "wrong"}).status_code == 401


def test_pages_of_others_cannot_sign_in_or_out(guarded: Any) -> None:
    with browser(guarded) as http:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
            assert sign_in(http, **headers).status_code == 403
        sign_in(http)
        assert http.delete("/v1/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert http.get("/v1/machines").status_code == 200


def test_a_session_opens_no_stream(guarded: Any) -> None:
    with browser(guarded) as http:
        sign_in(http)
        cookie = f"{COOKIE}={http.cookies[COOKIE]}"
        assert http.get("/v1/machines", headers={"Cookie": cookie}).status_code == 200
    url = f"ws://127.0.0.1:{guarded.port}/v1/machines/pump-2/stream"
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers={"Cookie": cookie}, proxy=None):
        pass
    assert refused.value.response.status_code == 401


def test_where_no_key_is_needed_there_is_nothing_to_sign_in_to(client: httpx.Client) -> None:
    assert client.get("/v1/session").json() == {"key_needed": False, "signed_in": False}
    answer = client.post("/v1/session", json={"key": "anything"})
    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers
