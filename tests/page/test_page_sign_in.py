"""A service that wants a key: asked for once, and kept nowhere on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.page.conftest import grave

pytestmark = pytest.mark.process

KEY = "a-key-of-the-plant-0123456789abcdef"
READ_ALL = """() => JSON.stringify([
  document.documentElement.outerHTML, { ...localStorage }, { ...sessionStorage }, location.href, document.cookie,
  [...document.querySelectorAll("input")].map((input) => input.value), history.state])"""


@pytest.fixture(scope="module")
def locked(make_house: Callable[..., Any]) -> Any:
    """A service with a key, and nobody who sounds."""
    house = make_house(api_keys=KEY)
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
