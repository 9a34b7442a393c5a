from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from humwatch.alarm.events import MACHINE_STATES, MachineState
from humwatch_service.errors import RequestInvalid
from humwatch_service.storage.history import MINUTES_KEPT_S, SECONDS_KEPT_S
from humwatch_service.storage.packed_minute import PackedMinute
from humwatch_service.storage.records import HistoryPoint, ScoreSecond
from humwatch_service.storage.store import StateStore

START_S = 1_700_000_040  # a minute's start


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path)
    yield opened
    opened.close()


def second(
    at_s: int,
    score: float | None = 0.5,
    *,
    level_dbfs: float | None = -30.0,
    state: MachineState = "normal",
    machine_id: str = "m",
) -> ScoreSecond:
    return ScoreSecond(machine_id=machine_id, at_s=at_s, score=score, level_dbfs=level_dbfs, state=state)


def test_seconds_come_back_as_they_were(store: StateStore, rng: np.random.Generator) -> None:
    rows = []
    for offset in range(150):
        score = None if offset % 7 == 0 else float(np.float32(rng.normal()))
        level = None if offset % 11 == 0 else round(float(rng.uniform(-90, 0)), 2)
        state = MACHINE_STATES[offset % len(MACHINE_STATES)]
        rows.append(second(START_S + offset, score, level_dbfs=level, state=state))
    store.add_seconds(rows)
    points = store.history("m", START_S, START_S + 150, "second")
    assert [
        second(point.at_s, point.score_mean, level_dbfs=point.level_dbfs, state=next(iter(point.states)))
        for point in points
    ] == rows
    assert all(point.score_min == point.score_max == point.score_mean and point.span_s == 1 for point in points)


def test_a_minute_is_written_in_parts(store: StateStore) -> None:
    """As the service does: every ten seconds what came since."""
    for part in range(0, 60, 10):
        store.add_seconds([second(START_S + part + i, (part + i) / 10) for i in range(10)])
        (point,) = store.history("m", START_S, START_S + 60, "minute")
        assert point.states == {"normal": part + 10}
    assert (point.score_min, point.score_max) == (0.0, pytest.approx(5.9))
    assert point.score_mean == pytest.approx(2.95)


def test_the_last_one_written_of_a_second_stays(store: StateStore) -> None:
    store.add_seconds([second(START_S, 0.5), second(START_S, 0.75, state="warning")])
    store.add_seconds([second(START_S, None, state="unknown")])
    (point,) = store.history("m", START_S, START_S + 1, "second")
    assert (point.score_mean, point.states) == (None, {"unknown": 1})
    (minute,) = store.history("m", START_S, START_S + 1, "minute")
    assert (minute.score_mean, minute.score_max, minute.states) == (None, None, {"unknown": 1})


def test_minutes_and_hours_sum_up(store: StateStore, rng: np.random.Generator) -> None:
    hour_s = 1_700_002_800
    scores = rng.normal(size=7_200)
    levels = rng.uniform(-60, -20, 7_200).round(2)
    states = rng.choice(np.array(MACHINE_STATES), 7_200)
    rows = [second(hour_s + i, float(scores[i]), level_dbfs=float(levels[i]), state=states[i]) for i in range(7_200)]
    store.add_seconds(rows)
    for resolution, span_s in (("minute", 60), ("hour", 3_600)):
        points = store.history("m", hour_s, hour_s + 7_200, resolution)  # type: ignore[arg-type]
        assert [point.at_s for point in points] == list(range(hour_s, hour_s + 7_200, span_s))
        for point in points:
            part = slice(point.at_s - hour_s, point.at_s - hour_s + span_s)
            assert point.score_min == pytest.approx(scores[part].min(), rel=1e-6)
            assert point.score_max == pytest.approx(scores[part].max(), rel=1e-6)
            assert point.score_mean == pytest.approx(scores[part].mean(), abs=1e-6)
            power = np.mean(10 ** (levels[part] / 10))
            assert point.level_dbfs == pytest.approx(10 * np.log10(power), abs=1e-6)
            assert point.states == {state: int(np.sum(states[part] == state)) for state in point.states}
            assert sum(point.states.values()) == span_s


def test_machines_do_not_mix(store: StateStore) -> None:
    store.add_seconds([second(START_S, 0.1, machine_id="a"), second(START_S, 0.2, machine_id="b")])
    (point,) = store.history("b", START_S, START_S + 1, "second")
    assert point.score_mean == pytest.approx(0.2)
    assert store.history("c", START_S, START_S + 1, "second") == []


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 60, 60), (0, 61, 61), (59, 61, 2), (59.9, 60.1, 2), (60, 60, 0), (-100, 0, 0), (100, 1000, 20)],
)
def test_the_end_is_left_out(store: StateStore, start: float, end: float, expected: int) -> None:
    store.add_seconds([second(START_S + i) for i in range(120)])
    assert len(store.history("m", START_S + start, START_S + end, "second")) == expected


def test_a_point_that_begins_before_the_start_is_whole(store: StateStore) -> None:
    store.add_seconds([second(START_S + i) for i in range(60)])
    (point,) = store.history("m", START_S + 30, START_S + 31, "minute")
    assert (point.at_s, point.states) == (START_S, {"normal": 60})


def test_too_many_points_are_refused(store: StateStore) -> None:
    with pytest.raises(RequestInvalid, match="at most 100000"):
        store.history("m", 0, 100_001, "second")
    assert store.history("m", 0, 100_000, "second") == []
    assert store.history("m", 0, 400 * 86_400, "hour") == []


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(float("nan"), 1.0), (0.0, float("nan")), (0.0, float("inf")), (1.7e12, 1.7e12), (-1e30, -1e30)],
)
def test_what_is_no_time_is_refused(store: StateStore, start_s: float, end_s: float) -> None:
    with pytest.raises(RequestInvalid):
        store.history("m", start_s, end_s, "second")
    assert store.history("m", 60, 0, "hour") == []


def test_seconds_go_after_a_month_and_minutes_after_a_year(store: StateStore) -> None:
    store.add_seconds([second(START_S + i) for i in range(120)])
    store.prune(START_S + 60 + SECONDS_KEPT_S)
    assert len(store.history("m", START_S, START_S + 120, "second")) == 60
    assert len(store.history("m", START_S, START_S + 120, "minute")) == 2
    store.prune(START_S + 60 + MINUTES_KEPT_S)
    assert store.history("m", START_S, START_S + 120, "second") == []
    assert [point.at_s for point in store.history("m", START_S, START_S + 120, "minute")] == [START_S + 60]


@pytest.mark.slow
def test_the_room_of_dropped_seconds_is_used_again(store: StateStore, rng: np.random.Generator) -> None:
    pages = []
    for day in range(4):
        start_s = START_S + day * 86_400
        store.add_seconds([second(start_s + i, float(rng.normal())) for i in range(0, 86_400, 7)])
        store.prune(start_s + SECONDS_KEPT_S)  # all seconds before this day
        with store._database.reading() as connection:
            pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    assert pages[3] - pages[1] < 0.6 * pages[0]  # minutes alone: twice 0.25


def test_a_packed_minute_is_small(rng: np.random.Generator) -> None:
    minute = PackedMinute.empty()
    assert len(minute.to_bytes()) < 40
    for i in range(60):
        minute.put(second(i, float(rng.normal(0.3, 0.2)), level_dbfs=float(rng.normal(-30, 1))))
    packed = minute.to_bytes()
    assert len(packed) < 340
    again = PackedMinute.from_bytes(packed)
    assert again.to_bytes() == packed
    assert again.points(0) == minute.points(0)


def test_a_damaged_minute_is_forgotten_and_written_anew(store: StateStore) -> None:
    store.add_seconds([second(START_S), second(START_S + 60)])
    with store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE seconds SET packed = x'00' WHERE minute = {START_S // 60}")
    assert [point.at_s for point in store.history("m", START_S, START_S + 120, "second")] == [START_S + 60]
    store.add_seconds([second(START_S + 1)])
    points = store.history("m", START_S, START_S + 120, "second")
    assert [point.at_s for point in points] == [START_S + 1, START_S + 60]


def test_every_state_has_a_place_in_a_minute() -> None:
    for state in MACHINE_STATES:
        minute = PackedMinute.empty()
        minute.put(second(7, state=state))
        assert minute.sums()[f"{state}_s"] == 1
        (point,) = PackedMinute.from_bytes(minute.to_bytes()).points(0)
        assert point == HistoryPoint(
            at_s=7,
            span_s=1,
            score_min=0.5,
            score_mean=0.5,
            score_max=0.5,
            level_dbfs=-30.0,
            states={state: 1},
        )


@pytest.mark.parametrize("level_dbfs", [-1e9, -200.0, 0.0, 1e9])
def test_levels_out_of_reach_are_held(level_dbfs: float) -> None:
    minute = PackedMinute.empty()
    minute.put(second(0, level_dbfs=level_dbfs))
    (point,) = minute.points(0)
    assert point.level_dbfs == max(-300.0, min(level_dbfs, 300.0))


def test_old_sound_takes_no_second_that_is_judged(store: StateStore) -> None:
    def second(at_s: int, state: MachineState, score: float | None, *, late: bool) -> ScoreSecond:
        return ScoreSecond(machine_id="m", at_s=at_s, score=score, level_dbfs=-40.0, state=state, late=late)

    live = [second(600, "normal", 0.1, late=False), second(601, "unknown", None, late=False)]
    assert store.add_seconds(live) == 0
    late = [second(at_s, "alarm", 2.0, late=True) for at_s in (600, 601, 602)]
    assert store.add_seconds(late) == 1
    assert [(point.at_s, point.score_mean) for point in store.history("m", 600, 660, "second")] == [
        (600, pytest.approx(0.1)),
        (601, 2.0),
        (602, 2.0),
    ]
    assert store.add_seconds([second(602, "normal", 0.2, late=True)]) == 1  # the first backlog stays
    assert store.add_seconds([second(602, "normal", 0.3, late=False)]) == 0
    minute = store.history("m", 600, 660, "minute")[0]
    assert minute.states == {"normal": 2, "alarm": 1}
