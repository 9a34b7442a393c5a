from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from humwatch_service.web.page_files import FOLDER, PageFiles

KEY = "a-key-for-the-tests"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def guarded(start_server: Any) -> Any:
    return start_server(api_keys=(KEY,))


@pytest.mark.parametrize("path", ["/ui/", "/ui/index.html", "/ui/nothing.js", "/ui/..%2fcli.py", "/ui"])
def test_every_answer_of_the_page_is_fenced_in(guarded: Any, path: str) -> None:
    headers = guarded.http.get(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not any("unsafe" in sources or "*" in sources for sources in policy.values())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["permissions-policy"] == "camera=(), microphone=(), geolocation=()"
    assert headers["cache-control"] == "no-cache"


def test_the_page_is_open_and_the_rest_is_not(guarded: Any) -> None:
    page = guarded.http.get("/ui/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text == (FOLDER / "index.html").read_text("utf-8")
    assert guarded.http.get("/ui/../v1/machines").status_code == 401
    assert guarded.http.get("/uix").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/ui/..%2fcli.py",
        "/ui/%2e%2e/cli.py",
        "/ui/a%00b",
        "/ui//etc/passwd",
        "/ui/./index.html",
        "/ui/%5c..%5ccli.py",
        "/ui/vendor",
        "/ui/" + "a" * 10_000,
        "/ui/INDEX.html",
    ],
)
def test_what_is_not_in_the_listing_is_not_there(guarded: Any, path: str) -> None:
    status, problem = guarded.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert (status, problem["code"]) == (404, "not_found")


def test_every_file_of_the_page_is_served_as_it_is(guarded: Any) -> None:
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert files
    for path in files:
        answer = guarded.http.get(f"/ui/{path.relative_to(FOLDER).as_posix()}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"].startswith(kinds.get(path.suffix, ""))


def test_a_browser_that_has_a_file_is_told_so(guarded: Any) -> None:
    etag = guarded.http.get("/ui/").headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = guarded.http.get("/ui/", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert guarded.http.get("/ui/", headers={"If-None-Match": '"other"'}).status_code == 200
    assert guarded.http.head("/ui/").headers["etag"] == etag


def test_a_browser_is_led_to_the_page_and_a_program_is_not(guarded: Any, client: httpx.Client) -> None:
    for http in (guarded.http, client):
        answer = http.get("/", headers={"Accept": BROWSER})
        assert (answer.status_code, answer.headers["location"]) == (303, "ui/")
    slash = client.get("/ui")
    assert (slash.status_code, slash.headers["location"]) == (308, "ui/")
    for accept in (
        "*/*",
        "application/json",
        "",
        "application/json, text/html;q=0.5",
        "text/html;q=x",
        "text/html;q=0",
    ):
        assert client.get("/", headers={"Accept": accept}).json()["page"] == "/ui/"
        assert guarded.http.get("/", headers={"Accept": accept}).status_code == 401


def test_a_file_that_changed_is_read_again_and_one_that_went_is_gone(tmp_path: Path) -> None:
    files = PageFiles(tmp_path)
    assert files.get("a.js") is None
    path = tmp_path / "a.js"
    path.write_text("one")
    first = files.get("a.js")
    assert first is not None and first.content == b"one"
    assert files.get("a.js") is first
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    second = files.get("a.js")
    assert second is not None and second.content == b"two" and second.etag != first.etag
    path.unlink()
    assert files.get("a.js") is None
