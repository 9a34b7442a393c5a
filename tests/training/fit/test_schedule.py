import pytest

from humwatch_training.fit.schedule import learning_rate, scheduled_rate, warmup_steps


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 1), (3000, 400), (15_000, 2000), (29_999, 4000), (30_000, 4000), (100_000, 4000)]
)
def test_warmup_is_shortened_in_proportion(steps: int, warmup: int):
    assert warmup_steps(steps) == warmup


def test_the_rate_rises_linearly_and_falls_with_the_root():
    rates = [learning_rate(step, peak=1e-3, warmup=4000) for step in (1, 2000, 4000, 16_000)]
    assert rates == pytest.approx([2.5e-7, 5e-4, 1e-3, 5e-4])


def test_a_constant_rate_is_the_peak_from_the_first_step():
    rates = [scheduled_rate("constant", step, peak=1e-3, warmup=None, steps=100) for step in (1, 50, 100)]
    assert rates == [1e-3] * 3
    assert scheduled_rate("constant", 5, peak=1e-3, warmup=10, steps=100) == 5e-4


def test_a_cosine_falls_over_the_budget_to_its_floor():
    rates = [scheduled_rate("cosine", step, peak=1e-3, warmup=10, steps=1000) for step in (5, 10, 500, 1000, 1200)]
    assert rates == pytest.approx([5e-4, 1e-3, 5e-4, 2e-5, 2e-5], rel=1e-3)


def test_the_inverse_root_is_the_papers_with_its_own_warm_up():
    rate = scheduled_rate("inverse_sqrt", 16_000, peak=1e-3, warmup=None, steps=30_000)
    assert rate == learning_rate(16_000, peak=1e-3, warmup=4000)
