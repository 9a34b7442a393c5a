"""An alarm that comes while somebody looks: seen, heard, acknowledged, and gone from what is open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live_service import MACHINE
from tests.page.conftest import grave

pytestmark = pytest.mark.process

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(autouse=True)
def calm(house: Any) -> Iterator[None]:
    house.calm()
    yield
    house.calm()


def test_an_alarm_arrives_is_acknowledged_by_keys_and_is_gone(window: Any, house: Any, expect: Any) -> None:
    page = window.open(house.url)
    tile = page.locator(".tile").first
    expect(tile.locator(".state")).to_have_text("Normal")
    alarm_id = house.raise_alarm()
    expect(tile.locator(".state")).to_have_text("Alarm")
    expect(tile.locator(".name")).to_have_text(MACHINE)
    expect(page.locator(".notice")).to_contain_text(f"Alarm: {MACHINE}")
    expect(page.locator("#announcer")).to_have_text(f"Alarm: {MACHINE}")
    expect(page.locator("#open-alarms")).to_contain_text("1")
    expect(page).to_have_title(re.compile(r"^\(1\) "))

    assert grave(page) == []
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for()
    assert grave(page) == []

    tab_to(page, tile.locator(".urgent"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{MACHINE}, alarm {int(alarm_id[-6:])}")
    expect(page.locator(".notice")).to_have_count(0)
    tab_to(page, page.get_by_role("button", name="Acknowledge"))
    page.keyboard.press("Enter")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    expect(page.locator(".acknowledged")).to_have_text("acknowledged by Ada")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    expect(page.locator("#open-alarms")).to_be_hidden()

    page.locator("[data-view=alarms]").click()
    page.get_by_label("Only open").check()
    expect(page.locator(".alarm-row")).to_contain_text("acknowledged by Ada")
    house.machine.faulty = False
    expect(page.locator(".alarm-row")).to_have_count(0)
    expect(page.get_by_text("No alarm is open.")).to_be_visible()


def tab_to(page: Any, wanted: Any) -> None:
    """Press Tab until it has the focus."""
    for _ in range(60):
        if wanted.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the key Tab does not lead there")


def test_what_people_write_is_never_markup(window: Any, house: Any, expect: Any) -> None:
    alarm_id = house.raise_alarm()
    house.order(f"alarms/{alarm_id}:shelve", who=HOSTILE, why=HOSTILE, for_s=60)
    house.order(f"alarms/{alarm_id}:ack", who=HOSTILE, why=HOSTILE)
    house.order(f"alarms/{alarm_id}:feedback", who=HOSTILE, why="", verdict="true_alarm", cause=HOSTILE, action=HOSTILE)
    page = window.open(f"{house.url}#/alarms/{alarm_id}")
    expect(page.locator(".acknowledged")).to_have_text(f"acknowledged by {HOSTILE}: {HOSTILE}")
    expect(page.locator(".said")).to_contain_text(HOSTILE)
    expect(page.locator(".trail")).to_contain_text(HOSTILE)
    page.goto(f"{house.url}#/alarms")
    expect(page.locator(".alarm-row").first).to_contain_text(HOSTILE)
    page.goto(f"{house.url}#/machines/{MACHINE}")
    expect(page.locator(".in-force")).to_contain_text(HOSTILE)
    page.goto(f"{house.url}#/machines/{HOSTILE.replace('/', '%2F')}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    page.goto(f"{house.url}#/?find={HOSTILE.replace('/', '%2F')}")
    expect(page.locator("#find")).to_have_value(HOSTILE)
    assert page.locator("img[src=x], main script").count() == 0
    house.order(f"machines/{MACHINE}:unshelve")


def test_what_was_found_is_said_and_can_be_changed(window: Any, house: Any, expect: Any) -> None:
    alarm_id = house.raise_alarm()
    page = window.open(f"{house.url}#/alarms/{alarm_id}")
    page.get_by_role("button", name="Say what was found").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("True alarm").check()
    dialog.get_by_label("Cause").fill("a worn bearing")
    dialog.get_by_label("What was done").fill("changed it")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator(".said")).to_contain_text("a worn bearing")
    page.get_by_role("button", name="Change what was found").click()
    dialog.get_by_label("False alarm").check()
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator(".said")).to_contain_text("False alarm")
    house.until(lambda: house.alarms()[0]["feedback"]["verdict"] == "false_alarm")


def test_an_order_that_is_refused_says_why_and_can_be_closed(window: Any, house: Any, expect: Any) -> None:
    window.expected.append("409")
    alarm_id = house.raise_alarm()
    page = window.open(f"{house.url}#/alarms/{alarm_id}")
    page.get_by_role("button", name="Acknowledge").click()
    house.order(f"alarms/{alarm_id}:ack")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog.locator(".trouble")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".acknowledged")).to_contain_text("acknowledged by ann")
