"""A connection that breaks: the page says so, comes back by itself, and then shows what is true."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.live_service import MACHINE

pytestmark = pytest.mark.process


def test_a_restart_of_the_service_is_said_and_survived(window: Any, house: Any, expect: Any) -> None:
    window.expected += [
        r"ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)",
        r"\b503\b",
    ]
    page = window.open(house.url)
    other = window.open(f"{house.url}#/machines/{MACHINE}")
    sign = page.locator("#connection")
    expect(sign).to_have_text("live")
    expect(other.locator(".big-state .state")).to_have_text("Normal")
    page.evaluate("window.notReloaded = true")

    house.service.kill()
    expect(sign).to_have_text("reconnecting")
    expect(page.locator("#stale")).to_have_text(re.compile(r"^Reconnecting, data is \d+ s old\.$"))
    expect(page.locator("body")).to_have_class(re.compile("old"))
    expect(page.locator("#announcer")).to_contain_text("is broken")

    house.service.start()
    house.until(lambda: house.http.get("/readyz").status_code == 200)
    house.order(f"machines/{MACHINE}:out-of-service", why="while nobody could see it")
    expect(sign).to_have_text("live")
    expect(page.locator("#stale")).to_be_hidden()
    expect(page.locator("#announcer")).to_contain_text("is back")
    expect(page.locator(f".tile:has-text('{MACHINE}') .state")).to_have_text("Out of service")
    expect(other.locator(".big-state .state")).to_have_text("Out of service")
    expect(other.locator(".in-force")).to_contain_text("while nobody could see it")
    house.order(f"machines/{MACHINE}:in-service")
    expect(page.locator(f".tile:has-text('{MACHINE}') .state")).to_have_text("Normal")
    expect(other.locator(".big-state .state")).to_have_text("Normal")
    assert page.evaluate("window.notReloaded")


def test_missed_sound_is_a_gap_and_memory_is_bounded(window: Any, house: Any) -> None:
    page = window.open(house.url)
    found = page.evaluate(
        """async () => {
          const { SoundStrip, KEPT_S } = await import("/ui/sound_strip.js");
          const { ScoreTrail } = await import("/ui/score_trail.js");
          const strip = new SoundStrip([[0, 100], [100, 200]], 0.5);
          const bytes = (values) => btoa(String.fromCharCode(...values));
          const level = bytes([10, 20, 30, 40]), departure = bytes([1, 2, 128, 4]);
          const told = (start_s) => ({ start_s, end_s: start_s + 1, columns: 2, level, departure });
          strip.push(told(1000));
          strip.push(told(1010));
          const trail = new ScoreTrail();
          for (const at of [1, 2, 3, 10, 11]) trail.push(at, at, at);
          const readings = [1000.2, 1000.7, 1005, 1010.2].map((at) => strip.reading(at, 0));
          const stretches = [...strip._stretches(999, 1012)].length;
          for (let at = 2000; at < 2000 + 3 * KEPT_S; at += 1) { strip.push(told(at)); trail.push(at, 0, 0); }
          return { readings, stretches, gap: trail.at(6), held: strip.held.filter((slot) => slot >= 0).length,
                   slots: strip.slots, oldest: strip.reading(2000.2, 0), scores: trail.columns[0].length };
        }"""
    )
    assert found["readings"] == [
        {"level": 10, "departure": 1}, {"level": 30, "departure": None}, None, {"level": 10, "departure": 1}
    ]  # fmt: skip
    assert found["stretches"] == 2
    assert found["gap"] is None
    assert found["held"] == found["slots"] == 1200
    assert found["oldest"] is None
    assert found["scores"] <= 700


def test_trouble_comes_first(window: Any, house: Any) -> None:
    page = window.open(house.url)
    order = page.evaluate(
        """async () => {
          const { byTrouble } = await import("/ui/trouble.js");
          const tile = (machine_id, state, more = {}) => ({ machine_id, state, alarm_id: null, alarm_since_s: null,
            acknowledged: false, out_of_service: false, listened: true, ...more });
          const tiles = [
            tile("a-unheard", "unknown", { listened: false }), tile("c-off", "off"), tile("d-normal", "normal"),
            tile("b-out", "out_of_service", { out_of_service: true }), tile("e-warning", "warning"),
            tile("f-unknown", "unknown"),
            tile("g-acknowledged", "alarm", { alarm_id: "g", alarm_since_s: 9, acknowledged: true }),
            tile("h-old", "alarm", { alarm_id: "h", alarm_since_s: 1 }),
            tile("i-new", "unknown", { alarm_id: "i", alarm_since_s: 2 }),
          ];
          return tiles.sort(byTrouble).map((each) => each.machine_id);
        }"""
    )
    assert order == [
        "i-new",
        "h-old",
        "g-acknowledged",
        "f-unknown",
        "e-warning",
        "d-normal",
        "c-off",
        "b-out",
        "a-unheard",
    ]
