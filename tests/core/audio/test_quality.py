from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.quality import StretchFinder


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
