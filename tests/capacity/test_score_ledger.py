from __future__ import annotations

import math
from pathlib import Path

import pytest

from humwatch.bundle.repository import ModelRepository
from humwatch_capacity.score_ledger import Latencies, ScoreLedger, StepGrid, Tally, percentile

RATE_HZ = 1_000
GRID = StepGrid(first_end=1_050, step_samples=1_000)
EPOCH_S = 50.0


def ledger() -> tuple[ScoreLedger, Tally]:
    tally = Tally()
    return ScoreLedger(GRID, tally, rate_hz=RATE_HZ, chunk_samples=100), tally


def everything(tally: Tally) -> Latencies:
    return tally.between(-math.inf, math.inf)


def test_a_score_is_due_with_the_chunk_that_holds_its_last_sample() -> None:
    scores, _ = ledger()
    scores.begin(0, EPOCH_S)
    due = [scores.due_s(sample) for sample in (1_000, 1_001, 1_050, 1_100, 1_101)]
    assert due == pytest.approx([51.0, 51.1, 51.1, 51.1, 51.2])


def test_latency_is_counted_from_when_the_chunk_was_due() -> None:
    scores, tally = ledger()
    scores.begin(0, EPOCH_S)
    for number, latency_s in enumerate((0.25, 0.5, 0.125)):
        end = 1_050 + 1_000 * number
        scores.came(end, scores.due_s(end) + latency_s)
    found = everything(tally)
    assert (found.scores, found.lost) == (3, 0)
    assert (found.p50_s, found.p99_s, found.max_s) == pytest.approx((0.25, 0.5, 0.5))


def test_scores_that_are_passed_over_are_lost() -> None:
    scores, tally = ledger()
    scores.begin(0, EPOCH_S)
    scores.came(1_050, 52.0)
    scores.came(4_050, 55.0)
    assert (everything(tally).scores, everything(tally).lost) == (2, 2)
    assert tally.between(52.0, 53.0).lost == 1


def test_scores_that_do_not_come_are_lost_when_they_are_given_up() -> None:
    scores, tally = ledger()
    scores.give_up(1e9)
    assert everything(tally).lost == 0
    assert scores.next_due_s == math.inf
    scores.begin(0, EPOCH_S)
    scores.give_up(53.0)
    assert (everything(tally).scores, everything(tally).lost) == (0, 2)
    assert scores.next_due_s == pytest.approx(53.1)
    assert everything(tally).p50_s is None


def test_a_score_that_is_repeated_or_that_a_flush_squeezes_in_counts_once() -> None:
    scores, tally = ledger()
    scores.begin(0, EPOCH_S)
    for end in (1_050, 2_050, 1_050, 2_050, 2_900, 3_050):
        scores.came(end, 60.0)
    assert (everything(tally).scores, everything(tally).lost) == (3, 0)


def test_what_a_service_that_forgot_the_stream_never_scored_is_lost() -> None:
    scores, tally = ledger()
    scores.begin(0, EPOCH_S)
    scores.came(1_050, 52.0)
    scores.begin(3_500, EPOCH_S)
    scores.came(4_550, 55.0)
    assert (everything(tally).scores, everything(tally).lost) == (2, 2)


def test_a_tally_looks_at_a_time_and_forgets() -> None:
    tally = Tally()
    for due_s in (1.0, 2.0, 3.0):
        tally.came(due_s, due_s + due_s / 10)
    assert tally.between(1.0, 3.0).max_s == pytest.approx(0.2)
    tally.forget(3.0)
    assert everything(tally).scores == 1


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 102)], 0.99, 100.0),
        ([*[1.0] * 99, math.inf], 0.99, 1.0),
        ([*[1.0] * 98, math.inf, math.inf], 0.99, None),
    ],
)
def test_percentiles_are_by_nearest_rank_and_unknown_where_scores_are_lost(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected


def test_the_grid_of_a_model_is_where_it_says_that_scores_end(shared_models: Path) -> None:
    grid = StepGrid.of(ModelRepository(shared_models).manifest("fan-1"))
    # 31 windows a second, one frame of 512 samples apart, of 5 frames of 1024
    assert (grid.first_end, grid.step_samples) == ((31 - 1 + 5 - 1) * 512 + 1_024, 31 * 512)
