import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from humwatch_training.evaluation.intervals import Areas, areas, estimate


def measured(normal: list[float], anomalous: list[float], draws: int = 200, seed: int = 0) -> Areas:
    return areas(np.array(normal), np.array(anomalous), draws=draws, rng=np.random.default_rng(seed))


def test_a_hand_example() -> None:
    # Of six pairs, the anomalous clip is higher in four and equal in one: 4.5 / 6.
    assert measured([1.0, 2.0, 4.0], [2.0, 5.0]).auc == pytest.approx(4.5 / 6)


def test_the_partial_area_of_a_hand_example() -> None:
    # 10 normal clips: up to a false alarm rate of 0.1 only the highest counts, and half of the anomalous are above it.
    found = measured([float(i) for i in range(10)], [9.5, 8.5])
    assert found.pauc == pytest.approx(0.5 * (1 + (0.05 - 0.005) / (0.1 - 0.005)))


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_areas_are_those_of_scikit_learn_with_ties_or_without(levels: int) -> None:
    rng = np.random.default_rng(levels)
    normal, anomalous = rng.integers(0, levels, 37) / levels, rng.integers(levels // 3, levels + 1, 53) / levels
    labels, scores = np.repeat([0, 1], [37, 53]), np.concatenate([normal, anomalous])
    found = measured(normal.tolist(), anomalous.tolist())
    assert found.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.pauc == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1), abs=1e-12)


def test_a_draw_is_the_area_of_the_clips_drawn() -> None:
    rng = np.random.default_rng(3)
    normal, anomalous = rng.normal(0, 1, 20), rng.normal(1, 1, 30)
    counts = np.random.default_rng(7)
    drawn = [
        np.repeat(part, counts.multinomial(len(part), [1 / len(part)] * len(part))) for part in (normal, anomalous)
    ]
    labels = np.repeat([0, 1], [20, 30])
    found = areas(normal, anomalous, draws=1, rng=np.random.default_rng(7))
    assert found.auc_draws[0] == pytest.approx(roc_auc_score(labels, np.concatenate(drawn)), abs=1e-12)
    assert found.pauc_draws[0] == pytest.approx(roc_auc_score(labels, np.concatenate(drawn), max_fpr=0.1), abs=1e-12)


def test_the_interval_holds_the_estimate_and_narrows_with_clips() -> None:
    rng = np.random.default_rng(0)

    def width(clips: int) -> float:
        found = areas(rng.normal(0, 1, clips), rng.normal(1, 1, clips), draws=500, rng=rng)
        interval = estimate([found.auc], [found.auc_draws])
        assert interval.low < interval.value < interval.high
        return interval.high - interval.low

    assert width(400) < 0.5 * width(40)


def test_the_mean_of_machines_varies_less_than_each() -> None:
    rng = np.random.default_rng(1)
    found = [areas(rng.normal(0, 1, 50), rng.normal(1, 1, 50), draws=500, rng=rng) for _ in range(4)]
    each = [estimate([one.auc], [one.auc_draws]) for one in found]
    mean = estimate([one.auc for one in found], [one.auc_draws for one in found])
    assert mean.value == pytest.approx(np.mean([one.auc for one in found]))
    assert mean.high - mean.low < 0.75 * min(one.high - one.low for one in each)


def test_perfect_scores_are_certain() -> None:
    found = measured([0.0, 1.0], [2.0, 3.0, 4.0])
    assert (found.auc, found.pauc) == (1.0, 1.0)
    assert estimate([found.auc], [found.auc_draws]).low == 1.0


def test_one_seed_gives_one_interval() -> None:
    first, again = (measured([1.0, 3.0, 2.0], [2.5, 4.0], seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.auc_draws, again.auc_draws)
