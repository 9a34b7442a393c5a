"""Plans for sound of another time than now, and plans of a clock that was wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humwatch.errors import CalibrationError
from tests.service.calibration.test_commissioning import NEW, begin, minute_of
from tests.service.calibration.works import RATE_HZ, Setup, run

NOW_S = 1.8e9
HOUR_S = 3_600.0
DAY_S = 86_400.0


@pytest.fixture
def setup(models: Path, tmp_path: Path) -> Setup:
    setup = Setup(models, tmp_path / "state")
    setup.now_s = NOW_S
    return setup


def play(setup: Setup, number: int, at_s: float) -> None:
    setup.play(NEW, np.concatenate([minute_of(number), minute_of(0)[: 11 * RATE_HZ]]), at_s)
    run(setup.upkeep.advance())


def times(setup: Setup) -> list[float]:
    return sorted(setup.calibrations._running.of(NEW).times.values())


def test_recordings_of_last_week_fill_a_plan_by_their_own_time(setup: Setup) -> None:
    start_s = NOW_S - 7 * DAY_S
    begin(setup, plan="day", start_s=start_s)
    for number in range(5):
        play(setup, number, start_s + 71 * number)
    assert [at_s - start_s for at_s in times(setup)] == [pytest.approx(60.0 * n, abs=1.0) for n in range(5)]
    for number in range(5, 9):  # spread: in a quarter of an hour each, of the sound's time
        due_s = setup.calibrations.progress(NEW).plan.next_wanted_s
        assert due_s is not None
        play(setup, number, due_s - 120.0)
        assert len(times(setup)) == number
        play(setup, number, due_s + 1.0)
        assert times(setup)[-1] == pytest.approx(due_s + 1.0, abs=1.0)
        assert due_s < start_s + (number - 3) * 900.0 + 900.0
    running = setup.calibrations._running.of(NEW)
    assert not running.period_over  # it goes by in the time of the sound
    play(setup, 9, start_s + 25 * HOUR_S)
    assert running.period_over


def test_sound_from_before_the_start_is_not_used(setup: Setup) -> None:
    begin(setup, plan="in_a_row", minutes=3)
    for number in range(4):
        play(setup, number, NOW_S - DAY_S + 60 * number)
    assert times(setup) == []
    play(setup, 5, NOW_S + 10.0)
    assert len(times(setup)) == 1


@pytest.mark.parametrize("start_s", [NOW_S + 60.0, 0.0, -1e9, 6e8])
def test_a_plan_of_no_time_is_refused(setup: Setup, start_s: float) -> None:
    with pytest.raises(CalibrationError, match="start_s"):
        begin(setup, plan="day", start_s=start_s)


@pytest.mark.parametrize("wrong_by_s", [4e8, -4e8, 3 * DAY_S, -3 * DAY_S, -90.0])
def test_a_clock_that_is_set_right_while_minutes_are_collected(setup: Setup, wrong_by_s: float) -> None:
    setup.now_s = NOW_S + wrong_by_s
    begin(setup, plan="day")
    for number in range(2):
        play(setup, number, setup.now_s + 71 * number)
    assert len(times(setup)) == 2
    setup.now_s = NOW_S + 142.0
    setup.upkeep.on_clock_set(-wrong_by_s)
    run(setup.upkeep.advance())
    for number in range(2, 5):
        play(setup, number, NOW_S + 71 * number)
    assert [at_s - NOW_S for at_s in times(setup)] == [pytest.approx(60.0 * n, abs=2.0) for n in range(5)]
    due_s = setup.calibrations.progress(NEW).plan.next_wanted_s
    assert due_s is not None
    assert NOW_S < due_s < NOW_S + 2_000.0
    assert not setup.calibrations._running.of(NEW).period_over


def test_a_clock_that_was_ahead_before_a_restart(setup: Setup) -> None:
    setup.now_s = NOW_S + 4e8
    begin(setup, plan="day")
    play(setup, 0, setup.now_s)
    setup.now_s = NOW_S
    setup.start_service()
    run(setup.upkeep.restore())
    run(setup.upkeep.advance())
    for number in range(1, 5):
        play(setup, number, NOW_S + 71 * number)
    assert len(times(setup)) == 5
    due_s = setup.calibrations.progress(NEW).plan.next_wanted_s
    assert due_s is not None
    assert due_s < NOW_S + 2_000.0
