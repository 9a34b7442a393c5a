"""Who is let in, and who has to go: with clocks of its own, no processor is measured."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from humwatch_service.errors import Overloaded
from humwatch_service.live.load import INTERPRETER_CORES, LOOK_BACK_S, OVERHEAD_S, RETRY_S, Load


@dataclass
class Clocks:
    now_s: float = 100.0
    loop_s: float = 7.0

    def load(self, *, processors: float = 2, budget_s: float = 1.0, max_load: float = 0.85) -> Load:
        return Load(processors=processors, budget_s=budget_s, max_load=max_load, clock=lambda: self.now_s)


def pass_time(clocks: Clocks, load: Load, *, cores: float, predicting: float = 0.0, seconds: int = 6) -> None:
    """Let seconds pass in which so many processors are busy, ``predicting`` of them with predictions."""
    for _ in range(seconds):
        clocks.now_s += 1.0
        clocks.loop_s += 0.25 * cores
        load.on_cpu_time(0.75 * cores)
        load.on_predict_time(predicting)
        load.streams_to_shed(0, clocks.loop_s)


def test_an_idle_service_takes_a_stream() -> None:
    assert Clocks().load().refusal(0.01, live=0) is None


def test_the_first_stream_is_taken_whatever_it_costs() -> None:
    assert Clocks().load().refusal(50.0, live=0) is None


def test_busy_processors_take_no_more() -> None:
    clocks = Clocks()
    load = clocks.load()
    pass_time(clocks, load, cores=1.6, predicting=1.2)
    assert load.busy.cores == pytest.approx(1.6)
    assert load.share("cores") == pytest.approx(1.6 / 1.7)
    assert load.refusal(0.01, live=100) is None  # 1.6 and 0.016 of 1.7
    pass_time(clocks, load, cores=1.69, predicting=1.2)
    refusal = load.refusal(0.01, live=100)
    assert isinstance(refusal, Overloaded)
    assert RETRY_S[0] <= refusal.retry_after_s <= RETRY_S[1]
    assert "no time for another stream beside 100" in str(refusal)


def test_those_who_are_sent_away_do_not_all_come_again_at_one_moment() -> None:
    load = Clocks().load()
    load.on_score(9.0)
    told = [load.refusal(0.0, live=10) for _ in range(100)]
    assert len({refusal.retry_after_s for refusal in told if refusal is not None}) > 5


def test_pythons_one_processor_can_be_full_while_others_are_free() -> None:
    clocks = Clocks()
    load = clocks.load(processors=64)
    limit = 0.85 * INTERPRETER_CORES
    pass_time(clocks, load, cores=0.999 * limit, predicting=0.0)
    assert load.share("cores") < 0.02
    assert load.share("interpreter") == pytest.approx(0.999)
    assert load.refusal(0.0, live=100) is not None


def test_newcomers_count_before_they_are_measured_and_no_longer_than_that() -> None:
    clocks = Clocks()
    load = clocks.load()
    pass_time(clocks, load, cores=0.0)
    taken = 0
    while load.refusal(0.1, live=taken) is None:
        load.on_admission(0.1, taken)
        taken += 1
        assert taken < 100
    assert taken == int(1.7 / (0.1 + OVERHEAD_S))  # by what is expected of each
    clocks.now_s += LOOK_BACK_S
    assert load.refusal(0.1, live=taken) is None  # they turned out to take nothing


def test_another_stream_is_expected_to_take_what_the_others_take() -> None:
    clocks = Clocks()
    load = clocks.load()
    pass_time(clocks, load, cores=1.5, predicting=1.0)
    assert load.refusal(0.001, live=5) is not None  # 0.3 each
    assert load.refusal(0.001, live=50) is None  # 0.03 each


def test_late_scores_close_the_door_at_half_the_budget() -> None:
    clocks = Clocks()
    load = clocks.load(budget_s=1.0)
    for latency_s in [0.1] * 80 + [0.49] * 20:
        load.on_score(latency_s)
    assert load.lateness_s == pytest.approx(0.49)
    assert load.refusal(0.0, live=10) is None
    for _ in range(6):
        load.on_score(0.51)
    assert load.lateness_s == pytest.approx(0.51)
    assert "come 0.51 s late" in str(load.refusal(0.0, live=10))


def test_one_late_score_among_many_closes_nothing() -> None:
    load = Clocks().load()
    for latency_s in [0.1] * 99 + [9.0]:
        load.on_score(latency_s)
    assert load.lateness_s == pytest.approx(0.1)


def test_a_late_event_loop_counts_as_well() -> None:
    load = Clocks().load()
    for _ in range(50):
        load.on_score(0.2)
        load.on_loop_lag(0.4)
    assert load.lateness_s == pytest.approx(0.6)
    assert load.refusal(0.0, live=10) is not None


def test_the_door_opens_again_when_scores_are_in_time() -> None:
    clocks = Clocks()
    load = clocks.load()
    load.on_score(3.0)
    assert load.refusal(0.0, live=10) is not None
    clocks.now_s += LOOK_BACK_S + 0.1
    load.on_score(0.1)
    assert load.refusal(0.0, live=10) is None


def test_over_the_budget_the_newest_twentieth_has_to_go_and_then_it_is_seen_what_that_helped() -> None:
    clocks = Clocks()
    load = clocks.load(budget_s=1.0)
    load.on_score(1.0)
    assert load.streams_to_shed(100, 0.0) == 0  # not over it
    load.on_score(1.5)
    assert load.streams_to_shed(100, 0.0) == 5
    clocks.now_s += 1.0
    load.on_score(1.5)
    assert load.streams_to_shed(95, 0.0) == 0
    clocks.now_s += LOOK_BACK_S
    load.on_score(1.5)
    assert load.streams_to_shed(95, 0.0) == 4


@pytest.mark.parametrize(("live", "go"), [(0, 0), (1, 0), (2, 1), (19, 1), (40, 2)])
def test_one_has_to_go_at_least_and_one_stays(live: int, go: int) -> None:
    load = Clocks().load()
    load.on_score(5.0)
    assert load.streams_to_shed(live, 0.0) == go


def test_nothing_is_known_at_the_start() -> None:
    load = Clocks().load()
    assert (load.lateness_s, load.busy.cores, load.busy.interpreter) == (0.0, 0.0, 0.0)


def test_a_fraction_of_a_processor_is_what_there_is_for_python_too() -> None:
    clocks = Clocks()
    load = clocks.load(processors=0.5, max_load=0.8)
    pass_time(clocks, load, cores=0.3, predicting=0.2)
    assert load.share("cores") == pytest.approx(0.3 / 0.4)
    assert load.share("interpreter") == pytest.approx(0.1 / 0.4)
    assert load.refusal(0.2, live=5) is not None


def test_what_is_held_back_by_a_quota_is_full_however_little_it_gets_done() -> None:
    clocks = Clocks()
    load = clocks.load(processors=0.5, max_load=0.75)
    throttled_s = [0.0, 7.0]  # its own quota, and one that was used up long ago
    shares = []
    for second in range(30):
        clocks.now_s += 1.0
        clocks.loop_s += 0.01
        load.on_cpu_time(0.3 if second < 10 else 0.1)  # of what it is late with, less and less counts as in time
        throttled_s[0] += 0.0 if second < 10 else 0.9
        load.streams_to_shed(0, clocks.loop_s, tuple(throttled_s))
        shares.append(load.share("cores"))
    assert shares[9] == pytest.approx(0.31 / 0.375)
    assert shares[-1] == pytest.approx(0.9 / 0.75)
    assert all(share >= shares[9] * 0.7 for share in shares[9:])  # it never falls on the way
    assert load.throttled == pytest.approx(0.9)
    assert load.refusal(0.001, live=3) is not None


def test_a_quota_that_short_bursts_use_up_leaves_what_is_left() -> None:
    clocks = Clocks()
    load = clocks.load(processors=0.5, max_load=0.8)
    for second in range(10):
        clocks.now_s += 1.0
        load.on_cpu_time(0.06)  # in one period of 100 ms
        load.streams_to_shed(0, clocks.loop_s, (0.1 * second,))
    assert load.share("cores") == pytest.approx(0.06 / 0.4)
    assert load.refusal(0.05, live=5) is None
