"""Text files as editors and shells of any system leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from humwatch.text_files import MAX_TEXT_BYTES, read_text

TEXT = 'Grüße = "µ"\n# zweite Zeile 测\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-32-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_editors_write_is_read(encoding: str, line_end: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding.endswith("-be") else ""
    file = tmp_path / "file"
    file.write_bytes((mark + TEXT).replace("\n", line_end).encode(encoding))
    assert read_text(file) == TEXT


def test_files_that_were_put_together_have_one_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(2 * "a\r\n".encode("utf-8-sig"))
    assert read_text(tmp_path / "file") == "a\na\n"


def test_an_empty_file_and_a_mark_alone_are_empty(tmp_path: Path) -> None:
    for content in (b"", b"\xef\xbb\xbf", b"\xff\xfe"):
        (tmp_path / "file").write_bytes(content)
        assert read_text(tmp_path / "file") == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a = 1\nname = 'Lüfter'\n".encode("cp1252"), r"not UTF-8 \(line 2, byte 0xfc\): save it as UTF-8"),
        ("key\n".encode("utf-16-le"), "zero bytes, as UTF-16 without a byte order mark has: save it as UTF-8"),
        (b"\xff\xfek\0e", "not UTF-16-LE"),
        (b"a" * (MAX_TEXT_BYTES + 1), "longer than 16 MiB"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_text(tmp_path / "file")
