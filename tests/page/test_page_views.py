"""Every view shows what the service knows, on a phone and on a desk, to everybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from humwatch.synthetic import Fault, SyntheticMachine
from tests.live_service import MACHINE
from tests.page.conftest import grave

pytestmark = pytest.mark.process

RATE_HZ = 16_000
NUMBER = re.compile(r"^\u2212?\d+(\.\d+)?$")
PAINTED = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return new Set(new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
}"""
"""Count the colours of a canvas, on a copy: Chromium warns of canvases that are read again and again."""


@pytest.fixture(scope="module")
def alarm_id(house: Any) -> str:
    """An alarm that is over, with all of its sound and its picture."""
    found = str(house.raise_alarm())
    house.calm()
    house.until(lambda: house.http.get(f"/v1/alarms/{found}/picture.png").status_code == 200)
    return found


@pytest.fixture
def address(house: Any, alarm_id: str) -> Callable[[str], str]:
    places = {
        "fleet": "#/",
        "machine": f"#/machines/{MACHINE}",
        "alarms": "#/alarms",
        "alarm": f"#/alarms/{alarm_id}",
        "try": "#/try",
    }
    return lambda view: f"{house.url}{places[view]}"


READY = {
    "fleet": ".tile .score",
    "machine": ".band .hz",
    "alarms": ".alarm-row",
    "alarm": ".player .play",
    "try": "#try-machine option",
}
VIEWS = list(READY)


def opened(window: Any, address: Callable[[str], str], view: str, **given: Any) -> Any:
    page = window.open(address(view), **given)
    page.locator(READY[view]).first.wait_for(state="attached")
    page.locator("#connection[data-sign=live]").wait_for()
    return page


def painted(page: Any, selector: str, colours: int) -> None:
    """Wait until a canvas shows so many colours."""
    page.wait_for_function(
        f"([selector, least]) => {{ const canvas = document.querySelector(selector);"
        f" return canvas && canvas.width > 0 && ({PAINTED})(canvas) >= least; }}",
        arg=[selector, colours],
    )


def test_the_fleet_shows_each_machine_with_its_score_and_its_source(
    window: Any, address: Any, house: Any, expect: Any
) -> None:
    house.calm()
    page = opened(window, address, "fleet")
    expect(page.locator(".tile")).to_have_count(2)
    heard, silent = page.locator(".tile").nth(0), page.locator(".tile").nth(1)
    expect(heard.locator(".name")).to_have_text(MACHINE)
    expect(heard.locator(".state")).to_have_text("Normal")
    expect(heard.locator(".score")).to_have_text(NUMBER)
    expect(heard.locator(".source")).to_have_text("Sound is good")
    expect(heard.locator(".since")).to_contain_text("for ")
    expect(silent.locator(".state")).to_have_text("Not listened to")
    expect(silent.locator(".source")).to_have_text("Nobody sends its sound")
    painted(page, ".tile canvas", 4)


def test_a_filter_is_kept_in_the_address(window: Any, address: Any, expect: Any) -> None:
    page = opened(window, address, "fleet")
    page.locator(".count-button[data-kind=not_listened]").click()
    expect(page.locator(".tile .name")).to_have_text(["fan-1"])
    page.reload()
    expect(page.locator(".tile .name")).to_have_text(["fan-1"])
    page.locator("#find").fill("pump")
    expect(page.locator(".tile")).to_have_count(0)
    page.get_by_role("button", name="Show all machines").click()
    expect(page.locator(".tile")).to_have_count(2)
    assert page.url.endswith("#/")


def test_a_machine_is_seen_and_read_by_keys(window: Any, address: Any, house: Any, expect: Any) -> None:
    house.calm()
    page = opened(window, address, "machine")
    expect(page.locator(".big-state .state")).to_have_text("Normal")
    painted(page, ".stack .picture", 40)
    expect(page.locator(".stack .u-wrap canvas")).to_be_visible()
    expect(page.locator(".sentences li").first).to_contain_text("for 3 s of sound")
    span = page.locator(".stack-tools .span")
    expect(span).to_have_text("60 s")
    page.locator(".stack").focus()
    page.keyboard.press("+")
    expect(span).to_have_text("38 s")
    page.keyboard.press("ArrowLeft")
    expect(span).to_have_text("38 s, paused")
    reading = page.locator(".reading")
    expect(reading).to_contain_text("Hz")
    expect(reading).to_contain_text("dB")
    expect(reading).to_contain_text("from expected")
    before = reading.text_content()
    page.keyboard.press("ArrowUp")
    expect(reading).not_to_have_text(before)
    page.get_by_role("button", name="Go on live").click()
    expect(span).to_have_text("38 s")


def test_a_pointer_reads_the_picture(window: Any, address: Any, expect: Any) -> None:
    page = opened(window, address, "machine")
    painted(page, ".stack .picture", 40)
    box = page.locator(".stack .picture").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] - 40, box["y"] + box["height"] / 2)
    expect(page.locator(".reading")).to_contain_text("from expected")
    expect(page.locator(".stack .cursor")).to_be_visible()


def test_a_machine_shows_its_day_its_model_and_its_versions(window: Any, address: Any, expect: Any) -> None:
    page = opened(window, address, "machine")
    expect(page.locator(".day canvas").first).to_be_visible()
    expect(page.locator(".versions")).to_contain_text("Version 1")
    expect(page.get_by_role("region", name="Model", exact=True)).to_contain_text("pump")
    expect(page.locator(".short .alarm-row").first).to_be_visible()


def test_a_machine_is_taken_out_of_service_and_returned(window: Any, address: Any, house: Any, expect: Any) -> None:
    house.calm()
    page = opened(window, address, "machine")
    page.get_by_role("button", name="Take out of service").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_label("Why").fill("new bearings")
    dialog.get_by_role("button", name="Take out of service").click()
    expect(page.locator(".big-state .state")).to_have_text("Out of service")
    expect(page.locator(".in-force")).to_contain_text("taken by Ada")
    page.get_by_role("button", name="Return to service").click()
    expect(page.get_by_role("dialog").get_by_label("Your name")).to_have_value("Ada")
    page.get_by_role("dialog").get_by_role("button", name="Return to service").click()
    expect(page.locator(".big-state .state")).to_have_text("Normal")
    assert house.status()["out_of_service"] is None


def test_a_shelf_is_as_long_as_the_rule_allows(window: Any, address: Any, house: Any, expect: Any) -> None:
    house.calm()
    page = opened(window, address, "machine")
    page.get_by_role("button", name="Shelve alarms").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("option").last).to_have_text("8 h")
    dialog.get_by_label("For how long").select_option(label="30 min")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_role("button", name="Shelve").click()
    expect(page.locator(".in-force")).to_contain_text("Shelved by Ada")
    assert house.status()["shelf"]["who"] == "Ada"
    page.get_by_role("button", name="End the shelf").click()
    page.get_by_role("dialog").get_by_role("button", name="End the shelf").click()
    expect(page.locator(".in-force")).to_be_empty()


def test_a_calibration_is_started_watched_and_given_up(window: Any, address: Any, house: Any, expect: Any) -> None:
    house.calm()
    page = opened(window, address, "machine")
    page.get_by_role("button", name="Start a commissioning").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Minutes of normal sound")).to_be_hidden()
    dialog.get_by_label("Minutes in a row").check()
    dialog.get_by_label("Minutes of normal sound").fill("5")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_role("button", name="Start").click()
    panel = page.get_by_role("region", name="Commissioning")
    expect(panel.locator("progress")).to_be_visible()
    expect(panel).to_contain_text("of 5")
    expect(panel.locator(".promise")).to_contain_text("needs 99 minutes")
    page.reload()
    panel.get_by_role("button", name="Cancel the commissioning").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the commissioning").click()
    expect(panel.get_by_role("button", name="Start a commissioning")).to_be_visible()


def test_an_alarm_is_heard_seen_and_explained(window: Any, address: Any, expect: Any) -> None:
    page = opened(window, address, "alarm")
    page.wait_for_function("() => document.querySelector('img.evidence')?.naturalWidth > 500")
    expect(page.locator(".trail li").first).to_be_visible()
    expect(page.locator(".band .hz").first).to_contain_text("Hz")
    page.wait_for_function("() => document.querySelector('audio').duration > 5")
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.2")
    page.get_by_role("button", name="Jump to the alarm").click()
    page.wait_for_function("() => (a => a.currentTime > a.duration - 11.1)(document.querySelector('audio'))")
    page.get_by_role("button", name="Loop").click()
    assert page.evaluate("document.querySelector('audio').loop")
    page.get_by_role("button", name="Pause", exact=True).click()
    assert page.evaluate("document.querySelector('audio').paused")


def test_normal_sound_is_there_to_compare_with_or_said_to_be_missing(
    window: Any, address: Any, house: Any, expect: Any
) -> None:
    window.expected.append(r"404 .*normal\.flac")
    page = opened(window, address, "alarm")
    there = house.http.get(f"/v1/machines/{MACHINE}/normal.flac").is_success
    page.get_by_role("button", name="Normal sound").click()
    if there:
        expect(page.get_by_role("button", name="Normal sound")).to_have_attribute("aria-pressed", "true")
        page.wait_for_function("() => document.querySelector('audio').duration > 5")
    else:
        expect(page.locator(".player .trouble")).to_contain_text("Normal sound")


def test_an_alarm_on_paper_is_light_and_has_no_buttons(window: Any, address: Any, expect: Any) -> None:
    page = opened(window, address, "alarm", theme="dark")
    page.emulate_media(media="print")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.locator(".orders")).to_be_hidden()
    expect(page.locator(".bar")).to_be_hidden()
    expect(page.locator(".trail")).to_be_visible()


def test_a_recording_is_judged_seen_and_heard(
    window: Any, address: Any, synthetic: SyntheticMachine, tmp_path: Path, expect: Any
) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.wav"
    soundfile.write(path, synthetic.clip(901, 6.0, Fault("squeal", 0.0)), RATE_HZ, subtype="PCM_16")
    page = opened(window, address, "try")
    page.locator("#try-machine").select_option(MACHINE)
    page.locator("#try-file").set_input_files(path)
    expect(page.locator(".big-state .state")).to_have_text("Alarm")
    expect(page.locator(".band .hz").first).to_contain_text("Hz")
    page.wait_for_function("() => document.querySelector('img.evidence')?.naturalWidth > 500")
    page.wait_for_function("() => document.querySelector('audio').duration > 5.5")
    assert page.locator("img[src=x]").count() == 0


def test_what_is_no_recording_is_refused_in_words(window: Any, address: Any, tmp_path: Path, expect: Any) -> None:
    window.expected.append(r"41[0-9]|422")
    path = tmp_path / "notes.wav"
    path.write_text("this is no sound")
    page = opened(window, address, "try")
    page.locator("#try-file").set_input_files(path)
    trouble = page.locator(".try .trouble")
    expect(trouble).to_contain_text("notes.wav: ")
    assert "status" not in trouble.text_content()


@pytest.mark.parametrize("view", VIEWS)
def test_everybody_can_use_it_light_dark_and_on_a_narrow_phone(window: Any, address: Any, view: str) -> None:
    page = opened(window, address, view)
    assert grave(page) == []
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for()
    assert grave(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, .button, .views a')].filter(e => e.offsetParent !== null)"
        ".map(e => [e.textContent.trim(), e.getBoundingClientRect().height]).filter(([, height]) => height < 43.5)"
    )
    assert small == []


def test_a_machine_that_is_not_there_is_said_to_be_so(window: Any, house: Any, expect: Any) -> None:
    page = window.open(f"{house.url}#/machines/nowhere-9")
    expect(page.get_by_role("heading", name="There is no such machine")).to_be_visible()
