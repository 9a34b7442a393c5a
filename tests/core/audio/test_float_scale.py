from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.float_scale import KNOWN_DBFS, FloatLevel


def level_of(sound: np.ndarray) -> FloatLevel:
    found = FloatLevel()
    for piece in np.array_split(sound.astype(np.float32), 3):
        found.push(piece)
    return found


@pytest.mark.parametrize("level_dbfs", [KNOWN_DBFS[0] + 1, -40.0, -20.0])
def test_floats_at_usual_levels_are_taken_as_they_are(rng: np.random.Generator, level_dbfs: float) -> None:
    assert level_of(rng.normal(0.0, 10 ** (level_dbfs / 20), 8_000)).scale == 1.0


@pytest.mark.parametrize("unit", [1e-9, 3e-5, 2.0, 8.0, 1e3, 32_768.0])
def test_others_are_brought_to_30_db_below_full_scale_by_a_power_of_two(rng: np.random.Generator, unit: float) -> None:
    found = level_of(rng.normal(0.3 * unit, 0.3 * unit, 8_000))
    assert found.level_dbfs + 20 * np.log10(found.scale) == pytest.approx(-30.0, abs=3.02)
    assert np.log2(found.scale) % 1.0 == 0.0


def test_levels_of_several_recordings_add_up(rng: np.random.Generator) -> None:
    sound = rng.normal(0.0, 4.0, 9_000)
    both = level_of(sound[:4_000]) + level_of(sound[4_000:])
    assert both.level_dbfs == pytest.approx(level_of(sound).level_dbfs)
    assert both.scale == level_of(sound).scale


def test_what_does_not_move_has_no_scale() -> None:
    assert level_of(np.full(100, 7.0)).is_silent
    assert level_of(np.full(100, 7.0)).scale == 1.0
