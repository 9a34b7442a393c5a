"""When sound came, and whether it comes faster than time, with a clock of its own."""

from __future__ import annotations

import time

import pytest

from humwatch_service.streams.arrival_clock import AHEAD_S, MAX_ARRIVALS, ArrivalClock

RATE_HZ = 16_000


class Arrivals:
    """A clock that hears tenths of a second of sound."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        self.clock = ArrivalClock(RATE_HZ, realtime=True)

    def hear(self, seconds: float, *, pause_s: float = 0.0, held_back_s: float = 0.0) -> None:
        """Sound that comes at once, after a pause, for some of which the service did not take it."""
        self.now_s += pause_s
        for part in range(round(10 * seconds)):
            self.clock.on_audio(RATE_HZ // 10, 0, held_back_s if part == 0 else 0.0)


def test_sound_that_was_kept_during_a_break_is_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = Arrivals(monkeypatch)
    arrivals.hear(AHEAD_S - 0.2, pause_s=30.0)
    assert not arrivals.clock.catching_up
    arrivals.hear(0.4)
    assert arrivals.clock.catching_up
    arrivals.clock.on_caught_up()
    assert not arrivals.clock.catching_up


def test_sound_that_had_to_wait_for_the_service_is_late_and_not_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    # A processor that is too slow: of each 2.2 s, 2 s are taken at once and for 2.2 s nothing is.
    arrivals = Arrivals(monkeypatch)
    for _ in range(1_000):
        arrivals.hear(2.0, pause_s=2.2, held_back_s=2.2)
        assert not arrivals.clock.catching_up
    arrivals.clock.on_caught_up()
    arrivals.hear(3.0, pause_s=60.0)  # and then the line was cut
    assert arrivals.clock.catching_up


def test_arrivals_that_nobody_asks_about_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    clock = ArrivalClock(RATE_HZ, realtime=True)
    for number in range(2 * MAX_ARRIVALS):
        now_s = 0.1 * number
        clock.on_audio(RATE_HZ // 10, (number + 1) * RATE_HZ // 10)
    assert clock.latency_s(0) == pytest.approx(0.1 * (MAX_ARRIVALS - 1))
    assert clock.latency_s(2 * MAX_ARRIVALS * RATE_HZ // 10) == 0.0
