from pathlib import Path

from humwatch.audio.files import audio_files, natural_order


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
