from __future__ import annotations

from typing import Any

import pytest

from humwatch_service.app import create_app
from humwatch_service.config.settings import Settings
from humwatch_service.errors import ApiKeyRequired

KEY, OTHER = "a-key-for-the-tests", "another-key-for-the-tests"
CLOSED = ("/", "/v1/machines", "/v1/machines/pump-2", "/v1/models", "/healthz", "/metrics", "/openapi.json", "/nothing")


@pytest.fixture(scope="module")
def guarded(start_server: Any) -> Any:
    return start_server(api_keys=(KEY, OTHER))


@pytest.fixture(scope="module")
def named(start_server: Any) -> Any:
    return start_server(allowed_hosts=("plant.example",))


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_key_everything_but_the_probes_is_closed(guarded: Any, path: str) -> None:
    answer = guarded.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_key(guarded: Any, path: str) -> None:
    assert guarded.http.get(path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"BEARER  {OTHER}"}, 200),
        ({"X-API-Key": KEY}, 200),
        ({"X-API-Key": KEY[:-1]}, 401),
        ({"X-API-Key": KEY + "x"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "kéy".encode("latin-1")}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer wrong", "X-API-Key": KEY}, 401),
    ],
)
def test_a_key_comes_as_bearer_token_or_in_its_own_header(guarded: Any, headers: dict[str, Any], status: int) -> None:
    assert guarded.http.get("/v1/machines", headers=headers).status_code == status


def test_the_body_of_a_stranger_is_not_read(guarded: Any) -> None:
    head = (
        b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    )
    status, problem = guarded.send(head)  # 100 Continue would have come first
    assert (status, problem["code"]) == (401, "unauthorised")


def test_with_keys_any_host_name_will_do(guarded: Any) -> None:
    assert guarded.http.get("/healthz", headers={"Host": "plant.example", "X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8000", 200),
        ("plant.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:80@evil.example", 200),  # the port is what a browser would not send; the name is ours
        ("", 403),
    ],
)
def test_on_loopback_without_keys_strange_host_names_are_refused(named: Any, host: str, status: int) -> None:
    answer = named.http.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "origin_refused"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8000", 200), ("https://evil.example", 403), ("null", 403), ("http://[", 403)],
)
def test_on_loopback_without_keys_pages_of_strangers_are_refused(client: Any, origin: str, status: int) -> None:
    assert client.get("/healthz", headers={"Origin": origin}).status_code == status


def test_allowed_hosts_hold_with_keys_too(make_server: Any) -> None:
    http = make_server(api_keys=(KEY,), allowed_hosts=("plant.example",)).http
    assert http.get("/healthz", headers={"Host": "x.example", "X-API-Key": KEY}).status_code == 403


def test_an_app_beyond_loopback_without_a_key_cannot_be_made(models: Any) -> None:
    with pytest.raises(ApiKeyRequired):
        create_app(Settings(models_dir=models, host="0.0.0.0"))


@pytest.mark.parametrize(
    ("sent", "echoed"), [("line-7/4f", True), ("x" * 128, True), ("x" * 129, False), ("two words", False), ("", False)]
)
def test_a_request_id_is_echoed_if_it_is_short_and_printable(client: Any, sent: str, echoed: bool) -> None:
    got = client.get("/livez", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
    assert (got == sent) == echoed
    assert got
