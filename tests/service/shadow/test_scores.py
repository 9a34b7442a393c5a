from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from humwatch.alarm.events import MachineState
from humwatch.false_alarms.scores import NormalScores
from humwatch_service.shadow.scores import scores_of, segmented, spans_in_use
from humwatch_service.storage.records import ScoreSecond
from humwatch_service.storage.second_series import SecondSeries
from humwatch_service.storage.shadow_rows import KeptShadow, Span, VersionChange
from humwatch_service.storage.store import StateStore

NOON = 1_700_000_000


def seconds(start: int, scores: list[float | None], state: MachineState = "normal") -> list[ScoreSecond]:
    return [
        ScoreSecond(machine_id="fan-1", at_s=start + number, score=score, level_dbfs=-30.0, state=state)
        for number, score in enumerate(scores)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = StateStore(tmp_path)
    yield made
    made.close()


def plain(scores: NormalScores) -> list[tuple[float, list[float]]]:
    return [(segment.start_s - NOON, np.round(segment.scores, 4).tolist()) for segment in scores.segments]


def test_scores_break_where_nothing_was_scored(store: StateStore) -> None:
    rows = [
        *seconds(NOON, [0.1, 0.2]),
        *seconds(NOON + 3, [0.3]),  # a second that clocks left empty
        *seconds(NOON + 4, [None], "unknown"),
        *seconds(NOON + 5, [0.4]),
        *seconds(NOON + 6, [0.5], "unknown"),  # bad sound
        *seconds(NOON + 7, [0.6], "warning"),
        *seconds(NOON + 8, [1.2], "alarm"),
        *seconds(NOON + 20, [0.7]),
    ]
    store.add_seconds(rows)
    found = scores_of(store.shadows, "fan-1", "1", in_use="1")
    assert plain(found) == [(0.0, [0.1, 0.2, 0.3]), (5.0, [0.4]), (7.0, [0.6, 1.2]), (20.0, [0.7])]
    assert found.heard_s == 7.0
    assert plain(scores_of(store.shadows, "fan-1", "2", in_use="1")) == []


def test_a_version_has_what_it_gave_beside_and_in_use(store: StateStore) -> None:
    store.shadows.write(KeptShadow("fan-1", "{}", "{}"), "2", seconds(NOON, [0.1, 0.2]))
    store.shadows.write(KeptShadow("fan-1", "{}", "{}"), "2", seconds(NOON + 1, [0.3]))  # over what it was
    store.add_seconds(seconds(NOON, [5.0, 5.0]))  # of version 1
    details = {"before": "1", "version": "2"}
    store.note("fan-1", "activated", NOON + 60.0, "ada", "", details=details)
    store.add_seconds(seconds(NOON + 59, [5.0, 0.4, 0.5]))
    assert plain(scores_of(store.shadows, "fan-1", "2", in_use="2")) == [(0.0, [0.1, 0.3]), (60.0, [0.4, 0.5])]
    assert plain(scores_of(store.shadows, "fan-1", "1", in_use="2")) == [(0.0, [5.0, 5.0]), (59.0, [5.0])]


def test_alarms_that_were_right_are_left_out_with_the_minute_before() -> None:
    series = SecondSeries(np.arange(NOON, NOON + 200), np.full(200, 0.5, np.float32), np.ones(200, np.uint8))
    found = segmented([series], without=[Span(NOON + 100.0, NOON + 120.0)])
    assert [(s.start_s - NOON, len(s.scores)) for s in found.segments] == [(0.0, 40), (121.0, 79)]
    found = segmented([series], without=[Span(NOON + 100.0, math.inf)])
    assert [(s.start_s - NOON, len(s.scores)) for s in found.segments] == [(0.0, 40)]


@pytest.mark.parametrize(
    ("changes", "version", "in_use", "expected"),
    [
        ([], "1", "1", [(0.0, math.inf)]),
        ([], "1", None, []),
        ([], "2", "1", []),
        ([(10, "1", "2")], "1", "2", [(0.0, 10.0)]),
        ([(10, "1", "2")], "2", "2", [(10.0, math.inf)]),
        ([(10, "1", "2"), (20, "2", "1")], "1", "1", [(0.0, 10.0), (20.0, math.inf)]),
        ([(10, "1", "2"), (20, "2", "1")], "2", "1", [(10.0, 20.0)]),
        ([(10, "1", "2"), (20, "3", "4")], "2", "4", []),  # changed without the trail: nobody knows when
        ([(10, "1", "2"), (20, "3", "4")], "4", "5", []),
    ],
)
def test_the_audit_trail_says_when_a_version_was_in_use(
    changes: list[tuple[float, str, str]], version: str, in_use: str | None, expected: list[tuple[float, float]]
) -> None:
    found = spans_in_use([VersionChange(*change) for change in changes], version, in_use=in_use)
    assert found == [Span(*span) for span in expected]


def test_tables_that_are_missing_are_added_to_an_older_database(tmp_path: Path) -> None:
    first = StateStore(tmp_path)
    first.add_seconds(seconds(NOON, [0.1]))
    with first._database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE shadows")
        connection.exec_driver_sql("DROP TABLE shadow_seconds")
    first.close()
    again = StateStore(tmp_path)
    again.shadows.write(KeptShadow("fan-1", "{}", "{}"), "2", seconds(NOON, [0.1]))
    assert [kept.machine_id for kept in again.shadows.all()] == ["fan-1"]
    assert len(again.history("fan-1", NOON, NOON + 10, "second")) == 1
    again.prune(NOON + 31 * 86_400)
    assert len(again.shadows.seconds_beside("fan-1", "2")) == 0
    again.shadows.remove("fan-1")
    assert again.shadows.all() == []
    again.close()
