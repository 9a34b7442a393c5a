from __future__ import annotations

import random

from humwatch_service.backoff import Backoff


def test_waits_double_up_to_the_cap_and_start_anew_after_a_success() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0.0
            return b

    backoff = Backoff(chance=Highest())
    assert [backoff.next_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_waits_are_spread_over_all_of_their_range() -> None:
    waits = []
    for seed in range(300):
        backoff = Backoff(chance=random.Random(seed))
        waits.append([backoff.next_s() for _ in range(3)][-1])
    assert 0 <= min(waits) < 0.1
    assert 1.9 < max(waits) <= 2.0


def test_the_service_is_never_asked_earlier_than_it_wants_within_reason() -> None:
    backoff = Backoff()
    assert 20.0 <= backoff.next_s(20.0) <= 20.5
    assert backoff.next_s(1e9) <= 601.0


def test_years_of_failures_do_not_overflow() -> None:
    backoff = Backoff()
    assert all(backoff.next_s() <= 30 for _ in range(20_000))
