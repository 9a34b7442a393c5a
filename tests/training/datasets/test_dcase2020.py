from pathlib import Path

import pytest

from humwatch_training.datasets import DataClip, DataSet, FileSource, open_dataset
from humwatch_training.errors import TrainingDataError


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def development(root: Path, machine_type: str = "fan") -> Path:
    folder = root / machine_type
    touch(
        folder / "train" / "normal_id_00_00000000.wav",
        folder / "train" / "normal_id_02_00000000.wav",
        folder / "test" / "normal_id_00_00000000.wav",
        folder / "test" / "anomaly_id_00_00000000.wav",
    )
    return folder


def evaluation(root: Path, machine_type: str = "fan") -> Path:
    folder = root / machine_type
    touch(
        folder / "train" / "normal_id_01_00000000.wav",
        folder / "test" / "id_01_00000000.wav",
        folder / "test" / "id_01_00000001.wav",
    )
    return folder


def by_name(dataset: DataSet) -> dict[str, DataClip]:
    return {clip.name: clip for clip in dataset.clips}


def test_a_development_set_is_read_from_its_names(tmp_path: Path):
    development(tmp_path)
    dataset = open_dataset(tmp_path)
    clips = by_name(dataset)
    assert dataset.kind == "dcase2020"
    assert list(clips) == sorted(clips)
    assert dataset.machines == (("fan", "id_00"), ("fan", "id_02"))
    assert clips["fan/test/anomaly_id_00_00000000.wav"] == DataClip(
        name="fan/test/anomaly_id_00_00000000.wav",
        machine_type="fan",
        machine_id="id_00",
        split="test",
        label="anomalous",
        group="dev",
        source=FileSource(path=tmp_path / "fan" / "test" / "anomaly_id_00_00000000.wav"),
    )
    assert [(clip.split, clip.label) for clip in clips.values()] == [
        ("test", "anomalous"),
        ("test", "normal"),
        ("train", "normal"),
        ("train", "normal"),
    ]


def test_one_types_folder_may_be_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = development(tmp_path)
    dataset = open_dataset(folder)
    assert dataset.machine_types == ("fan",)
    assert "train/normal_id_02_00000000.wav" in by_name(dataset)
    monkeypatch.chdir(folder / "train")
    assert open_dataset(Path("..")).machine_types == ("fan",)


def test_folders_tell_development_from_evaluation(tmp_path: Path):
    development(tmp_path / "dev_data", "machine")
    evaluation(tmp_path / "eval_data", "machine")
    groups = {clip.name.split("/")[0]: clip.group for clip in open_dataset(tmp_path).clips}
    assert groups == {"dev_data": "dev", "eval_data": "eval"}
    assert {clip.group for clip in open_dataset(tmp_path / "eval_data" / "machine").clips} == {"eval"}


def test_published_ids_tell_them_where_folders_do_not(tmp_path: Path):
    development(tmp_path)
    touch(tmp_path / "fan" / "train" / "normal_id_05_00000000.wav")
    touch(tmp_path / "ToyCar" / "train" / "normal_id_04_00000000.wav")
    touch(tmp_path / "ToyCar" / "train" / "normal_id_05_00000000.wav")
    groups = {(clip.machine_type, clip.machine_id): clip.group for clip in open_dataset(tmp_path).clips}
    assert groups == {
        ("fan", "id_00"): "dev",
        ("fan", "id_02"): "dev",
        ("fan", "id_05"): "eval",
        ("ToyCar", "id_04"): "dev",
        ("ToyCar", "id_05"): "eval",
    }


def test_a_machine_whose_labels_are_withheld_is_of_the_evaluation_set(tmp_path: Path):
    evaluation(tmp_path, "press")
    assert {clip.group for clip in open_dataset(tmp_path).clips} == {"eval"}


def test_withheld_labels_are_none_until_they_are_given(tmp_path: Path):
    evaluation(tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.unlabelled == 2
    assert [clip.label for clip in dataset.clips] == [None, None, "normal"]


@pytest.mark.parametrize("file", ["train/anomaly_id_00_00000000.wav", "train/id_00_00000000.wav"])
def test_a_train_recording_that_is_not_named_normal_is_refused(tmp_path: Path, file: str):
    development(tmp_path)
    touch(tmp_path / "fan" / file)
    with pytest.raises(TrainingDataError, match="does not say that it is normal"):
        open_dataset(tmp_path)


def test_a_name_that_is_not_understood_is_refused(tmp_path: Path):
    development(tmp_path)
    touch(tmp_path / "fan" / "test" / "strange.wav")
    with pytest.raises(TrainingDataError, match=r"strange\.wav: is not named as in DCASE 2020"):
        open_dataset(tmp_path)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path):
    development(tmp_path)
    touch(tmp_path / "fan" / "train" / "._normal_id_00_00000000.wav")
    touch(tmp_path / ".trash" / "fan" / "train" / "normal_id_06_00000000.wav")
    assert len(open_dataset(tmp_path).clips) == 4
