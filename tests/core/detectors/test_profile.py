from __future__ import annotations

import numpy as np
import pytest

from humwatch.detectors.profile import NormalProfile, shrunk_covariance
from humwatch.errors import CalibrationError


@pytest.mark.parametrize(("n", "d"), [(1_000, 200), (250, 125), (125, 125)])
def test_shrinkage_comes_nearer_to_the_truth_than_linear_shrinkage_can(
    rng: np.random.Generator, n: int, d: int
) -> None:
    truth = np.repeat([1.0, 3.0, 10.0], [d // 5, 2 * d // 5, d - 3 * (d // 5)])  # the paper's own example
    samples = rng.normal(size=(n, d)) * np.sqrt(truth)
    sample = samples.T @ samples / n
    blend = np.linspace(0, 1, 201)[:, None, None]
    linear = (1 - blend) * sample + blend * truth.mean() * np.eye(d)
    best_linear = np.linalg.norm(linear - np.diag(truth), axis=(1, 2)).min()
    assert np.linalg.norm(shrunk_covariance(sample, n) - np.diag(truth)) < best_linear


def test_shrinkage_needs_no_more_directions_than_data(rng: np.random.Generator) -> None:
    for n in (2, 5, 60, 124, 125, 126):
        samples = rng.normal(size=(n, 125))
        values = np.linalg.eigvalsh(shrunk_covariance(samples.T @ samples / n, n))
        assert 0.01 < values.min() <= values.max() < 30.0, n


def test_distance_is_mahalanobis_in_units_of_a_normal_profile(rng: np.random.Generator) -> None:
    mixing = rng.normal(size=(6, 6))
    samples = rng.normal(size=(20_000, 6)) @ mixing + 5.0
    normal = NormalProfile.fit(samples)
    point = samples[0] + 3.0
    difference = point - samples.mean(axis=0)
    expected = np.sqrt(difference @ np.linalg.inv(np.cov(samples.T)) @ difference / 6)
    assert normal.distance(point) == pytest.approx(expected, rel=0.01)
    assert np.mean([normal.distance(sample) ** 2 for sample in samples[:2000]]) == pytest.approx(1.0, rel=0.05)


def test_contributions_sum_to_the_squared_distance_and_point_at_the_band(rng: np.random.Generator) -> None:
    normal = NormalProfile.fit(rng.normal(size=(400, 30)))
    profile = normal.mean.copy()
    profile[17] += 8.0
    shares = normal.contributions(profile)
    assert shares.sum() == pytest.approx(normal.distance(profile) ** 2)
    assert shares.min() >= 0
    assert np.argmax(shares) == 17
    assert shares[17] > 0.8 * shares.sum()


def test_a_band_that_was_not_observed_counts_as_normal(rng: np.random.Generator) -> None:
    normal = NormalProfile.fit(rng.normal(size=(400, 30)))
    profile = normal.mean.copy()
    profile[3] = np.nan
    assert normal.distance(profile) == 0.0


def test_a_band_that_never_moves_does_not_blow_up(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(50, 4))
    samples[:, 2] = -100.0
    normal = NormalProfile.fit(samples)
    assert np.isfinite(normal.distance(samples[0]))
    assert normal.distance(samples[0]) < 3.0


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(CalibrationError, match="two at least"):
        NormalProfile.fit(np.zeros((1, 4)))
    with pytest.raises(CalibrationError, match="never observed"):
        NormalProfile.fit(np.array([[1.0, np.nan], [1.0, 2.0]]))


def test_a_prior_lends_its_spread_and_not_its_place(rng: np.random.Generator) -> None:
    mixing = rng.normal(size=(30, 30)) / 5.0
    type_clips, own_clips, unseen = (
        rng.normal(size=(n, 30)) @ mixing + at for n, at in ((400, 0.0), (5, 9.0), (400, 9.0))
    )
    prior = NormalProfile.fit(type_clips)
    alone, helped = NormalProfile.fit(own_clips), NormalProfile.fit(own_clips, prior)
    np.testing.assert_allclose(helped.mean, own_clips.mean(axis=0))
    assert helped.freedom == 403
    typical = [np.median([normal.distance(clip) for clip in unseen]) for normal in (alone, helped)]
    assert typical[0] > 1.25
    assert typical[1] == pytest.approx(1.1, abs=0.15)


def test_a_prior_of_the_same_spread_changes_nothing(rng: np.random.Generator) -> None:
    normal = NormalProfile.fit(rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12)))
    np.testing.assert_allclose(NormalProfile.pooled([normal]).whitening, normal.whitening, atol=1e-9)
    pooled = NormalProfile.pooled([normal, normal])
    np.testing.assert_allclose(pooled.covariance, normal.covariance, rtol=1e-9)
    assert pooled.freedom == 398


def test_own_clips_outweigh_the_prior_as_they_become_many(rng: np.random.Generator) -> None:
    prior = NormalProfile.fit(rng.normal(size=(50, 4)))
    samples = rng.normal(size=(5_000, 4)) * 3.0
    helped = NormalProfile.fit(samples, prior)
    np.testing.assert_allclose(helped.covariance, (5_000 * np.cov(samples.T) + 50 * np.eye(4)) / 5_050, atol=0.3)
