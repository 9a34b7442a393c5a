from pathlib import Path

import pytest

from humwatch_training.datasets import DataSet, open_dataset
from humwatch_training.errors import TrainingDataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def parts_of(dataset: DataSet) -> dict[str, tuple[str, str | None]]:
    return {clip.name: (clip.split, clip.label) for clip in dataset.clips}


@pytest.mark.parametrize("anomalous", ["anomalous", "abnormal", "anomaly"])
def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path, anomalous: str):
    touch(tmp_path, "train/a.wav", "train/normal/deep/b.flac", "test/normal/c.wav", f"test/{anomalous}/d.WAV")
    assert parts_of(open_dataset(tmp_path)) == {
        f"test/{anomalous}/d.WAV": ("test", "anomalous"),
        "test/normal/c.wav": ("test", "normal"),
        "train/a.wav": ("train", "normal"),
        "train/normal/deep/b.flac": ("train", "normal"),
    }


def test_labelled_folders_are_divided(tmp_path: Path):
    touch(tmp_path, *(f"normal/{i}.wav" for i in range(8)), "abnormal/x.wav", "abnormal/y.wav")
    parts = list(parts_of(open_dataset(tmp_path)).values())
    assert parts.count(("train", "normal")) == 6
    assert parts.count(("test", "normal")) == 2
    assert parts.count(("test", "anomalous")) == 2


def test_recordings_alone_are_normal_and_for_training(tmp_path: Path):
    touch(tmp_path / "pump", "a.wav", "monday/b.flac", "notes.txt")
    dataset = open_dataset(tmp_path / "pump")
    assert dataset.kind == "folder"
    assert parts_of(dataset) == {"a.wav": ("train", "normal"), "monday/b.flac": ("train", "normal")}
    assert dataset.machines == (("pump", "pump"),)


def test_the_user_may_name_the_machine(tmp_path: Path):
    touch(tmp_path, "a.wav")
    assert open_dataset(tmp_path, machine_type="pump", machine_id="p7").machines == (("pump", "p7"),)


@pytest.mark.parametrize(
    "name", ["anomaly_1.wav", "train/anomaly/1.wav", "train/abnormal/1.wav", "train/anomaly_1.wav", "x/Abnormal/1.wav"]
)
def test_anomalous_sound_among_train_recordings_is_refused(tmp_path: Path, name: str):
    touch(tmp_path, name)
    with pytest.raises(TrainingDataError, match="not normal sound"):
        open_dataset(tmp_path)


def test_an_anomalous_folder_given_as_root_is_refused(tmp_path: Path):
    touch(tmp_path, "abnormal/deep/1.wav", "anomaly/1.wav")
    for folder in ("abnormal", "anomaly"):
        with pytest.raises(TrainingDataError, match="not normal sound"):
            open_dataset(tmp_path / folder)


def test_links_do_not_smuggle_anomalous_or_test_sound(tmp_path: Path):
    touch(tmp_path, "faults/anomalous/1.wav", "a/train/1.wav", "b/train/1.wav", "b/test/normal/2.wav")
    (tmp_path / "a" / "train" / "2.wav").symlink_to(tmp_path / "faults" / "anomalous" / "1.wav")
    with pytest.raises(TrainingDataError, match="not normal sound"):
        open_dataset(tmp_path / "a")
    (tmp_path / "b" / "test" / "normal" / "1.wav").symlink_to(tmp_path / "b" / "train" / "1.wav")
    with pytest.raises(TrainingDataError, match="train and test sound at once"):
        open_dataset(tmp_path / "b")


def test_test_recordings_need_a_label(tmp_path: Path):
    touch(tmp_path, "train/a.wav", "test/b.wav")
    with pytest.raises(TrainingDataError, match=r"b\.wav: test recordings have to be in one of test/normal"):
        open_dataset(tmp_path)


def test_a_folder_of_several_machines_is_not_taken_for_one(tmp_path: Path):
    touch(tmp_path, "p1/train/a.wav", "p1/test/normal/b.wav")
    with pytest.raises(TrainingDataError, match="open the folder of one machine"):
        open_dataset(tmp_path)
