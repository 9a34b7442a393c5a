from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from humwatch.errors import AudioError
from humwatch.features import BLOCK_FRAMES, FeatureSpec, LogMel, hz_to_mel, log_mel, mel_filter_bank, mel_to_hz
from humwatch.synthetic import Fault, SyntheticMachine

SPEC = FeatureSpec()


def librosa_log_mel(samples: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16_000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, center=False
    )
    return 10.0 * np.log10(np.maximum(mel, 1e-10)).T


@pytest.mark.parametrize("fault", [None, Fault("impacts", 0.0), Fault("squeal", 10.0)])
def test_log_mel_equals_librosa_within_1e_4_db(fault: Fault | None) -> None:
    samples = SyntheticMachine(seed=1).clip(0, seconds=3.0, fault=fault)
    assert np.abs(log_mel(samples, SPEC) - librosa_log_mel(samples)).max() < 1e-4


def test_filter_bank_is_librosas() -> None:
    expected = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=128, dtype=np.float64).T
    np.testing.assert_allclose(mel_filter_bank(SPEC), expected, atol=1e-12)


def test_mel_scale_is_slaneys_and_inverts() -> None:
    assert hz_to_mel(1000.0) == 15.0
    assert hz_to_mel(6400.0) == pytest.approx(42.0)
    hz = np.array([0.0, 20.0, 999.0, 1000.0, 1001.0, 7999.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, rtol=1e-12)
    np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz), rtol=1e-12)


def test_full_scale_tone_has_the_level_that_the_window_gives() -> None:
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = log_mel(tone, SPEC).max(axis=1)
    # Half the Hann window's sum is the peak of |X|: 256. The slaney filter weighs it by up to 2 / width.
    low, high = SPEC.band_edges_hz[np.argmax(log_mel(tone, SPEC)[0])]
    assert np.all(loudest < 10 * np.log10(256.0**2 * 1.5 * 2 / (high - low)))
    assert np.ptp(loudest) < 0.1


def test_silence_is_clamped_to_the_floor() -> None:
    assert np.all(log_mel(np.zeros(4096, np.float32), SPEC) == SPEC.floor_db)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 0), (1023, 0), (1024, 1), (1535, 1), (1536, 2), (160_000, 311)]
)
def test_a_frame_exists_once_all_its_samples_are_there(samples: int, frames: int) -> None:
    assert log_mel(np.zeros(samples, np.float32), SPEC).shape == (frames, 128)
    assert SPEC.frames_in(samples) == frames
    assert SPEC.samples_in(frames) <= samples or frames == 0


@given(st.lists(st.integers(0, 40_000), max_size=8), st.integers(0, 3))
def test_any_chunking_gives_the_same_bits(cuts: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.1, 40_000).astype(np.float32)
    stream = LogMel(SPEC)
    chunks = np.split(samples, sorted(cuts))
    pieces = [stream.push(chunk) for chunk in chunks] + [stream.flush()]
    assert np.array_equal(np.concatenate(pieces), log_mel(samples, SPEC))


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1023, 1024, 1025])
def test_constant_chunks_around_the_hop_give_the_same_bits(size: int, rng: np.random.Generator) -> None:
    samples = rng.normal(0, 0.1, 30_000).astype(np.float32)
    stream = LogMel(SPEC)
    pieces = [stream.push(samples[start : start + size]) for start in range(0, len(samples), size)]
    assert np.array_equal(np.concatenate([*pieces, stream.flush()]), log_mel(samples, SPEC))


def test_held_samples_stay_under_a_block() -> None:
    stream = LogMel(SPEC)
    for _ in range(50):
        stream.push(np.zeros(5000, np.float32))
        assert stream._rest.size < SPEC.samples_in(BLOCK_FRAMES)


def test_reset_forgets(rng: np.random.Generator) -> None:
    stream = LogMel(SPEC)
    stream.push(np.ones(700, np.float32))
    stream.reset()
    samples = rng.normal(0, 0.1, 3000).astype(np.float32)
    assert np.array_equal(np.concatenate([stream.push(samples), stream.flush()]), log_mel(samples, SPEC))


def test_other_than_mono_float32_is_refused() -> None:
    with pytest.raises(AudioError, match="mono float32"):
        LogMel(SPEC).push(np.zeros((10, 2), np.float32))
    with pytest.raises(AudioError, match="float64"):
        LogMel(SPEC).push(np.zeros(10))


@pytest.mark.parametrize("bad", [{"high_hz": 9000.0}, {"low_hz": 8000.0}, {"hop_samples": 500}, {"n_fft": 1024}])
def test_a_spec_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FeatureSpec.model_validate(bad)
