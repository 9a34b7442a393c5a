import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from humwatch_training.datasets.recordings import (
    PARTS,
    RecordingEntry,
    Split,
    SplitFractions,
    find_recordings,
    split_recordings,
)
from humwatch_training.errors import TrainingDataError


def touch(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or path.name)
    return path


def numbered(folder: Path, count: int) -> dict[str, Path]:
    return {f"{i:02d}.wav": touch(folder / f"{i:02d}.wav") for i in range(count)}


def parts_of(split: Split) -> dict[str, list[str]]:
    return {part: [entry.path for entry in getattr(split, part)] for part in PARTS}


def test_a_plain_folder_is_searched_at_any_depth(tmp_path: Path):
    for name in ("b.WAV", "deep/er/a.flac", "notes.txt"):
        touch(tmp_path / name)
    assert list(find_recordings([tmp_path])) == ["b.WAV", "deep/er/a.flac"]


@pytest.mark.parametrize(
    ("root", "names"),
    [
        ("fan/id_00", ["normal/0.wav"]),
        ("fan", ["id_00/normal/0.wav", "id_02/normal/0.wav"]),
        ("fan/id_00/normal", ["0.wav"]),
    ],
)
def test_mimiis_layout_gives_normal_sound_only(tmp_path: Path, root: str, names: list[str]):
    for machine in ("id_00", "id_02"):
        touch(tmp_path / "fan" / machine / "normal" / "0.wav")
        touch(tmp_path / "fan" / machine / "abnormal" / "0.wav")
    assert list(find_recordings([tmp_path / root])) == names


@pytest.mark.parametrize("name", ["abnormal/0.wav", "x/Abnormal/0.wav", "anomaly_id_00_1.wav", "normal/anomaly.wav"])
def test_sound_named_anomalous_is_refused(tmp_path: Path, name: str):
    touch(tmp_path / "fine.wav")
    touch(tmp_path / name)
    with pytest.raises(TrainingDataError, match="not normal sound"):
        find_recordings([tmp_path])


def test_an_abnormal_folder_given_as_root_is_refused(tmp_path: Path):
    touch(tmp_path / "abnormal" / "0.wav")
    with pytest.raises(TrainingDataError, match="not normal sound"):
        find_recordings([tmp_path / "abnormal"])


def test_a_link_to_an_anomalous_recording_is_refused(tmp_path: Path):
    hidden = touch(tmp_path / "abnormal" / "0.wav")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.wav").symlink_to(hidden)
    with pytest.raises(TrainingDataError, match="not normal sound"):
        find_recordings([tmp_path / "data"])


def test_several_roots_are_named_from_their_common_parent(tmp_path: Path):
    for folder in ("0_dB", "6_dB"):
        touch(tmp_path / folder / "id_00" / "normal" / "0.wav")
    roots = [tmp_path / "6_dB" / "id_00", tmp_path / "0_dB" / "id_00", tmp_path / "0_dB"]
    assert list(find_recordings(roots)) == ["0_dB/id_00/normal/0.wav", "6_dB/id_00/normal/0.wav"]


def test_a_folder_without_recordings_is_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match=r"silent: no \.wav or \.flac"):
        (tmp_path / "silent").mkdir()
        find_recordings([tmp_path / "silent"])
    with pytest.raises(TrainingDataError, match="missing: no such file or folder"):
        find_recordings([tmp_path / "missing"])


def test_the_default_split_of_twenty_is_8_8_4(tmp_path: Path):
    files = numbered(tmp_path, 20)
    parts = parts_of(split_recordings(files, SplitFractions(), 0))
    assert [len(parts[part]) for part in PARTS] == [8, 8, 4]
    assert sorted(path for paths in parts.values() for path in paths) == sorted(files)


def test_the_split_depends_on_the_seed_and_not_on_the_folder(tmp_path: Path):
    split = split_recordings(numbered(tmp_path / "a", 20), SplitFractions(), 5)
    assert split == split_recordings(dict(reversed(numbered(tmp_path / "b", 20).items())), SplitFractions(), 5)
    assert split != split_recordings(numbered(tmp_path / "a", 20), SplitFractions(), 6)


def test_copies_of_a_recording_stay_in_one_part(tmp_path: Path):
    files = numbered(tmp_path, 6)
    for i in range(6):
        files[f"copy-{i}.wav"] = Path(shutil.copy(files[f"{i:02d}.wav"], tmp_path / f"copy-{i}.wav"))
    for seed in range(20):
        split = split_recordings(files, SplitFractions(), seed)
        digests = [{entry.sha256 for entry in getattr(split, part)} for part in PARTS]
        assert sum(len(part) for part in digests) == 6


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_every_part_gets_a_recording_where_there_are_enough(tmp_path: Path, count: int):
    fractions = SplitFractions(train=0.9, calibration=0.05, test=0.05)
    assert all(parts_of(split_recordings(numbered(tmp_path, count), fractions, 0)).values())


def test_too_few_recordings_are_refused(tmp_path: Path):
    with pytest.raises(TrainingDataError, match="2 different recordings are too few"):
        split_recordings(numbered(tmp_path, 2), SplitFractions(), 0)


def test_a_part_of_nothing_may_be_asked_for(tmp_path: Path):
    parts = parts_of(split_recordings(numbered(tmp_path, 1), SplitFractions(train=1, calibration=0, test=0), 0))
    assert parts == {"train": ["00.wav"], "calibration": [], "test": []}


def test_the_data_digest_is_over_the_sorted_train_digests():
    entries = [RecordingEntry(path=path, sha256=digest) for path, digest in (("a", "ff"), ("b", "00"))]
    split = Split(train=tuple(entries), calibration=(), test=())
    assert split.digest() == hashlib.sha256(b"00\nff").hexdigest()
    assert split.digest() == split.model_copy(update={"train": tuple(reversed(entries))}).digest()


def test_a_split_survives_json_and_nonsense_is_refused(tmp_path: Path):
    split = split_recordings(numbered(tmp_path, 5), SplitFractions(), 0)
    assert Split.from_json(split.model_dump_json()) == split
    with pytest.raises(TrainingDataError, match="not a split"):
        Split.from_json("{}")


def test_digests_are_those_of_the_files(tmp_path: Path, write_sound: Callable[..., Path]):
    file = write_sound(tmp_path / "a.wav", 1)
    split = split_recordings({"a.wav": file}, SplitFractions(train=1, calibration=0, test=0), 0)
    assert split.train[0].sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
