from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.quality import dbfs
from humwatch.run_state import RunGate
from humwatch.source.health import SourceHealth
from humwatch.source.recording_source import RecordingSource

RATE_HZ = 16_000


def check(
    samples: np.ndarray,
    chunk: int = 1000,
    *,
    gate: RunGate | None = None,
    full_scale: bool = True,
    low: float = -np.inf,
) -> RecordingSource:
    health = SourceHealth(
        rate_hz=RATE_HZ, needed_hz=7_600.0, level_dbfs_low=low, level_dbfs_high=np.inf, full_scale=full_scale
    )
    found = RecordingSource(health, rate_hz=RATE_HZ, full_scale=full_scale, run_gate=gate)
    for start in range(0, len(samples), chunk):
        found.push(samples[start : start + chunk].astype(np.float32))
    found.finish()
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
    assert check(noise[:0]).level_dbfs == -200.0


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
    assert codes(noise) == ["clipped"]
    noise[::1000] = -1.0
    assert codes(noise) == ["clipped"]


def test_an_offset_is_told(noise: np.ndarray) -> None:
    assert codes(noise + 0.2) == ["dc_offset"]
