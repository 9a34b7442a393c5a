from pathlib import Path

import pytest

from humwatch_training.datasets import DataClip, open_dataset
from humwatch_training.datasets.names import attributes_of
from humwatch_training.errors import TrainingDataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def clips_of(root: Path, labels: Path | None = None) -> dict[str, DataClip]:
    dataset = open_dataset(root, labels=labels)
    assert dataset.kind == "dcase2021"
    return {clip.name: clip for clip in dataset.clips}


def test_the_layout_of_2021_has_a_folder_for_each_domain(tmp_path: Path):
    touch(
        tmp_path / "fan",
        "train/section_00_source_train_normal_0000_strength_1_ambient.wav",
        "train/section_00_target_train_normal_0002_strength_2_factory.wav",
        "source_test/section_00_source_test_normal_0000.wav",
        "target_test/section_00_target_test_anomaly_0000.wav",
        "train/section_03_source_train_normal_0000_strength_1_ambient.wav",
        "source_test/section_03_source_test_0000.wav",
    )
    clips = clips_of(tmp_path)
    source = clips["fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav"]
    assert (source.machine, source.split, source.label) == (("fan", "section_00"), "train", "normal")
    assert (source.domain, source.group) == ("source", "dev")
    assert source.attributes == {"strength": "1", "ambient": ""}
    anomaly = clips["fan/target_test/section_00_target_test_anomaly_0000.wav"]
    assert (anomaly.split, anomaly.label, anomaly.domain) == ("test", "anomalous", "target")
    withheld = clips["fan/source_test/section_03_source_test_0000.wav"]
    assert (withheld.label, withheld.domain, withheld.group) == (None, "source", "eval")
    assert clips["fan/train/section_03_source_train_normal_0000_strength_1_ambient.wav"].group == "eval"


def test_later_layouts_have_one_test_folder_and_attributes_beside(tmp_path: Path):
    touch(
        tmp_path / "bearing",
        "train/section_00_source_train_normal_0000_vel_6.wav",
        "train/section_00_target_train_normal_0000_noAttribute.wav",
        "test/section_00_target_test_normal_0000_vel_10.wav",
        "supplemental/section_00_machine_0001_.wav",
    )
    (tmp_path / "bearing" / "attributes_00.csv").write_text(
        "file_name,d1p,d1v,d2p,d2v\n"
        "bearing/train/section_00_source_train_normal_0000_vel_6.wav,vel,6,loc,A\n"
        "bearing/train/section_00_target_train_normal_0000_noAttribute.wav,noAttribute\n"
    )
    clips = clips_of(tmp_path)
    assert {name: clip.attributes for name, clip in clips.items()} == {
        "bearing/test/section_00_target_test_normal_0000_vel_10.wav": {"vel": "10"},
        "bearing/train/section_00_source_train_normal_0000_vel_6.wav": {"vel": "6", "loc": "A"},
        "bearing/train/section_00_target_train_normal_0000_noAttribute.wav": {},
    }


def test_an_evaluation_set_gets_label_domain_and_attributes_from_the_list(tmp_path: Path):
    touch(
        tmp_path / "data" / "AutoTrash",
        "train/section_00_source_train_normal_0000_id_A1.wav",
        "test/section_00_0000.wav",
        "test/section_00_test_0001.wav",
    )
    labels = tmp_path / "eval_data_list_2025.csv"
    labels.write_text(
        "AutoTrash\n"
        "section_00_0000.wav,section_00_target_test_anomaly_0012_id_C1_spd_2.wav\n"
        "section_00_test_0001.wav,section_00_source_test_normal_0031_id_B2_spd_1.wav\n"
    )
    assert [clip.label for clip in clips_of(tmp_path / "data").values()] == [None, None, "normal"]
    first, second, train = clips_of(tmp_path / "data", labels).values()
    assert (first.label, first.domain, first.attributes) == ("anomalous", "target", {"id": "C1", "spd": "2"})
    assert (second.label, second.domain) == ("normal", "source")
    assert {first.group, second.group, train.group} == {"eval"}


def test_types_that_were_only_evaluated_are_of_that_group(tmp_path: Path):
    for machine_type in ("ToyCar", "ToyPet"):
        touch(tmp_path / machine_type / "train", "section_00_source_train_normal_0000.wav")
    groups = {clip.machine_type: clip.group for clip in clips_of(tmp_path).values()}
    assert groups == {"ToyCar": "dev", "ToyPet": "eval"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/section_00_source_train_anomaly_0000.wav", "does not say that it is normal"),
        ("train/section_00_0000.wav", "does not say that it is normal"),
        ("train/section_00_source_test_normal_0000.wav", "contradict"),
        ("source_test/section_00_target_test_normal_0000.wav", "contradict"),
        ("train/recording.wav", "is not named as in DCASE 2021"),
    ],
)
def test_names_that_contradict_their_place_are_refused(tmp_path: Path, name: str, message: str):
    touch(tmp_path / "fan", "test/section_00_source_test_normal_0000.wav", name)
    with pytest.raises(TrainingDataError, match=message):
        open_dataset(tmp_path)


def test_an_attribute_file_without_names_is_refused(tmp_path: Path):
    touch(tmp_path / "fan", "train/section_00_source_train_normal_0000.wav")
    (tmp_path / "fan" / "attributes_00.csv").write_text("name,d1p\nx,y\n")
    with pytest.raises(TrainingDataError, match="has no column file_name, only name, d1p"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("", {}),
        ("noAttribute", {}),
        ("vel_300_acc_0.03", {"vel": "300", "acc": "0.03"}),
        ("car_A2_spd_28V_mic_1_noise_1", {"car": "A2", "spd": "28V", "mic": "1", "noise": "1"}),
        ("strength_1_ambient", {"strength": "1", "ambient": ""}),
    ],
)
def test_attributes_are_pairs_of_words(text: str, attributes: dict[str, str]):
    assert attributes_of(text) == attributes


def test_an_attribute_file_that_is_no_text_is_refused(tmp_path: Path):
    touch(tmp_path / "fan", "train/section_00_source_train_normal_0000.wav")
    (tmp_path / "fan" / "attributes_00.csv").write_bytes(b"file_name,d1p\n\xff\xfe,x\n")
    with pytest.raises(TrainingDataError, match=r"attributes_00\.csv: cannot be read as CSV"):
        open_dataset(tmp_path)
