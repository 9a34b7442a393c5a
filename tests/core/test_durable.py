from __future__ import annotations

import errno
from pathlib import Path
from typing import BinaryIO

import pytest

from humwatch.durable import replace_durably


def test_a_disk_that_fills_up_is_not_left_full(tmp_path: Path) -> None:
    place = tmp_path / "sound.flac"
    replace_durably(place, lambda file: file.write(b"old"))

    def fill(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_durably(place, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["sound.flac"]
    assert place.read_bytes() == b"old"
