"""Recordings as files: the names that they have, where they lie, and their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".wav", ".flac")


def is_audio_file(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a recording, in small or capital letters."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in a folder and all folders under it, sorted by path."""
    return sorted(path for path in folder.rglob("*") if is_audio_file(path))


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
