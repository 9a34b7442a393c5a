from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.levels import SecondLevels

RATE_HZ = 8_000


def levels_of(samples: np.ndarray, chunks: list[int]) -> list[float]:
    levels = SecondLevels(RATE_HZ)
    found, start = [], 0
    for size in chunks:
        found += levels.push(samples[start : start + size].astype(np.float32))
        start += size
    return found + levels.push(samples[start:].astype(np.float32))


def test_each_finished_second_has_its_level_without_its_mean(rng: np.random.Generator) -> None:
    tone = np.sin(2 * np.pi * 50.0 * np.arange(RATE_HZ) / RATE_HZ)
    sound = np.concatenate([tone, 0.1 * tone + 0.3, np.zeros(RATE_HZ), tone[:4000]])
    assert levels_of(sound, []) == pytest.approx([-3.01, -23.01, -200.0], abs=0.01)


@pytest.mark.parametrize("chunk", [1, 7, 799, 800, 8_000, 8_001])
def test_every_chunking_gives_the_same_levels(rng: np.random.Generator, chunk: int) -> None:
    sound = rng.normal(0.0, 0.05, 20_000)
    whole = levels_of(sound, [])
    assert len(whole) == 2
    assert levels_of(sound, [chunk] * (len(sound) // chunk)) == whole


def test_what_is_left_is_a_shorter_second_and_then_forgotten(rng: np.random.Generator) -> None:
    levels = SecondLevels(RATE_HZ)
    levels.push(np.tile(np.float32([0.1, -0.1]), 2_000))
    assert levels.flush() == pytest.approx([-20.0], abs=1e-5)
    assert levels.flush() == []


def test_reset_forgets_the_second_that_is_not_finished() -> None:
    levels = SecondLevels(RATE_HZ)
    levels.push(np.ones(RATE_HZ - 1, np.float32))
    levels.reset()
    assert levels.push(np.zeros(RATE_HZ, np.float32)) == [-200.0]


def test_it_tells_how_many_samples_a_second_still_wants() -> None:
    levels = SecondLevels(RATE_HZ)
    assert levels.samples_left == RATE_HZ
    levels.push(np.zeros(RATE_HZ + 1, np.float32))
    assert levels.samples_left == RATE_HZ - 1
    assert levels.push(np.zeros(RATE_HZ - 2, np.float32)) == []
    assert levels.samples_left == 1
    assert levels.push(np.zeros(1, np.float32)) == [-200.0]
    assert levels.samples_left == RATE_HZ
