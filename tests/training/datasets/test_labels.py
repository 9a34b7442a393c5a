from pathlib import Path

import pytest

from humwatch_training.datasets import DataSet, open_dataset
from humwatch_training.errors import TrainingDataError

LIST_2020 = """fan
id_01_00000000.wav,normal_id_01_00000000.wav,0
id_01_00000001.wav,anomaly_id_01_00000000.wav,1
pump
id_01_00000000.wav,anomaly_id_01_00000000.wav,1
"""


def withheld(root: Path, *types: str) -> Path:
    for machine_type in types:
        for number in range(2):
            file = root / "data" / machine_type / "test" / f"id_01_{number:08d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root / "data"


def written(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")
    return root / name


def labels_of(dataset: DataSet) -> dict[str, str | None]:
    return {clip.name: clip.label for clip in dataset.clips}


def test_the_organisers_list_labels_each_type_on_its_own(tmp_path: Path):
    dataset = open_dataset(withheld(tmp_path, "fan", "pump"), labels=written(tmp_path, LIST_2020))
    assert labels_of(dataset) == {
        "fan/test/id_01_00000000.wav": "normal",
        "fan/test/id_01_00000001.wav": "anomalous",
        "pump/test/id_01_00000000.wav": "anomalous",
        "pump/test/id_01_00000001.wav": None,
    }
    assert {clip.group for clip in dataset.clips} == {"eval"}


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\nid_01_00000000.wav,normal\nid_01_00000001.wav,anomaly\n",
        "id_01_00000000.wav,0\nid_01_00000001,1\n",
        "\ufefffile_name,label\n\nfan/test/id_01_00000000.wav,0\neval_data\\fan\\test\\id_01_00000001.wav,Abnormal,\n",
        "fan,\nid_01_00000000.wav,normal_id_01_00000000.wav\nid_01_00000001.wav,anomaly_id_01_00000000.wav\n",
    ],
    ids=["words", "digits", "paths", "list-without-digits"],
)
def test_plain_lists_are_read(tmp_path: Path, text: str):
    dataset = open_dataset(withheld(tmp_path, "fan"), labels=written(tmp_path, text))
    assert list(labels_of(dataset).values()) == ["normal", "anomalous"]


def test_a_plain_name_that_two_types_have_is_refused(tmp_path: Path):
    labels = written(tmp_path, "id_01_00000000.wav,0\n")
    with pytest.raises(TrainingDataError, match="both fan and pump have one"):
        open_dataset(withheld(tmp_path, "fan", "pump"), labels=labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id_01_00000000.wav,perhaps\n", r"line 1: .* neither"),
        ("fan\nid_01_00000000.wav,normal_id_01_00000000.wav,1\n", r"line 2: .* neither"),
        ("id_01_00000000.wav,0\nid_01_00000000.wav,1\n", "has two labels"),
        ("pump/test/id_01_00000000.wav,0\n", "no label in it"),
        ("", "no label in it"),
    ],
    ids=["unknown-word", "contradiction", "two-labels", "other-type", "empty"],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(TrainingDataError, match=message):
        open_dataset(withheld(tmp_path, "fan"), labels=written(tmp_path, text))


def test_a_folder_of_ground_truth_is_read(tmp_path: Path):
    for name in ("section_03_source_test_0000", "section_03_target_test_0000"):
        folder = tmp_path / "data" / "fan" / name.split("_")[2].join(("", "_test"))
        folder.mkdir(parents=True)
        (folder / f"{name}.wav").touch()
    truth = tmp_path / "ground_truth_data"
    written(truth, "section_03_source_test_0000.wav,0\n", "ground_truth_fan_section_03_source_test.csv")
    written(truth, "section_03_target_test_0000.wav,1\n", "ground_truth_fan_section_03_target_test.csv")
    written(truth, "section_03_target_test_0000.wav,0\n", "ground_truth_pump_section_03_target_test.csv")
    assert list(labels_of(open_dataset(tmp_path / "data", labels=truth)).values()) == ["normal", "anomalous"]


def test_domains_are_not_taken_for_labels(tmp_path: Path):
    truth = tmp_path / "ground_truth_domain"
    written(truth, "id_01_00000000.wav,0\n", "ground_truth_fan_section_00_test.csv")
    with pytest.raises(TrainingDataError, match="tells the domains, not the labels"):
        open_dataset(withheld(tmp_path, "fan"), labels=truth)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match=r"nowhere\.csv: cannot be read"):
        open_dataset(withheld(tmp_path, "fan"), labels=tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match=r"no \.csv files of labels"):
        open_dataset(withheld(tmp_path, "fan"), labels=tmp_path / "empty")
