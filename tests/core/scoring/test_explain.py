from __future__ import annotations

import numpy as np

from humwatch.audio.features import FeatureSpec
from humwatch.scoring.explain import explain_bands

EDGES = FeatureSpec().band_edges_hz


def test_neighbouring_bands_become_one_range_in_hz() -> None:
    contributions = np.zeros(128)
    contributions[[10, 11, 13]] = [3.0, 2.0, 1.0]
    contributions[60] = 2.0
    contributions[90:110] = 0.05
    departures = np.where(np.arange(128) < 50, 4.0, -2.0)
    first, second = explain_bands(contributions, departures, EDGES)
    assert (first.low_hz, first.high_hz) == (round(EDGES[10, 0], 1), round(EDGES[11, 1], 1))
    assert first.contribution == round(5 / 9, 4)
    assert (first.departure_db, second.departure_db) == (4.0, -2.0)
    assert (second.low_hz, second.high_hz) == (round(EDGES[60, 0], 1), round(EDGES[60, 1], 1))


def test_one_band_between_two_is_bridged() -> None:
    contributions = np.zeros(128)
    contributions[[20, 22]] = 1.0
    contributions[21] = 0.1
    (found,) = explain_bands(contributions, np.where(np.arange(128) == 21, np.nan, 2.0), EDGES)
    assert (found.low_hz, found.high_hz) == (round(EDGES[20, 0], 1), round(EDGES[22, 1], 1))
    assert found.contribution == 1.0
    assert found.departure_db == 2.0


def test_no_excess_is_explained_by_nothing() -> None:
    assert explain_bands(np.zeros(128), np.zeros(128), EDGES) == []


def test_there_are_at_most_five_ranges_and_the_largest_is_first(rng: np.random.Generator) -> None:
    found = explain_bands(rng.exponential(1.0, 128), np.zeros(128), EDGES)
    assert len(found) == 5
    assert [entry.contribution for entry in found] == sorted((entry.contribution for entry in found), reverse=True)
