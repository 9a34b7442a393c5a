from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from humwatch.audio.features import FeatureSpec, LogMel, hz_to_mel, log_mel, mel_filter_bank, mel_to_hz
from humwatch.errors import AudioError
from humwatch.synthetic import Fault, SyntheticMachine

SPEC = FeatureSpec()


def running_means(samples: np.ndarray) -> np.ndarray:
    """What is taken from each frame: the mean of the first, then an average over 0.2 s of the hops that end them."""
    hops = samples.astype(np.float64)[: len(samples) // 512 * 512].reshape(-1, 512).mean(axis=1)
    gain, means, mean = 1.0 - np.exp(-512 / 16_000 / 0.2), [], hops[0]
    for count, hop in enumerate(hops[1:], start=2):
        mean += max(gain, 1.0 / count) * (hop - mean)
        means.append(mean)
    return np.array(means)


def librosa_log_mel(samples: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16_000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, center=False
    )
    return 10.0 * np.log10(np.maximum(mel, 1e-10)).T


@pytest.mark.parametrize("fault", [None, Fault("impacts", 0.0), Fault("squeal", 10.0)])
def test_log_mel_equals_librosa_within_1e_4_db(fault: Fault | None) -> None:
    samples = SyntheticMachine(seed=1).clip(0, seconds=3.0, fault=fault)
    found, expected = log_mel(samples, SPEC), librosa_log_mel(samples)
    reached = mel_filter_bank(SPEC)[1] > 0  # the bands of the bin beside 0 Hz, from which the offset is taken out
    assert reached.sum() <= 2
    assert np.abs(found - expected)[:, ~reached].max() < 1e-4


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


def sound_of(kind: str, seed: int, size: int) -> np.ndarray:
    """Noise, faint noise on an offset, a tone, or nothing: full, nearly empty and empty bands."""
    rng = np.random.default_rng(seed)
    sounds = {
        "noise": lambda: rng.normal(0.0, 0.1, size),
        "faint": lambda: 0.5 + rng.normal(0.0, 1e-6, size),
        "tone": lambda: np.sin(0.1 * np.arange(size)),
        "silence": lambda: np.zeros(size),
    }
    return sounds[kind]().astype(np.float32)


KINDS = st.sampled_from(["noise", "faint", "tone", "silence"])
SIZES = st.one_of(st.sampled_from([0, 1, 511, 512, 513, 1023, 1024, 1025]), st.integers(0, 40_000))


@given(st.lists(SIZES, max_size=12), KINDS, st.integers(0, 3))
def test_any_chunking_gives_the_same_bits(sizes: list[int], kind: str, seed: int) -> None:
    samples = sound_of(kind, seed, 40_000)
    stream = LogMel(SPEC)
    chunks = np.split(samples, np.minimum(np.cumsum(sizes, dtype=int), 40_000))
    pieces = [stream.push(chunk) for chunk in chunks] + [stream.flush()]
    assert np.array_equal(np.concatenate(pieces), log_mel(samples, SPEC))


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1023, 1024, 1025])
def test_constant_chunks_around_the_hop_give_the_same_bits(size: int, rng: np.random.Generator) -> None:
    samples = rng.normal(0, 0.1, 30_000).astype(np.float32)
    stream = LogMel(SPEC)
    pieces = [stream.push(samples[start : start + size]) for start in range(0, len(samples), size)]
    assert np.array_equal(np.concatenate([*pieces, stream.flush()]), log_mel(samples, SPEC))


@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(),
        FeatureSpec(n_mels=40, low_hz=200.0, high_hz=6_000.0),
        FeatureSpec(n_mels=256),  # some bands hold no bin
        FeatureSpec(rate_hz=48_000, frame_samples=1500, hop_samples=500, high_hz=24_000.0),
    ],
)
@given(frames=st.integers(1, 70), kind=KINDS)
def test_a_frame_does_not_depend_on_how_many_are_beside_it(spec: FeatureSpec, frames: int, kind: str) -> None:
    samples = sound_of(kind, 1, spec.samples_in(frames))
    stream, first = LogMel(spec), spec.frame_samples
    alone = [stream.push(samples[:first])]
    alone += [stream.push(samples[at : at + spec.hop_samples]) for at in range(first, len(samples), spec.hop_samples)]
    assert [len(found) for found in alone] == [1] * frames
    assert np.array_equal(log_mel(samples, spec), np.concatenate(alone))


@given(st.integers(0, 200), st.integers(1, 200), st.integers(0, 3))
def test_each_numeric_step_treats_rows_alike_however_many_there_are(first: int, rows: int, seed: int) -> None:
    """The transform, the sparse product and the logarithm, each alone: what the front end rests on."""
    frames = np.random.default_rng(seed).normal(0.0, 0.1, (first + rows, 1024))
    spectra, some = np.fft.rfft(frames, axis=1), np.fft.rfft(frames[first:], axis=1)
    assert np.array_equal(spectra[first:], some)
    bank = scipy.sparse.csr_array(mel_filter_bank(SPEC).T)
    power = np.abs(spectra) ** 2
    mel = bank @ np.ascontiguousarray(power.T)
    assert np.array_equal(mel[:, first:], bank @ np.ascontiguousarray(power[first:].T))
    assert np.array_equal(np.log10(mel)[:, first:], np.log10(np.ascontiguousarray(mel[:, first:])))


def test_the_sparse_product_is_the_dense_one(rng: np.random.Generator) -> None:
    samples = rng.normal(0.0, 0.1, 16_000).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), 1024)[::512]
    frames = frames - running_means(samples)[: len(frames), None]
    power = np.abs(np.fft.rfft(frames * scipy.signal.get_window("hann", 1024), axis=1)) ** 2
    expected = 10.0 * np.log10(np.maximum(power @ mel_filter_bank(SPEC), 1e-10))
    np.testing.assert_allclose(log_mel(samples, SPEC), expected, rtol=1e-7)
    assert scipy.sparse.csr_array(mel_filter_bank(SPEC)).nnz < 1_100


def test_a_frame_leaves_with_its_last_sample(rng: np.random.Generator) -> None:
    stream = LogMel(SPEC)
    left = []
    for count in range(1, 4_000):
        missing = stream.samples_until(1)
        left.append(len(stream.push(np.ones(1, np.float32))))
        assert (missing == 1) == (left[-1] == 1)
        assert sum(left) == SPEC.frames_in(count)


@pytest.mark.parametrize("frames", [0, 1, 2, 31, 100])
def test_it_tells_how_many_samples_are_missing(frames: int, rng: np.random.Generator) -> None:
    stream = LogMel(SPEC)
    for size in (0, 1, 700, 5_000):
        stream.push(np.zeros(size, np.float32))
        missing = stream.samples_until(frames)
        assert missing == max(0, SPEC.samples_in(frames) - len(stream._rest))
        other = LogMel(SPEC)
        other.push(stream._rest)
        assert len(other.push(np.zeros(missing, np.float32))) == frames


def test_held_samples_stay_under_a_frame_and_flush_has_none_to_give() -> None:
    stream = LogMel(SPEC)
    for _ in range(50):
        stream.push(np.zeros(5000, np.float32))
        assert stream._rest.size < SPEC.frame_samples
    assert stream.flush().shape == (0, 128)
    assert stream._rest.size == 0


def test_streams_in_several_threads_do_not_disturb_each_other(rng: np.random.Generator) -> None:
    sounds = [rng.normal(0.0, 0.1, 160_000).astype(np.float32) for _ in range(4)]
    expected = [log_mel(sound, SPEC) for sound in sounds]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda sound: [log_mel(sound, SPEC) for _ in range(10)], sounds))
    assert all(np.array_equal(one, wanted) for many, wanted in zip(found, expected, strict=True) for one in many)


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


@pytest.mark.parametrize("offset", [0.02, -0.09, 0.5])
def test_a_constant_offset_changes_nothing_of_note(offset: float) -> None:
    sound = SyntheticMachine(seed=1).clip(0, seconds=4.0)
    moved = log_mel(sound + np.float32(offset), SPEC) - log_mel(sound, SPEC)
    assert np.abs(moved).max() < 0.01


def test_an_offset_that_settles_is_gone_within_a_second() -> None:
    sound = SyntheticMachine(seed=1).clip(0, seconds=4.0)
    time_s = np.arange(len(sound)) / 16_000
    moved = log_mel((sound + 0.5 * np.exp(-time_s / 0.08)).astype(np.float32), SPEC) - log_mel(sound, SPEC)
    assert np.abs(moved[:3]).max() > 3.0
    assert np.abs(moved[45:]).max() < 0.5
