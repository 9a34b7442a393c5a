from pathlib import Path

import pytest

from humwatch.audio.files import FoundRecordings, audio_files, find_recordings, natural_order


def test_numbers_in_names_are_sorted_by_their_value():
    names = ["rec_10.wav", "rec_2.wav", "rec_1.wav", "9.wav", "10.wav", "rec_02.wav", "a/10/x.wav", "a/9/x.wav"]

    found = sorted((Path(name) for name in names), key=natural_order)

    assert [str(path) for path in found] == [
        "9.wav",
        "10.wav",
        "a/9/x.wav",
        "a/10/x.wav",
        "rec_1.wav",
        "rec_02.wav",
        "rec_2.wav",
        "rec_10.wav",
    ]


def test_a_folder_is_listed_in_natural_order(tmp_path: Path):
    for name in ("12.wav", "3.flac", "1.wav", "sub/11.WAV", "sub/2.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    found = [str(path.relative_to(tmp_path)) for path in audio_files(tmp_path)]

    assert found == ["1.wav", "3.flac", "12.wav", "sub/2.wav", "sub/11.WAV"]


def test_what_is_no_recording_is_left_out_and_said(tmp_path: Path):
    for name, data in {
        "1.wav": b"RIFF",
        "._1.wav": b"\x00\x05\x16\x07",
        "Mac.wav": b"\x00\x05\x16\x07\x00\x02",
        "2.wav": b"",
        ".hidden.flac": b"fLaC",
        "Thumbs.db": b"x",
        "3.m4a": b"xxxxftyp",
    }.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")

    found = find_recordings([tmp_path])

    assert [path.name for path in found.recordings] == ["1.wav", "3.m4a"]
    assert {path.name for path in found.left_out} == {
        "._1.wav",
        "Mac.wav",
        "2.wav",
        ".hidden.flac",
        "Thumbs.db",
        "gone.wav",
    }
    assert found.remark is not None and found.remark.startswith("6 files are no recordings and were left out: ")
    assert found.remark.endswith(" and 1 more")


def test_what_was_deleted_or_is_the_system_s_is_not_looked_at(tmp_path: Path):
    for name in (".Trashes/501/1.wav", "$RECYCLE.BIN/$R1.wav", "__MACOSX/2.wav", "@eaDir/3.wav", "day 1/4.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"RIFF")

    assert find_recordings([tmp_path]) == FoundRecordings([tmp_path / "day 1" / "4.wav"], [])


def test_what_is_named_is_taken_whatever_its_name_but_not_without_bytes(tmp_path: Path):
    odd, empty = tmp_path / "recording", tmp_path / "empty.wav"
    odd.write_bytes(b"RIFF")
    empty.touch()

    found = find_recordings([odd, empty, tmp_path / "not there.wav"])

    assert found.recordings == [odd, tmp_path / "not there.wav"]
    assert found.left_out == [empty]


def test_links_to_folders_are_followed_once_and_never_for_ever(tmp_path: Path):
    days = tmp_path / "days"
    (days / "monday").mkdir(parents=True)
    (days / "monday" / "1.wav").write_bytes(b"RIFF")
    links = tmp_path / "links"
    links.mkdir()
    (links / "first").symlink_to(days / "monday")
    (links / "again").symlink_to(days)
    (days / "monday" / "round").symlink_to(links)

    assert [path.name for path in audio_files(links)] == ["1.wav"]
    assert [path.name for path in find_recordings([days]).recordings] == ["1.wav"]


def test_a_recording_that_cannot_be_opened_is_no_junk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "1.wav").write_bytes(b"RIFF")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert find_recordings([tmp_path]).recordings == [tmp_path / "1.wav"]
