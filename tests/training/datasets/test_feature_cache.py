from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch.audio.features import FeatureSpec
from humwatch.synthetic import SyntheticMachine
from humwatch_training.datasets import DataClip, feature_cache, open_dataset, read_log_mel
from humwatch_training.datasets.feature_cache import CacheKey, FeatureCache, default_cache_folder
from humwatch_training.errors import TrainingDataError

SPEC = FeatureSpec(n_mels=16)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def clip(tmp_path: Path) -> DataClip:
    (tmp_path / "data").mkdir()
    samples = np.stack([SyntheticMachine(seed).clip(0, seconds=0.5) for seed in range(2)], axis=1)
    soundfile.write(tmp_path / "data" / "a.wav", samples, 16_000, subtype="PCM_16")
    return open_dataset(tmp_path / "data").clips[0]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips whose frames were computed, and not taken from the cache."""
    names: list[str] = []

    def read(clip: DataClip, *arguments: object, **named: object) -> object:
        names.append(clip.name)
        return read_log_mel(clip, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(feature_cache, "read_log_mel", read)
    return names


def entries(cache: FeatureCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_the_second_reading_is_the_first_bit_for_bit_and_computes_nothing(
    cache: FeatureCache, clip: DataClip, computed: list[str]
):
    first, second = cache.log_mel(clip, SPEC), cache.log_mel(clip, SPEC)
    assert computed == [clip.name]
    assert second.dtype == np.float32
    np.testing.assert_array_equal(first, read_log_mel(clip, SPEC))
    np.testing.assert_array_equal(first, second)


def test_spec_channel_and_content_each_have_an_entry(cache: FeatureCache, clip: DataClip, computed: list[str]):
    other_spec = SPEC.model_copy(update={"floor_db": -60.0})
    frames = [cache.log_mel(clip, SPEC), cache.log_mel(clip, other_spec), cache.log_mel(clip, SPEC, 1)]
    assert len(entries(cache)) == len(computed) == 3
    samples, rate_hz = soundfile.read(clip.source.path)
    soundfile.write(clip.source.path, samples * 0.5, rate_hz, subtype="PCM_16")
    frames.append(cache.log_mel(clip, SPEC))
    assert len(computed) == 4
    assert not any(np.array_equal(frames[3], other) for other in frames[:3])


def test_the_same_recording_elsewhere_is_the_same_entry(cache: FeatureCache, clip: DataClip, computed: list[str]):
    cache.log_mel(clip, SPEC)
    (clip.source.path.parent / "b.wav").write_bytes(clip.source.path.read_bytes())
    cache.log_mel(open_dataset(clip.source.path.parent).clips[1], SPEC)
    assert computed == ["a.wav"]


def test_the_format_is_part_of_the_key():
    key = CacheKey(content_sha256="00", spec=SPEC, channel=0)
    assert key.digest() != key.model_copy(update={"cache_format": key.cache_format + 1}).digest()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "nonsense"])
def test_a_damaged_entry_is_computed_again(cache: FeatureCache, clip: DataClip, computed: list[str], damage: str):
    expected = cache.log_mel(clip, SPEC)
    [entry] = entries(cache)
    sound = entry.read_bytes()
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    entry.write_bytes(
        {"truncated": sound[:-40], "flipped": bytes(flipped), "empty": b"", "nonsense": b"x" * 99}[damage]
    )
    np.testing.assert_array_equal(cache.log_mel(clip, SPEC), expected)
    assert len(computed) == 2
    assert entry.read_bytes() == sound
    assert entries(cache) == [entry]


def test_an_entry_is_an_npy_file(cache: FeatureCache, clip: DataClip):
    frames = cache.log_mel(clip, SPEC)
    np.testing.assert_array_equal(np.load(entries(cache)[0]), frames)


def test_what_the_reader_refuses_is_refused_from_the_cache_too(cache: FeatureCache, clip: DataClip):
    frames = cache.log_mel(clip, SPEC)
    with pytest.raises(TrainingDataError, match=f"{len(frames)} frames, shorter than a window of {len(frames) + 1}"):
        cache.log_mel(clip, SPEC, min_frames=len(frames) + 1)
    with pytest.raises(TrainingDataError, match="there is no channel 2"):
        cache.log_mel(clip, SPEC, 2)
    clip.source.path.unlink()
    with pytest.raises(TrainingDataError, match=r"a\.wav"):
        cache.log_mel(clip, SPEC)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, clip: DataClip):
    (tmp_path / "taken").touch()
    with pytest.raises(TrainingDataError, match="taken: the feature cache cannot be written"):
        FeatureCache(tmp_path / "taken").log_mel(clip, SPEC)


def test_arrays_pass_through(tmp_path: Path, cache: FeatureCache, write_arrays: Callable[[Path], Path]):
    clip = open_dataset(write_arrays(tmp_path / "m")).clips[0]
    np.testing.assert_array_equal(cache.log_mel(clip, SPEC), read_log_mel(clip, SPEC))
    assert not cache.folder.exists()


@pytest.fixture
def write_arrays() -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir()
        frames = np.arange(2 * 6 * 16, dtype=np.uint8).reshape(2, 6, 16)
        np.savez(folder / "id_01.npz", logmel_db_q=frames, role=np.array([0, 2]), name=np.array(["a", "b"]))
        return folder

    return write


def test_the_default_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder({"XDG_CACHE_HOME": "/somewhere"}) == Path("/somewhere/humwatch")
    assert default_cache_folder({}) == tmp_path / ".cache" / "humwatch"
    assert default_cache_folder({"XDG_CACHE_HOME": "not/absolute"}) == tmp_path / ".cache" / "humwatch"
