from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from humwatch.audio.decoding import read_mono
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch_training.datasets import DataSet, DataSetKind, open_dataset, read_log_mel
from humwatch_training.errors import TrainingDataError

LAYOUTS: dict[DataSetKind, list[str]] = {
    "dcase2020": ["fan/train/normal_id_00_00000000.wav", "fan/test/anomaly_id_00_00000000.wav"],
    "dcase2021": ["fan/train/section_00_source_train_normal_0000_vel_6.wav"],
    "mimii": ["fan/id_00/normal/00000000.wav", "fan/id_00/abnormal/00000000.wav"],
    "folder": ["monday.wav"],
}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_layout_is_found_out(tmp_path: Path, kind: DataSetKind):
    touch(tmp_path, *LAYOUTS[kind])
    dataset = open_dataset(tmp_path)
    assert dataset.kind == kind
    assert dataset.root == tmp_path
    assert dataset == open_dataset(tmp_path, kind)


def test_an_empty_folder_is_told_what_was_looked_for(tmp_path: Path):
    touch(tmp_path, "some/notes.txt", "other/notes.txt")
    with pytest.raises(TrainingDataError) as caught:
        open_dataset(tmp_path)
    text = str(caught.value)
    assert "found 0 .wav or .flac files and 2 folders (other, some)" in text
    assert all(f"\n  {kind}: " in text for kind in (*LAYOUTS, "logmel"))


def test_a_layout_that_is_asked_for_and_not_there_is_told(tmp_path: Path):
    touch(tmp_path, *LAYOUTS["dcase2020"])
    with pytest.raises(TrainingDataError, match=r"not a mimii data set: looked for .*; found .* 1 folders"):
        open_dataset(tmp_path, "mimii")


def test_two_layouts_at_once_are_not_guessed_at(tmp_path: Path):
    touch(tmp_path, *LAYOUTS["dcase2020"], *(f"mimii/{name}" for name in LAYOUTS["mimii"]))
    with pytest.raises(TrainingDataError, match="holds dcase2020 and mimii data; say which"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, "mimii").kind == "mimii"


def test_paths_that_are_no_data_set_are_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match="nowhere: no such file or folder"):
        open_dataset(tmp_path / "nowhere")
    touch(tmp_path, "a.wav")
    for kind in ("auto", "folder", "logmel"):
        with pytest.raises(TrainingDataError, match="it is a file"):
            open_dataset(tmp_path / "a.wav", kind)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("mimii", {"labels": Path("labels.csv")}),
        ("folder", {"labels": Path("labels.csv")}),
        ("dcase2020", {"machine_type": "fan"}),
        ("mimii", {"machine_id": "id_00"}),
    ],
)
def test_arguments_that_a_layout_has_no_use_for_are_refused(
    tmp_path: Path, kind: DataSetKind, arguments: dict[str, str]
):
    touch(tmp_path, *LAYOUTS[kind])
    with pytest.raises(TrainingDataError, match=f"given for a {kind} data set"):
        open_dataset(tmp_path, **arguments)  # type: ignore[arg-type]


def test_a_data_set_needs_clips_and_unique_names(tmp_path: Path):
    [clip] = open_dataset(touch(tmp_path, "a.wav")).clips
    with pytest.raises(TrainingDataError, match=r"two clips are named a\.wav"):
        DataSet.of("folder", tmp_path, [clip, clip])
    with pytest.raises(TrainingDataError, match="no clips of a folder data set"):
        DataSet.of("folder", tmp_path, [])


def test_sound_is_read_by_the_cores_path(tmp_path: Path, write_sound: Callable[..., Path]):
    file = write_sound(tmp_path / "a.flac", 0, channels=3)
    [clip] = open_dataset(tmp_path).clips
    frames = read_log_mel(clip, FeatureSpec(), channel=2)
    np.testing.assert_array_equal(frames, log_mel(read_mono(file, rate_hz=16_000, channel=2), FeatureSpec()))


def test_sound_that_training_refuses_is_refused(tmp_path: Path, write_sound: Callable[..., Path]):
    write_sound(tmp_path / "short.wav", 0, seconds=0.15)
    (tmp_path / "text.wav").write_text("hello")
    short, text = open_dataset(tmp_path).clips
    with pytest.raises(TrainingDataError, match="3 frames, shorter than a window of 5"):
        read_log_mel(short, FeatureSpec(), min_frames=5)
    with pytest.raises(TrainingDataError, match=r"short\.wav: has 1 channels, so there is no channel 1"):
        read_log_mel(short, FeatureSpec(), 1)
    with pytest.raises(TrainingDataError, match=r"text\.wav: "):
        read_log_mel(text, FeatureSpec())
