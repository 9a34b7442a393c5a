"""Behind proxies: paths that are stripped and paths that are not, who is trusted, and where redirects lead."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from humwatch_service.config.settings import Settings
from humwatch_service.web.proxies import relative_reference

KEY = "a-key-for-the-tests"
HTML = {"Accept": "text/html"}
PUBLIC = "https://plant.example/halls/3/humwatch"
PREFIX = "/halls/3/humwatch"


@pytest.fixture(scope="module")
def bare(start_server: Any) -> Any:
    """As it comes: nobody said that there is a proxy."""
    return start_server()


@pytest.fixture(scope="module")
def public(start_server: Any) -> Any:
    return start_server(public_url=PUBLIC)


@pytest.fixture(scope="module")
def trusting(start_server: Any) -> Any:
    return start_server(api_keys=(KEY,), trusted_proxies=("127.0.0.0/8", "::1"))


@pytest.mark.parametrize(
    ("base", "target", "reference"),
    [
        ("/ui", "/ui/", "ui/"),
        ("/", "/ui/", "ui/"),
        ("/score/", "/score", "../score"),
        ("/v1/models:reload/", "/v1/models:reload", "../models:reload"),
        ("/v1/a", "/v1/b:c", "./b:c"),
        (
            "/v1/machines/m/alarms/latest/clip.flac",
            "/v1/alarms/m-000007/clip.flac",
            "../../../../alarms/m-000007/clip.flac",
        ),
        ("/a/b/", "/a/b/", "./"),
        ("/a/b", "/a/", "./"),
        ("/x/y", "/", "../"),
    ],
)
def test_a_relative_reference_leads_to_its_target(base: str, target: str, reference: str) -> None:
    assert relative_reference(base, target) == reference
    for prefix in ("", "/humwatch", "/halls/3"):
        assert urljoin(f"http://h{prefix}{base}", reference) == f"http://h{prefix}{target}"


def test_a_relative_reference_never_leads_to_another_host() -> None:
    for target in ("//evil.example/", "///evil.example", "/http://evil.example"):
        assert urljoin("http://h/humwatch/a", relative_reference("/a", target)).startswith("http://h/humwatch/")


REDIRECTS = [
    ("GET", "/", "/ui/"),
    ("GET", "/ui", "/ui/"),
    ("POST", "/score/", "/score"),
    ("GET", "/v1/machines/", "/v1/machines"),
]


@pytest.mark.parametrize("query", ["", "?limit=5&x=%2F"])
@pytest.mark.parametrize(("method", "path", "target"), REDIRECTS)
def test_redirects_need_no_host_and_no_prefix(bare: Any, method: str, path: str, target: str, query: str) -> None:
    answer = bare.http.request(method, path + query, headers={**HTML, "Host": "localhost:9"}, follow_redirects=False)
    location = answer.headers["location"]
    assert answer.status_code in (303, 307, 308)
    assert "//" not in location
    assert not location.startswith("/")
    kept = query if answer.status_code == 307 else ""
    # Seen from outside by a proxy that strips a path, speaks TLS and has a name and port of its own.
    assert (
        urljoin(f"https://plant.example:8443{PREFIX}{path}", location)
        == f"https://plant.example:8443{PREFIX}{target}{kept}"
    )


@pytest.mark.parametrize(("method", "path", "target"), [*REDIRECTS, ("GET", "", "/ui/")])
def test_redirects_are_right_where_the_prefix_was_left_on(public: Any, method: str, path: str, target: str) -> None:
    answer = public.http.request(method, PREFIX + path, headers=HTML, follow_redirects=False)
    assert urljoin(PUBLIC + path, answer.headers["location"]) == PUBLIC + target


def test_a_prefix_that_is_left_on_is_taken_off(public: Any) -> None:
    assert public.http.get(f"{PREFIX}/livez").text == "ok"
    assert public.http.get(f"{PREFIX}/ui/").status_code == 200
    assert public.http.get(f"{PREFIX}/v1/machines").json() == public.http.get("/v1/machines").json()
    assert public.http.get(PREFIX).json()["page"] == "/ui/"
    assert public.http.get(f"{PREFIX}x/livez").status_code == 404
    assert public.http.get(f"{PREFIX}/openapi.json").json()["servers"] == [{"url": PREFIX}]
    assert "servers" not in public.http.get("/openapi.json").json()


def test_a_path_of_any_letters_is_taken_off(start_server: Any) -> None:
    server = start_server(public_url="https://plant.example/Pr\u00fcfstand 3/hum%2Bwatch")
    for spelt in ("/Pr%C3%BCfstand%203/hum%2Bwatch", "/Pr%c3%bcfstand%203/hum+watch"):
        assert server.http.get(f"{spelt}/livez").text == "ok"
        location = server.http.get(f"{spelt}/ui", follow_redirects=False).headers["location"]
        landed = httpx.URL(f"http://127.0.0.1:{server.port}{spelt}/ui").join(location)
        assert landed.path == "/Pr\u00fcfstand 3/hum+watch/ui/"
        assert server.http.get(landed).status_code == 200


def test_the_public_name_is_the_services_own(public: Any) -> None:
    own = {"Host": "plant.example"}
    assert public.http.get("/v1/machines", headers=own).status_code == 200
    assert public.http.get("/openapi.json", headers=own).json()["servers"] == [{"url": PREFIX}]
    assert public.http.get("/v1/machines", headers={"Host": "evil.example"}).status_code == 403


def signed_in(server: Any, **headers: str) -> str:
    answer = server.http.post(
        "/v1/session",
        json={"key": KEY},
        headers={"Origin": "https://plant.example", "Host": "plant.example", **headers},
    )
    assert answer.status_code == 204, answer.text
    return str(answer.headers["set-cookie"])


def test_a_page_is_the_services_own_by_its_public_name_where_a_proxy_hides_the_host(start_server: Any) -> None:
    server = start_server(api_keys=(KEY,), public_url="http://plant.example:8080/humwatch")

    def sign_in(origin: str) -> int:
        headers = {"Host": "upstream", "Origin": origin}  # as nginx asks that is told nothing
        return int(server.http.post("/v1/session", json={"key": KEY}, headers=headers).status_code)

    assert sign_in("http://plant.example:8080") == 204
    for stranger in ("http://plant.example", "http://evil.example:8080", "null", "http://"):
        assert sign_in(stranger) == 403


_SEGMENTS = st.lists(st.text("ab:.~%2", max_size=3).filter(lambda part: part not in (".", "..")), max_size=4)


@given(base=_SEGMENTS, target=_SEGMENTS)
def test_a_relative_reference_leads_where_it_should_from_anywhere(base: list[str], target: list[str]) -> None:
    found = relative_reference("/" + "/".join(base), "/" + "/".join(target))
    landed = httpx.URL("http://h/p/" + "/".join(base)).join(found)
    assert landed.host == "h"
    if all(target[:-1]) and all(base[:-1]):  # of a path with empty parts no reference is the same to all
        assert landed.raw_path.decode() == "/p/" + "/".join(target)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/humwatch", "/humwatch/"),
        ("/humwatch/", "/humwatch/"),
        ("/halls, /3/humwatch", "/halls/3/humwatch/"),
        ("", "/"),
        ("humwatch", "/"),
        ("//evil.example", "/"),
        ("/a/../b", "/"),
        ("/a; Domain=evil.example", "/"),
    ],
)
def test_a_trusted_proxy_says_what_it_took_off(trusting: Any, given: str, path: str) -> None:
    cookie = signed_in(trusting, **{"X-Forwarded-Prefix": given})
    assert f"Path={path};" in cookie
    assert "evil" not in cookie
    token = cookie.partition(";")[0]
    described = trusting.http.get("/openapi.json", headers={"X-Forwarded-Prefix": given, "Cookie": token}).json()
    assert described.get("servers") == (None if path == "/" else [{"url": path.rstrip("/")}])


def test_what_strangers_forward_does_not_count(bare: Any) -> None:
    lies = {"X-Forwarded-Prefix": "/x", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.1"}
    assert "servers" not in bare.http.get("/openapi.json", headers=lies).json()
    assert bare.http.get("/v1/machines", headers=lies).status_code == 200
    assert (
        bare.http.get("/v1/machines", headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"}).status_code
        == 403
    )


def test_a_trusted_proxy_says_which_scheme_it_was_asked_for(trusting: Any) -> None:
    plain = {"Origin": "http://plant.example"}
    assert "Secure" not in signed_in(trusting, **plain)
    assert "Secure" in signed_in(trusting, **plain, **{"X-Forwarded-Proto": "https"})


def test_the_host_is_no_proxys_to_say(start_server: Any) -> None:
    server = start_server(trusted_proxies=("127.0.0.1",))
    rebound = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}  # which a page may send, and nginx passes on
    assert server.http.get("/v1/machines", headers=rebound).status_code == 403


def test_failures_to_sign_in_are_each_clients_own(trusting: Any) -> None:
    def attempt(client: str) -> int:
        said = {"Origin": "https://plant.example", "Host": "plant.example", "X-Forwarded-For": f"203.0.113.9, {client}"}
        return int(trusting.http.post("/v1/session", json={"key": "wrong"}, headers=said).status_code)

    assert {attempt("192.0.2.7") for _ in range(12)} == {401, 429}
    assert attempt("192.0.2.8") == 401


@pytest.mark.parametrize(
    "settings",
    [
        {"public_url": "plant.example"},
        {"public_url": "ftp://plant.example"},
        {"public_url": "https://u:p@plant.example"},
        {"public_url": "https://plant.example/?a=1"},
        {"trusted_proxies": ("proxy.example",)},
        {"trusted_proxies": ("10.0.0.0/33",)},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_an_address_with_a_length_stands_for_its_network() -> None:
    networks = Settings.model_validate({"trusted_proxies": "10.1.2.3/16, ::1"}).trusted_proxies
    assert [str(network) for network in networks] == ["10.1.0.0/16", "::1/128"]
    assert (
        Settings(public_url="https://plant.example/x/").alarm_page("a-1") == "https://plant.example/x/ui/#/alarms/a-1"
    )
    assert Settings().alarm_page("a-1") is None


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}, {"Connection": "keep-alive", "Upgrade": "websocket"}])
def test_a_websocket_without_upgrade_is_told_what_to_set(bare: Any, headers: dict[str, str]) -> None:
    answer = bare.http.get("/v1/machines/pump-2/stream", headers={"Sec-WebSocket-Version": "13", **headers})
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "upgrade" in answer.headers["connection"].lower()
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "upgrade_required"
    for line in ("proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;", 'Connection "upgrade";'):
        assert line in problem["detail"]
    assert bare.http.get("/livez").status_code == 200  # the connection serves on


def test_a_key_comes_before_it(trusting: Any) -> None:
    assert trusting.http.get("/v1/machines/pump-2/stream").status_code == 401
