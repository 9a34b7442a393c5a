"""Recordings as files: the names that they have, where they lie, and their digests."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".wav", ".flac")

_DIGITS: Final = re.compile(r"([0-9]+)")


def is_audio_file(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a recording, in small or capital letters."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in a folder and all folders under it, in natural order."""
    return sorted((path for path in folder.rglob("*") if is_audio_file(path)), key=natural_order)


def natural_order(path: Path) -> tuple[tuple[tuple[str, int, str], ...], ...]:
    """Return the key that sorts paths as people do: numbers in a name by their value, ``rec_2`` before ``rec_10``."""
    return tuple(_natural_name(part) for part in path.parts)


def _natural_name(name: str) -> tuple[tuple[str, int, str], ...]:
    """Return the key of a name: text and numbers by turns, each as (text, number, digits as they were written)."""
    pieces = _DIGITS.split(name)
    return tuple(("", int(piece), piece) if index % 2 else (piece, -1, "") for index, piece in enumerate(pieces))


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
