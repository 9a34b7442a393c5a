from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from humwatch.audio.decoding import read_mono
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet, load_clips
from humwatch_training.errors import TrainingDataError

SPEC = FeatureSpec()


def ramp(path: str, first: int, frames: int) -> Clip:
    values = np.arange(first, first + frames, dtype=np.float32)
    return Clip(path, 0, np.stack([values, -values], axis=1))


def test_clips_are_the_cores_log_mel_of_the_channel(tmp_path: Path, write_sound: Callable[..., Path]):
    file = write_sound(tmp_path / "a.flac", 0, channels=3)
    [clip] = load_clips(["a.flac"], {"a.flac": file}, SPEC, channel=2, n_frames=5)
    expected = log_mel(read_mono(file, rate_hz=16_000, channel=2), SPEC)
    assert clip.channel == 2
    np.testing.assert_array_equal(clip.frames_db, expected)


def test_all_channels_are_clips_of_one_recording(tmp_path: Path, write_sound: Callable[..., Path]):
    files = {"a.wav": write_sound(tmp_path / "a.wav", 0, channels=3), "b.wav": write_sound(tmp_path / "b.wav", 1)}
    read: list[int] = []
    clips = load_clips(files, files, SPEC, channel="all", n_frames=5, on_read=lambda: read.append(1))
    assert [(clip.path, clip.channel) for clip in clips] == [("a.wav", 0), ("a.wav", 1), ("a.wav", 2), ("b.wav", 0)]
    assert len(read) == 2


def test_a_missing_channel_is_named(tmp_path: Path, write_sound: Callable[..., Path]):
    files = {"a.wav": write_sound(tmp_path / "a.wav", 0, channels=2)}
    with pytest.raises(TrainingDataError, match=r"a\.wav: has 2 channels, so there is no channel 2"):
        load_clips(files, files, SPEC, channel=2, n_frames=5)


def test_a_recording_shorter_than_a_window_is_named(tmp_path: Path, write_sound: Callable[..., Path]):
    files = {"a.wav": write_sound(tmp_path / "a.wav", 0, seconds=0.15)}
    with pytest.raises(TrainingDataError, match=r"a\.wav: 3 frames, shorter than a window of 5"):
        load_clips(files, files, SPEC, channel=0, n_frames=5)


def test_a_file_that_is_no_sound_is_named(tmp_path: Path):
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(TrainingDataError, match=r"^sub/a\.wav: ") as caught:
        load_clips(["sub/a.wav"], {"sub/a.wav": tmp_path / "a.wav"}, SPEC, channel=0, n_frames=5)
    assert caught.value.code == "training_data"


def test_a_recording_that_went_away_is_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match=r"gone\.wav"):
        load_clips(["gone.wav"], {}, SPEC, channel=0, n_frames=5)
    with pytest.raises(TrainingDataError, match=r"gone\.wav"):
        load_clips(["gone.wav"], {"gone.wav": tmp_path / "gone.wav"}, SPEC, channel=0, n_frames=5)


def test_windows_never_span_two_clips():
    windows = WindowSet([ramp("a", 0, 7), ramp("b", 100, 6)], 5)
    assert len(windows) == 3 + 2
    every = windows.windows(torch.arange(5))
    assert every.shape == (5, 5, 2)
    assert every[:, 0, 0].tolist() == [0, 1, 2, 100, 101]
    assert every[4, :, 1].tolist() == [-101, -102, -103, -104, -105]


def test_sampled_windows_are_seeded_and_reach_every_window():
    windows = WindowSet([ramp("a", 0, 7), ramp("b", 100, 6)], 5)
    first, second = (windows.sample(64, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert set(first[:, 0, 0].tolist()) == {0, 1, 2, 100, 101}


def test_windows_need_clips():
    with pytest.raises(TrainingDataError, match="no clips"):
        WindowSet([], 5)


def test_normalisation_is_over_all_values_of_all_clips():
    clips = [ramp("a", 3, 7), ramp("b", 100, 6)]
    values = np.concatenate([clip.frames_db.ravel() for clip in clips])
    normalisation = Normalisation.of(clips)
    assert normalisation.mean_db == pytest.approx(values.mean(dtype=np.float64), abs=1e-9)
    assert normalisation.std_db == pytest.approx(values.std(dtype=np.float64), rel=1e-9)


def test_silence_cannot_be_normalised():
    with pytest.raises(TrainingDataError, match="constant"):
        Normalisation.of([Clip("a", 0, np.full((20, 4), -100.0, np.float32))])
