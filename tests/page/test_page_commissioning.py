"""A commissioning as an operator sees it: a plan that fills, a minute that is odd, a version that waits for a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from humwatch.synthetic import Fault, SyntheticMachine
from tests.live_service import MACHINE, Sounds, s16
from tests.page.conftest import House, grave, is_too_wide

pytestmark = pytest.mark.process

SPEED = 40.0
ODD = 3
SIZES = ((360, "dark"), (1280, "light"))


@pytest.fixture(scope="module")
def sounds(synthetic: SyntheticMachine) -> Sounds:
    """Five minutes that are not the same, as a machine's are not."""
    fault = Fault("squeal", 0.0)
    return Sounds(s16(synthetic.clip(800, 300.0)), s16(synthetic.clip(900, 300.0, fault)))


@pytest.fixture(scope="module")
def house(make_house: Callable[..., House]) -> House:
    made = make_house(speed=SPEED)
    made.begin()
    return made


def progress(house: House) -> dict[str, Any]:
    told: dict[str, Any] = house.http.get(f"/v1/machines/{MACHINE}/calibration").json()
    return told


def heard_s(house: House) -> float:
    plan = progress(house)["plan"]
    return float((plan["heard_s"] or plan["start_s"]) - plan["start_s"])


@pytest.fixture(scope="module")
def odd(house: House) -> dict[str, Any]:
    """A plan over a day whose first five minutes made a version; the third was no normal one."""
    house.order(f"machines/{MACHINE}/calibration", plan="day", accept="operator", why="after the repair")
    assert house.machine is not None
    house.until(lambda: heard_s(house) > 60 * (ODD - 1) + 8)
    house.machine.faulty = True
    house.until(lambda: heard_s(house) > 60 * (ODD - 1) + 30)
    house.machine.faulty = False
    house.until(lambda: progress(house)["stages"])
    house.calm()
    return progress(house)


def panel_of(page: Any) -> Any:
    return page.get_by_role("region", name="Commissioning", exact=True)


def order(page: Any, verb: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_role("button", name=verb, exact=True).click()
    dialog.wait_for(state="detached")


@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_a_plan_shows_its_minutes_its_stages_and_for_whom_it_waits(
    window: Any, house: House, odd: dict[str, Any], expect: Any, width: int, theme: str
) -> None:
    page = window.open(f"{house.url}#/machines/{MACHINE}", width=width, theme=theme)
    panel = panel_of(page)
    expect(panel).to_contain_text(re.compile(r"\d+ of 101"))
    expect(panel).to_contain_text("five minutes at once, then spread over a day, one in 15 min")
    expect(panel).to_contain_text("of 24 are there")
    expect(panel).to_contain_text("wait for an operator")
    expect(panel).to_contain_text("by ann: after the repair")
    expect(panel.locator(".promise")).to_contain_text("needs 99 minutes")
    stage = odd["stages"][0]
    made = panel.locator(".stages li").first
    expect(made).to_contain_text(f"Version {stage['version']} from {stage['minutes']} minutes waits to be accepted")
    expect(panel.locator(".waits")).to_contain_text(f"Version {stage['version']} waits for you to accept it.")
    expect(made).to_contain_text("Alarms: no limits of its own")
    expect(panel.locator(".stages li[data-state=coming]")).to_have_count(3)
    expect(panel.get_by_role("button", name=f"Accept version {stage['version']}")).to_be_visible()
    expect(page.locator(".head")).to_contain_text("Being commissioned; the version in use judges meanwhile.")
    assert not is_too_wide(page)
    assert grave(page) == []


def an_odd_minute_is_heard_and_thrown_out(window: Any, house: House, odd: dict[str, Any], expect: Any) -> None:
    numbers = [minute["number"] for minute in odd["odd_minutes"]]
    assert ODD in numbers
    page = window.open(f"{house.url}#/machines/{MACHINE}", width=360)
    row = panel_of(page).locator(".odd li").filter(has_text=f"Minute {ODD},")
    expect(row).to_contain_text("by the level of the others")
    play = row.get_by_role("button", name=f"Play: minute {ODD}")
    play.focus()
    page.keyboard.press("Enter")
    expect(row.get_by_role("button", name=f"Stop: minute {ODD}")).to_be_focused()
    expect(row.locator(".trouble")).to_be_empty()
    page.keyboard.press("Enter")
    expect(play).to_be_focused()
    row.get_by_role("button", name=f"Throw out minute {ODD}").click()
    order(page, "Throw out")
    expect(row).to_have_count(0)
    expect(panel_of(page)).to_contain_text(f"minute {ODD} (Ada threw it out)")
    assert not is_too_wide(page)
    assert grave(page) == []
    page.close()


def a_stage_that_is_accepted_watches_provisionally(window: Any, house: House, expect: Any) -> None:
    version = progress(house)["stages"][-1]["version"]
    page = window.open(f"{house.url}#/machines/{MACHINE}", width=360)
    panel_of(page).get_by_role("button", name=f"Accept version {version}").click()
    order(page, "Accept")
    expect(page.locator(".head")).to_contain_text("Watched provisionally")
    expect(page.locator(".head")).to_contain_text("its commissioning goes on")
    expect(panel_of(page)).to_contain_text("The machine is watched provisionally since")
    expect(panel_of(page).locator(".stages li[data-state=active] .mark")).to_have_text(["in use", "provisional"])
    tiles = window.open(house.url, width=360)
    expect(tiles.locator(".tile .marks").first).to_have_text("provisional")
    assert grave(tiles) == []
    assert not is_too_wide(page)
    assert grave(page) == []
    page.close()
    tiles.close()


def it_is_finished_and_says_what_it_made(window: Any, house: House, expect: Any) -> None:
    window.expected.append(r"404 .*calibration$")
    page = window.open(f"{house.url}#/machines/{MACHINE}")
    panel_of(page).get_by_role("button", name="Finish now").click()
    order(page, "Finish")
    expect(panel_of(page).locator(".made h3")).to_have_text(re.compile(r"Version \d+ was made and is in use"))
    expect(panel_of(page).locator(".made")).to_contain_text("Its alarms are decided by the on-delay")
    expect(panel_of(page).get_by_role("button", name="Start a commissioning")).to_be_visible()
    expect(page.locator(".head")).not_to_contain_text("provisionally")
    assert house.status()["commissioned"] is False


def test_an_operator_throws_out_accepts_and_finishes(
    window: Any, house: House, odd: dict[str, Any], expect: Any
) -> None:
    """One test, as each step needs those before it, and tests of a file may run in other processes."""
    window.expected.append(r"404 .*/shadow$")  # a candidate may end between two looks of the page
    an_odd_minute_is_heard_and_thrown_out(window, house, odd, expect)
    a_stage_that_is_accepted_watches_provisionally(window, house, expect)
    it_is_finished_and_says_what_it_made(window, house, expect)
