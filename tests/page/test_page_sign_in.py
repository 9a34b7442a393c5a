"""A service that wants a key: asked for once, and kept nowhere on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.nginx import NGINX, Ports, nginx
from tests.page.conftest import grave

pytestmark = pytest.mark.process

KEY = "a-key-of-the-plant-0123456789abcdef"
PORTS = Ports.free()
"""Of the nginx that one test puts before the service."""
READ_ALL = """() => JSON.stringify([
  document.documentElement.outerHTML, { ...localStorage }, { ...sessionStorage }, location.href, document.cookie,
  [...document.querySelectorAll("input")].map((input) => input.value), history.state])"""


@pytest.fixture(scope="module")
def locked(make_house: Callable[..., Any]) -> Any:
    """A service with a key, and nobody who sounds."""
    house = make_house(api_keys=KEY, trusted_proxies="127.0.0.1", public_url=PORTS.left_on_url)
    house.service.start()
    house.until(lambda: house.http.get("/readyz").status_code == 200)
    return house


def test_a_key_is_asked_for_exchanged_and_forgotten(window: Any, locked: Any, expect: Any) -> None:
    window.expected.append(r"\b401\b.*/v1/session")
    page = window.open(f"{locked.url}#/alarms")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("signed out")
    key = page.get_by_label("API key")
    expect(key).to_be_focused()
    assert grave(page) == []
    key.fill("not-this-key-but-as-long-as-one")
    page.keyboard.press("Enter")
    expect(page.locator(".trouble")).to_have_text("This key is not known. Check it, and try again.")
    expect(key).to_have_value("")
    key.fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.get_by_role("heading", name="Alarms", exact=True)).to_be_visible()
    assert KEY not in page.evaluate(READ_ALL)
    assert "humwatch_session" not in page.evaluate("document.cookie")

    page.reload()
    expect(page.locator("#connection")).to_have_text("live")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_session_that_is_gone_is_asked_for_again(window: Any, locked: Any, expect: Any) -> None:
    window.expected += [r"\b401\b", r"\b503\b", r"ERR_"]
    page = window.open(locked.url)
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(2)
    locked.service.kill()
    locked.service.start()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(0)
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator("#connection")).to_have_text(re.compile("live"))


@pytest.mark.parametrize("where", ["url", "left_on_url"])
@pytest.mark.skipif(not NGINX, reason="nginx is not installed (scripts/install-test-packages.sh)")
def test_signing_in_lasts_under_a_path(window: Any, locked: Any, expect: Any, where: str, tmp_path: Path) -> None:
    window.expected += [r"\b401\b", r"ERR_"]  # of a page that stays open a moment longer than its proxy
    url = getattr(PORTS, where)
    with nginx(tmp_path, PORTS, locked.service.port):
        sign_in_and_out(window.open(f"{url}/ui/", insecure=True), url, expect)


def sign_in_and_out(page: Any, url: str, expect: Any) -> None:
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(2)
    page.reload()
    expect(page.locator(".tile")).to_have_count(2)
    (cookie,) = page.context.cookies()
    assert cookie["path"] == f"/{url.rpartition('/')[2]}/"
    assert cookie["secure"] is url.startswith("https")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.context.cookies() == []
