from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from humwatch.detectors.normal_level import DEGREES, NormalLevel, alarm_deviation, expected_rate


def test_centre_and_spread_are_those_of_many_scores(rng: np.random.Generator) -> None:
    values = 3.0 + 0.5 * rng.standard_t(DEGREES, 20_000)
    level = NormalLevel.fit(values, recordings=20_000, usual_spread=0.5)
    assert level.center == pytest.approx(3.0, abs=0.02)
    assert level.spread == pytest.approx(0.5, rel=0.03)
    assert level.deviation(4.0) == pytest.approx(2.0, rel=0.05)


def test_the_level_is_scipys_quantile() -> None:
    level = NormalLevel(center=0.0, spread=1.0, degrees=4.0)
    assert level.alarm_deviation(0.01) == pytest.approx(scipy.stats.t.isf(0.01, 4.0))


def test_few_scores_that_agree_by_chance_are_pulled_to_the_usual_spread() -> None:
    level = NormalLevel.fit(np.array([1.0, 1.0, 1.0]), recordings=3, usual_spread=0.3)
    assert level.spread == pytest.approx(np.sqrt(4 * 0.3**2 / 6))


def test_an_odd_normal_clip_hardly_widens_the_level(rng: np.random.Generator) -> None:
    values = rng.normal(size=100)
    spread = NormalLevel.fit(values, recordings=100, usual_spread=1.0).spread
    odd = NormalLevel.fit(np.append(values, 30.0), recordings=101, usual_spread=1.0).spread
    assert odd < 1.1 * spread


def test_clips_of_one_recording_count_as_one(rng: np.random.Generator) -> None:
    values = 0.1 * rng.normal(size=8)
    alone = NormalLevel.fit(values, recordings=8, usual_spread=1.0)
    channels = NormalLevel.fit(np.repeat(values, 8), recordings=8, usual_spread=1.0)
    assert channels.spread == pytest.approx(alone.spread, rel=1e-6)


@pytest.mark.parametrize("recordings", [8, 20, 60, 150])
def test_the_interval_of_the_rate_holds_it_in_nine_of_ten_calibrations(recordings: int) -> None:
    """Over normal scores with light, usual, heavy and lopsided tails, as machines may have them."""
    rng = np.random.default_rng(recordings)
    inside = []
    for name in ("norm", "t5", "t3", "gumbel_r"):
        law = scipy.stats.t(int(name[1:])) if name[0] == "t" else getattr(scipy.stats, name)()
        for _ in range(100):
            values = law.rvs(recordings, random_state=rng)
            level = NormalLevel.fit(values, recordings=recordings, usual_spread=0.8)
            alarm = level.center + alarm_deviation(0.01, DEGREES) * level.spread
            rate = expected_rate(0.01, recordings, float((values >= alarm).sum()))
            inside.append(rate.low <= law.sf(alarm) <= rate.high)
    assert 0.8 <= np.mean(inside) <= 0.95


def test_exceedances_raise_the_expected_rate() -> None:
    none, two = expected_rate(0.01, 40, 0.0), expected_rate(0.01, 40, 2.0)
    assert none.low == 0.0
    assert none.expected < 0.01 < two.expected
    assert two.high > none.high
