from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.quality import SoundCheck, StretchFinder, dbfs

RATE_HZ = 16_000


class SampleBySample:
    """Lengths of the stretches of one value, counted sample by sample: the rule that `StretchFinder` follows faster."""

    def __init__(self) -> None:
        self._value, self._length = np.nan, 0

    def push(self, samples: np.ndarray) -> list[tuple[float, int]]:
        """Take samples; return value and length so far of each stretch that some of them are part of."""
        found: list[tuple[float, int]] = []
        for sample in samples.tolist():
            if sample == self._value:
                self._length += 1
                del found[-1:]
            else:
                self._value, self._length = sample, 1
            found.append((self._value, self._length))
        return found


def check(samples: np.ndarray, chunk: int = 1000) -> SoundCheck:
    found = SoundCheck(RATE_HZ)
    for start in range(0, len(samples), chunk):
        found.push(samples[start : start + chunk].astype(np.float32))
    return found


def codes(samples: np.ndarray) -> list[str]:
    return [warning.code for warning in check(samples).warnings()]


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.0, 0.05, 3 * RATE_HZ)


def test_ordinary_sound_has_no_warnings(noise: np.ndarray) -> None:
    assert codes(noise) == []


def test_level_is_that_of_the_sound_without_its_mean(noise: np.ndarray) -> None:
    assert check(noise + 0.05).level_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.1)
    assert dbfs(0.0) == -200.0
    assert SoundCheck(RATE_HZ).level_dbfs == -200.0


def test_digital_silence_and_rounding_noise_are_silent(rng: np.random.Generator) -> None:
    assert codes(np.zeros(RATE_HZ)) == ["silent"]
    assert codes(np.round(rng.normal(0, 0.4, RATE_HZ)) / 32_768) == ["silent"]


def test_a_value_that_stays_is_stuck_even_across_chunks(noise: np.ndarray) -> None:
    noise[10_000 : 10_000 + RATE_HZ // 2] = 0.0123
    for chunk in (1, 7, 777, 16_000, 100_000):
        found = check(noise, chunk) if chunk > 1 else check(noise[8_000:20_000], chunk)
        assert [warning.code for warning in found.warnings()] == ["stuck"]
    assert codes(np.concatenate([noise[:9000], np.full(7_000, 0.2)])) == []


def test_clipping_is_counted(noise: np.ndarray) -> None:
    noise[::1000] = 1.0
    assert check(noise).clipped_share == pytest.approx(0.001)
    assert codes(noise) == ["clipped"]
    noise[::1000] = -1.0
    assert codes(noise) == ["clipped"]


def test_an_offset_is_told(noise: np.ndarray) -> None:
    assert codes(noise + 0.2) == ["dc_offset"]


def test_reset_forgets(noise: np.ndarray) -> None:
    found = check(np.ones(RATE_HZ))
    found.reset()
    found.push(noise.astype(np.float32))
    assert found.warnings() == []


@pytest.mark.parametrize("least", [1, 2, 3, 20, 80])
def test_long_stretches_are_those_that_looking_at_each_sample_finds(rng: np.random.Generator, least: int) -> None:
    found = 0
    for coarse in (1.0, 0.1, 0.01):
        finder, plain = StretchFinder(least), SampleBySample()
        sound = np.round(np.cumsum(rng.normal(0.0, coarse, 20_000))).astype(np.float32)
        sound[9_000:9_500] = 0.0
        at = 0
        while at < len(sound):
            samples = sound[at : at + int(rng.integers(1, 900))]
            at += len(samples)
            expected = [(value, length) for value, length in plain.push(samples) if length >= least]
            stretches = finder.push(samples)
            assert [(stretch.value, stretch.end - stretch.start) for stretch in stretches] == expected
            assert all(stretch.end <= len(samples) and stretch.start < stretch.end for stretch in stretches)
            found += len(stretches)
    assert found > 20
