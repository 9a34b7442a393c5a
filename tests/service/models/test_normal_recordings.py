from __future__ import annotations

from pathlib import Path

import pytest

from humwatch_service.errors import FileUnreadable, RecordingNotNormal
from humwatch_service.models.normal_recordings import normal_recordings


def written(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"some sound")


def test_folders_are_searched_and_each_file_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "normal"
    written(*(folder / name for name in ("b.WAV", "a.flac", "notes.txt", "deeper/c.wav")))
    found = normal_recordings([folder, folder / "a.flac"])
    assert [path.name for path in found.recordings] == ["a.flac", "b.WAV", "c.wav"]
    assert found.remark == f"1 file is no recording and was left out: {folder / 'notes.txt'}"


@pytest.mark.parametrize(
    "name",
    [
        "abnormal/1.wav",
        "anomaly_id_00.wav",
        "x/test-anomalous-3.flac",
        "normal_and_abnormal/1.wav",
        "section_00_source_test_anomaly_0001_f-n_A.wav",
        "Abnormal 2/1.wav",
    ],
)
def test_what_is_labelled_as_not_normal_is_refused_below_the_folder(tmp_path: Path, name: str) -> None:
    written(tmp_path / name, tmp_path / "1.wav")
    with pytest.raises(RecordingNotNormal, match=r"1 of 2 recordings are not normal: .*--ignore-names"):
        normal_recordings([tmp_path])
    assert len(normal_recordings([tmp_path], ignore_names=True).recordings) == 2


@pytest.mark.parametrize("given", ["fan/abnormal", "fan/abnormal/1.wav", "fan/anomaly_02"])
def test_a_folder_whose_whole_name_is_a_label_is_refused(tmp_path: Path, given: str) -> None:
    written(tmp_path / "fan" / "abnormal" / "1.wav", tmp_path / "fan" / "anomaly_02" / "1.wav")
    with pytest.raises(RecordingNotNormal):
        normal_recordings([tmp_path / given])


@pytest.mark.parametrize(
    "name",
    [
        "anomaly-detection/1.wav",
        "anomaly_detection_2026/mic 1/1.wav",
        "abnormality/1.wav",
        "no-anomaly/1.wav",
        "line 3/no_abnormal_noise.wav",
        "fan anomaly project/1.wav",
    ],
)
def test_a_project_may_be_called_what_it_likes(tmp_path: Path, name: str) -> None:
    written(tmp_path / name)
    top = tmp_path / Path(name).parts[0]
    assert normal_recordings([top]).recordings == [tmp_path / name]


def test_the_folders_above_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "anomaly" / "normal" / "1.wav"
    written(path)
    assert normal_recordings([path]).recordings == [path]
    assert normal_recordings([path.parent]).recordings == [path]


@pytest.mark.parametrize("name", ["nothing", "empty", "junk", "empty.wav"])
def test_nothing_to_hear_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "._a.wav").write_bytes(b"\x00\x05\x16\x07")
    with pytest.raises(FileUnreadable, match=name):
        normal_recordings([tmp_path / name])
