import pytest

from humwatch_training.schedule import learning_rate, warmup_steps


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 1), (3000, 400), (15_000, 2000), (29_999, 4000), (30_000, 4000), (100_000, 4000)]
)
def test_warmup_is_shortened_in_proportion(steps: int, warmup: int):
    assert warmup_steps(steps) == warmup


def test_the_rate_rises_linearly_and_falls_with_the_root():
    rates = [learning_rate(step, peak=1e-3, warmup=4000) for step in (1, 2000, 4000, 16_000)]
    assert rates == pytest.approx([2.5e-7, 5e-4, 1e-3, 5e-4])
