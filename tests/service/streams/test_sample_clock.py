"""Wall clock of the samples of a stream, with clocks that are set, sleep and drift."""

from __future__ import annotations

from itertools import pairwise

import pytest

from humwatch_service.streams.sample_clock import (
    FUTURE_S,
    MAX_ANCHORS,
    UNDATED_S,
    Anchor,
    Note,
    SampleClock,
    Source,
    can_be,
)

RATE_HZ = 1_000
DAY_S = 86_400.0
NOW_S = 1.8e9


class Box:
    """A box with a wall clock, a monotonic clock, and a stream of a tenth of a second at a time."""

    def __init__(self, ago_s: float = 0.0, source: Source = "arrival", **given: object) -> None:
        self.wall_s, self.up_s, self.accepted = NOW_S, 50.0, 0
        self.clock = SampleClock(
            RATE_HZ,
            Anchor(0, NOW_S - ago_s, source),
            clock=lambda: self.wall_s,
            monotonic=lambda: self.up_s,
            **given,  # type: ignore[arg-type]
        )

    def run(self, seconds: float, *, sound_s: float | None = None, block_s: float = 0.1) -> list[Note]:
        """Let time pass, and sound come: as much as time passes, or as is said."""
        blocks = round((seconds if sound_s is None else sound_s) / block_s)
        notes = []
        for _ in range(blocks):
            self.pass_by(seconds / blocks)
            self.accepted += round(block_s * RATE_HZ)
            note = self.clock.follow(self.accepted)
            notes += [] if note is None else [note]
        return notes

    def pass_by(self, seconds: float) -> None:
        self.wall_s += seconds
        self.up_s += seconds

    @property
    def late_s(self) -> float:
        return self.wall_s - self.clock.end_of(self.accepted)


@pytest.mark.parametrize("step_s", [-3 * DAY_S, 3 * DAY_S, 90.0, -90.0, 3_650 * DAY_S, -3_650 * DAY_S])
@pytest.mark.parametrize("source", ["arrival", "said"])
def test_live_sound_follows_a_clock_that_is_set(step_s: float, source: Source) -> None:
    box = Box(source=source)
    assert box.run(120.0) == []
    before = box.accepted
    was_s = box.clock.end_of(before)
    box.wall_s += step_s
    assert box.run(1.0) == ["clock_set"]
    assert box.late_s == pytest.approx(0.0, abs=0.2)
    if step_s > 0:
        assert box.clock.end_of(before) == pytest.approx(was_s, abs=0.01)  # what was heard before keeps its time
    assert box.clock.end_of(before) <= box.wall_s
    assert box.run(600.0) == []
    assert box.late_s == pytest.approx(0.0, abs=0.2)


def test_a_box_that_slept_dates_what_comes_by_now(source: Source = "arrival") -> None:
    box = Box(source=source)
    box.run(30.0)
    box.wall_s += 8 * 3_600  # the monotonic clock stands still meanwhile
    assert box.run(0.5) == ["clock_set"]
    assert box.late_s == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("step_s", [-3_600.0, 3 * DAY_S, 90.0])
def test_what_was_said_of_yesterday_stays_whatever_the_services_clock_does(step_s: float) -> None:
    box = Box(10 * DAY_S, "said")
    box.run(30.0)
    box.wall_s += step_s
    assert box.run(30.0) == ["clock_set"]
    assert box.clock.end_of(box.accepted) == pytest.approx(NOW_S - 10 * DAY_S + 60.0)
    assert box.clock.newest.source == "said"


def test_what_was_said_and_cannot_be_by_the_clock_set_back_is_from_now() -> None:
    box = Box(DAY_S, "said")
    box.run(10.0)
    box.wall_s -= 3 * DAY_S
    assert box.run(10.0) == ["clock_set"]
    assert box.late_s == pytest.approx(0.0, abs=0.2)
    assert box.clock.newest.source == "arrival"
    box.wall_s += 3 * DAY_S  # and back: what was said can be again
    assert box.run(10.0) == ["clock_set"]
    assert box.late_s == pytest.approx(DAY_S, abs=1.0)


def test_a_box_without_battery_believes_its_sender_once_its_clock_is_set() -> None:
    true_s = NOW_S + 6 * 365 * DAY_S
    claim = Anchor(0, true_s - 7_200.0, "said")
    box = Box(claim=claim)
    box.run(20.0)
    assert box.late_s == pytest.approx(0.0, abs=0.2)
    box.wall_s += true_s - NOW_S
    assert box.run(10.0) == ["clock_set"]
    assert box.clock.end_of(box.accepted) == pytest.approx(true_s - 7_200.0 + 30.0)


@pytest.mark.parametrize("source", ["length", "assumed"])
def test_times_that_rest_on_the_services_clock_move_with_it(source: Source) -> None:
    box = Box(DAY_S, source)
    box.run(2.0)
    box.wall_s += 3 * DAY_S
    box.run(1.0)
    assert box.wall_s - box.clock.place_of(box.accepted) == pytest.approx(DAY_S, abs=3.0)


def test_slow_slew_is_no_step() -> None:
    box = Box()
    for _ in range(3_600):
        box.wall_s += 0.0005  # 500 ppm, as NTP slews
        assert box.run(1.0) == []
    assert box.late_s == pytest.approx(0.0, abs=1.2)


@pytest.mark.parametrize("share", [0.999, 1.001])
def test_cards_that_run_slow_or_fast_are_followed(share: float) -> None:
    box = Box()
    for _ in range(7_200):
        assert box.run(1.0, sound_s=share, block_s=share) == []
    assert abs(box.late_s) < 1.0
    assert box.clock.newest.source == "arrival"


def test_a_backlog_of_days_is_not_slewed_to_now() -> None:
    box = Box(3 * DAY_S, "said")
    for _ in range(30):
        box.run(60.0, block_s=1.0)
    assert box.late_s == pytest.approx(3 * DAY_S, abs=0.5)
    box.run(60.0, sound_s=600.0, block_s=1.0)
    assert box.late_s == pytest.approx(3 * DAY_S - 540.0, abs=0.5)


def test_undated_sound_that_is_late_for_a_minute_is_from_now() -> None:
    box = Box(120.0)
    box.run(130.0)
    assert box.late_s == pytest.approx(0.0, abs=0.5)


def test_undated_sound_faster_than_time_is_of_the_day_before_until_it_is_live_again() -> None:
    box = Box()
    assert box.run(1.0, sound_s=600.0) == ["undated"]
    assert box.clock.newest.source == "assumed"
    assert box.late_s == 0.0  # nobody knows better
    assert box.wall_s - box.clock.place_of(box.accepted) == pytest.approx(UNDATED_S - 600.0, abs=3.0)
    dated = [box.clock.place_of(RATE_HZ * second) for second in range(1, 600)]
    assert all(after - before == pytest.approx(1.0) for before, after in pairwise(dated))
    box.run(30.0)
    assert (box.clock.newest.source, box.late_s) == ("arrival", pytest.approx(0.0, abs=0.2))


def test_of_known_length_it_ends_now() -> None:
    box = Box(length_s=600.0)
    assert box.run(1.0, sound_s=600.0) == []
    assert box.late_s == pytest.approx(0.0, abs=2.0)
    assert box.clock.end_of(RATE_HZ) == pytest.approx(box.wall_s - 599.0, abs=2.0)


def test_what_was_said_and_runs_into_the_future_is_named() -> None:
    box = Box(5.0, "said")
    assert box.run(1.0, sound_s=60.0) == ["from_the_future"]
    assert box.clock.place_of(box.accepted) < box.wall_s - DAY_S / 2


def test_a_sample_at_a_seam_ends_the_sound_before_and_begins_that_behind() -> None:
    box = Box(DAY_S, "said")
    box.run(10.0)
    box.clock.anchor(Anchor(box.accepted, NOW_S - 3_600.0, "said"))
    assert box.clock.end_of(box.accepted) == pytest.approx(NOW_S - DAY_S + 10.0)
    assert box.clock.start_of(box.accepted) == NOW_S - 3_600.0
    assert box.clock.end_of(box.accepted + RATE_HZ) == NOW_S - 3_599.0
    assert box.clock.start_of(0) == NOW_S - DAY_S


def test_anchors_are_bounded_and_the_last_ones_stay() -> None:
    box = Box(DAY_S, "said")
    for number in range(3 * MAX_ANCHORS):
        box.clock.anchor(Anchor(number, NOW_S - 2 * DAY_S + number, "said"))
    assert len(box.clock._anchors) <= MAX_ANCHORS
    last = 3 * MAX_ANCHORS - 1
    assert box.clock.start_of(last - 1_000) == NOW_S - 2 * DAY_S + last - 1_000
    for number in range(100):
        box.clock.anchor(Anchor(1_000_000 * number + 20_000, NOW_S - DAY_S, "said"))
    assert len(box.clock._anchors) < 5  # of sound that nobody looks at any more


def test_what_can_be() -> None:
    assert can_be(NOW_S, NOW_S)
    assert can_be(NOW_S + FUTURE_S, NOW_S)
    assert not can_be(NOW_S + FUTURE_S + 1, NOW_S)
    assert not can_be(6e8, NOW_S)
    assert not can_be(float("nan"), NOW_S)
