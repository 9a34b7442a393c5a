from pathlib import Path

import pytest

from humwatch_training.datasets import DataSet, open_dataset


def machine(folder: Path, normal: int, abnormal: int, prefix: str = "") -> None:
    for label, count in (("normal", normal), ("abnormal", abnormal)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            (folder / label / f"{prefix}{number:08d}.{'wav' if number % 2 else 'flac'}").touch()


def counts(dataset: DataSet) -> dict[tuple[str, str | None], int]:
    found = [(clip.split, clip.label) for clip in dataset.clips]
    return {key: found.count(key) for key in sorted(set(found), key=str)}


@pytest.mark.parametrize(
    ("normal", "abnormal", "train", "test"), [(10, 3, 7, 3), (10, 9, 5, 5), (5, 5, 3, 2), (1, 1, 1, 0), (4, 0, 4, 0)]
)
def test_as_many_normals_are_tested_as_anomalies_half_at_most(
    tmp_path: Path, normal: int, abnormal: int, train: int, test: int
):
    machine(tmp_path / "fan" / "id_00", normal, abnormal)
    dataset = open_dataset(tmp_path)
    expected = {("test", "anomalous"): abnormal, ("test", "normal"): test, ("train", "normal"): train}
    assert dataset.kind == "mimii"
    assert counts(dataset) == {key: count for key, count in expected.items() if count}


@pytest.mark.parametrize("root", ["", "0_dB", "0_dB/fan", "0_dB/fan/id_00"])
def test_any_level_may_be_the_root_and_the_split_stays(tmp_path: Path, root: str):
    machine(tmp_path / "0_dB" / "fan" / "id_00", 10, 4)
    dataset = open_dataset(tmp_path / root)
    assert dataset.machines == (("fan", "id_00"),)
    assert {clip.attributes["snr"] for clip in dataset.clips} == {"0_dB"}
    train = {clip.name.split("/")[-1] for clip in dataset.clips if clip.split == "train"}
    everything = open_dataset(tmp_path)
    assert train == {clip.name.split("/")[-1] for clip in everything.clips if clip.split == "train"}


def test_a_clip_is_in_one_part_at_every_snr(tmp_path: Path):
    machine(tmp_path / "-6_dB" / "fan" / "id_00", 30, 10)
    machine(tmp_path / "6_dB" / "fan" / "id_00", 30, 10, prefix="6_dB_fan__")
    dataset = open_dataset(tmp_path)
    parts: dict[str, set[str]] = {}
    for clip in dataset.clips:
        if clip.label == "normal":
            parts.setdefault(Path(clip.name).stem.split("__")[-1], set()).add(clip.split)
    assert len(parts) == 30
    assert all(len(found) == 1 for found in parts.values())
    assert counts(dataset)["test", "normal"] == 20
    assert {clip.attributes["snr"] for clip in dataset.clips} == {"-6_dB", "6_dB"}


def test_machines_are_divided_differently(tmp_path: Path):
    for machine_id in ("id_00", "id_02"):
        machine(tmp_path / "fan" / machine_id, 40, 20)
    test = {
        machine_id: {
            Path(clip.name).stem
            for clip in open_dataset(tmp_path / "fan" / machine_id).clips
            if clip.split == "test" and clip.label == "normal"
        }
        for machine_id in ("id_00", "id_02")
    }
    assert test["id_00"] != test["id_02"]


def test_without_a_folder_of_an_snr_there_is_no_such_attribute(tmp_path: Path):
    machine(tmp_path / "data" / "fan" / "id_00", 2, 1)
    assert all(clip.attributes == {} for clip in open_dataset(tmp_path / "data").clips)
