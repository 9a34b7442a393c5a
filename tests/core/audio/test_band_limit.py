from __future__ import annotations

import numpy as np
import pytest
import soxr
from scipy.signal import butter, firwin, lfilter, sosfilt

from humwatch.audio.band_limit import BandLimit
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import SyntheticMachine

SPEC = FeatureSpec()
BANDS = ScoringSpec().bands(SPEC)
SECONDS = 10.0


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Hiss of a room beside a machine: it falls by 6 dB an octave."""
    hiss = lfilter([1.0], [1.0, -0.9], np.random.default_rng(3).normal(0.0, 0.02, round(SECONDS * 16_000)))
    return SyntheticMachine(seed=3, level_dbfs=-30.0).clip(1, SECONDS) + hiss


def rounded(sound: np.ndarray, bits: int = 16) -> np.ndarray:
    return np.round(np.clip(sound, -1.0, 0.9999) * 2 ** (bits - 1)) / 2 ** (bits - 1)


def frames(sound: np.ndarray) -> np.ndarray:
    return log_mel(sound.astype(np.float32), SPEC)


def limit(sound: np.ndarray, normal: np.ndarray | None = None, steps: int = 10) -> float | None:
    normal_db = None if normal is None else frames(normal).mean(axis=0)[BANDS].astype(np.float64)
    found = BandLimit(SPEC, BANDS, normal_db=normal_db)
    for step in range(steps):
        found.push(frames(sound)[None, step * 31 : (step + 1) * 31])
    return found.limit_hz


@pytest.mark.parametrize("gain_db", [0.0, -20.0, -40.0, -60.0])
@pytest.mark.parametrize("bits", [16, 24])
def test_sound_that_only_gets_quiet_has_no_limit(sound: np.ndarray, gain_db: float, bits: int) -> None:
    quiet = rounded(sound * 10 ** (gain_db / 20), bits)
    assert limit(quiet) is None
    assert limit(quiet, sound) is None


@pytest.mark.parametrize("corner_hz", [500.0, 2_000.0, 4_000.0])
def test_a_slope_is_no_wall(sound: np.ndarray, corner_hz: float) -> None:
    """12 dB an octave, as of a sensor with a resonance."""
    slope = rounded(sosfilt(butter(2, corner_hz, fs=16_000, output="sos"), sound))
    assert limit(slope) is None


@pytest.mark.parametrize(("rate_hz", "bits"), [(8_000, 16), (8_000, 24), (11_025, 16), (12_000, 24)])
def test_a_lower_rate_leaves_a_wall_near_its_half(sound: np.ndarray, rate_hz: int, bits: int) -> None:
    once = rounded(soxr.resample(rounded(soxr.resample(sound, 16_000, rate_hz)), rate_hz, 16_000), bits)
    found = limit(once)
    assert found is not None
    assert 0.4 * rate_hz <= found <= 0.55 * rate_hz


def test_a_wall_near_the_top_is_that_of_the_recorder_unless_the_calibration_had_more(sound: np.ndarray) -> None:
    cut = rounded(lfilter(firwin(511, 7_000, fs=16_000), 1, sound))
    assert limit(cut) is None
    assert limit(cut, sound) == pytest.approx(7_000, abs=500)


def test_sound_that_is_as_in_the_calibration_has_no_limit(sound: np.ndarray) -> None:
    cut = rounded(lfilter(firwin(511, 3_400, fs=16_000), 1, sound))
    assert limit(cut) is not None
    assert limit(cut, cut) is None


def test_one_sound_that_reaches_higher_shows_that_there_is_no_wall(sound: np.ndarray) -> None:
    cut = lfilter(firwin(511, 3_400, fs=16_000), 1, sound)
    cut[120_000:120_400] += np.random.default_rng(5).normal(0.0, 0.05, 400)
    assert limit(rounded(cut)) is None


def test_three_steps_are_wanted_unless_the_sound_is_over(sound: np.ndarray) -> None:
    cut = rounded(lfilter(firwin(511, 3_400, fs=16_000), 1, sound))
    assert limit(cut, steps=2) is None
    assert limit(cut, steps=3) is not None
    found = BandLimit(SPEC, BANDS)
    found.push(frames(cut)[None, :31])
    found.settle()
    assert found.limit_hz is not None
    found.reset()
    found.settle()
    assert found.limit_hz is None
