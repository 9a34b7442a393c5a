"""A wall clock that is set or leaps, and what must not follow it."""

from __future__ import annotations

from typing import Any

import pytest

from humwatch_service.live.retention import TRUST_S, Retention
from humwatch_service.streams.clock_watch import ClockWatch

DAY_S = 86_400.0


class Clocks:
    def __init__(self) -> None:
        self.wall_s, self.up_s = 1.8e9, 40.0

    def pass_by(self, seconds: float) -> None:
        self.wall_s += seconds
        self.up_s += seconds


def watched(clocks: Clocks) -> tuple[ClockWatch, list[float]]:
    steps: list[float] = []
    watch = ClockWatch(clock=lambda: clocks.wall_s, monotonic=lambda: clocks.up_s)
    watch.subscribe(steps.append)
    return watch, steps


@pytest.mark.parametrize("step_s", [-3 * DAY_S, 3 * DAY_S, 90.0, -90.0, 2.5])
def test_a_step_is_told_once(step_s: float, caplog: pytest.LogCaptureFixture) -> None:
    clocks = Clocks()
    watch, steps = watched(clocks)
    for _ in range(100):
        clocks.pass_by(1.0)
        watch.look()
    clocks.wall_s += step_s
    for _ in range(100):
        clocks.pass_by(1.0)
        watch.look()
    assert steps == [pytest.approx(step_s)]


def test_slew_is_no_step_and_a_suspend_is() -> None:
    clocks = Clocks()
    watch, steps = watched(clocks)
    for _ in range(36_000):
        clocks.pass_by(1.0)
        clocks.wall_s += 0.0005
        watch.look()
    assert steps == []
    clocks.wall_s += 7_200.0  # the monotonic clock stands still while the box sleeps
    watch.look()
    assert steps == [pytest.approx(7_200.0)]


class Kept:
    """Stands for the database and both folders of sound: notes the time by which each is tidied."""

    def __init__(self) -> None:
        self.times: list[Any] = []

    def prune(self, now_s: float) -> None:
        self.times.append(("prune", now_s))

    def enforce(self, now_s: float | None, protected: Any = None) -> list[str]:
        self.times.append(("quota" if now_s is None else "age", now_s))
        return []


def kept_by(clocks: Clocks) -> tuple[Retention, Kept]:
    kept: Any = Kept()
    return (
        Retention(
            kept,
            kept,
            kept,
            on_purged=lambda count: None,
            clock=lambda: clocks.wall_s,
            monotonic=lambda: clocks.up_s,
        ),
        kept,
    )


def tidied(retention: Retention, kept: Kept) -> list[str]:
    kept.times.clear()
    retention.enforce([])
    return [what for what, _ in kept.times]


def test_a_clock_that_leaps_deletes_nothing_for_its_age_for_a_day() -> None:
    clocks = Clocks()
    retention, kept = kept_by(clocks)
    assert tidied(retention, kept) == ["prune", "age", "age"]
    clocks.wall_s += 10 * 365 * DAY_S
    retention.on_clock_set(10 * 365 * DAY_S)
    assert tidied(retention, kept) == ["quota", "quota"]
    clocks.pass_by(TRUST_S - 1.0)
    assert tidied(retention, kept) == ["quota", "quota"]
    clocks.pass_by(2.0)
    assert tidied(retention, kept) == ["prune", "age", "age"]


def test_a_leap_that_is_taken_back_is_forgotten() -> None:
    clocks = Clocks()
    retention, kept = kept_by(clocks)
    retention.on_clock_set(400 * DAY_S)
    retention.on_clock_set(-3_600.0)
    assert tidied(retention, kept) == ["quota", "quota"]
    retention.on_clock_set(-400 * DAY_S + 3_600.0)
    assert tidied(retention, kept) == ["prune", "age", "age"]


@pytest.mark.parametrize("step_s", [-400 * DAY_S, 3_600.0, 90.0])
def test_what_deletes_nothing_is_no_leap(step_s: float) -> None:
    retention, kept = kept_by(Clocks())
    retention.on_clock_set(step_s)
    assert tidied(retention, kept) == ["prune", "age", "age"]


@pytest.mark.parametrize(
    ("silent_s", "tidies"), [(None, True), (3_600.0, True), (-DAY_S, True), (3 * DAY_S, False), (3_650 * DAY_S, False)]
)
def test_a_start_long_after_the_last_sound_waits_as_well(silent_s: float | None, tidies: bool) -> None:
    clocks = Clocks()
    retention, kept = kept_by(clocks)
    retention.on_restored(None if silent_s is None else clocks.wall_s - silent_s)
    assert tidied(retention, kept) == (["prune", "age", "age"] if tidies else ["quota", "quota"])
