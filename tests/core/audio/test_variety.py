from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.variety import BANDS, band_levels, most_alike

HOUR = 3_600.0


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_the_level_of_a_tone_is_in_its_band(rate_hz: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(5 * rate_hz) / rate_hz)
    levels = band_levels(tone.astype(np.float32), rate_hz)
    assert levels.shape == (BANDS,) and np.isfinite(levels).all()
    edges = np.geomspace(50, 7_600, BANDS + 1)
    assert levels.argmax() == np.searchsorted(edges, 1_000) - 1
    assert levels.max() == pytest.approx(10 * np.log10(0.125), abs=0.3)  # mean square of the tone
    as_integers = band_levels((tone * 32_767).astype(np.int16), rate_hz)
    assert as_integers[levels.argmax()] == pytest.approx(levels.max(), abs=0.01)


def test_the_sound_goes_that_repeats_another_and_conditions_stay() -> None:
    """Two hundred sounds of one condition and three of a rare one: twenty places hold all three."""
    rng = np.random.default_rng(0)
    levels = rng.normal(-40, 0.2, (203, BANDS))
    levels[[50, 90, 150]] += np.linspace(0, 8, BANDS)
    times = np.arange(203) * 600.0
    rare = set(times[[50, 90, 150]])
    while len(levels) > 20:
        gone = most_alike(levels, times)
        levels, times = np.delete(levels, gone, 0), np.delete(times, gone)
    assert rare <= set(times)
    hours = times % (24 * HOUR) / HOUR
    assert len(set((hours // 3).astype(int))) == 8  # every three hours of the clock have one


def test_of_two_alike_the_one_goes_that_has_another_neighbour() -> None:
    levels = np.array([0.0, 0.1, 0.25, 5.0])[:, None] * np.ones(BANDS)
    assert most_alike(levels, np.zeros(4)) == 1
    assert most_alike(levels[:2], np.zeros(2)) == 0
