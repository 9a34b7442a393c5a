"""Recordings as files: the names that they have, where they lie, what is none of them, and their digests."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOSSLESS_SUFFIXES: Final = (
    *(".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64"),
    *(".flac", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)
"""Names of recordings that keep every sample; networks are trained on no others."""

CODED_SUFFIXES: Final = (
    *(".mp3", ".ogg", ".oga", ".opus"),
    *(".m4a", ".aac", ".3gp", ".amr", ".awb", ".wma", ".mka"),
)
"""Those of the second line need the extra ``codecs``."""

SUFFIXES: Final = (*LOSSLESS_SUFFIXES, *CODED_SUFFIXES)

_APPLE_DOUBLE: Final = (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00")
"""First bytes of what a Mac writes beside a file on a card or a share: its icon and comments."""

_DIGITS: Final = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class FoundRecordings:
    """Recordings that were found, in natural order, and the files beside them that are none."""

    recordings: list[Path]
    left_out: list[Path]

    @property
    def remark(self) -> str | None:
        """Sentence about the files that were left out; None when there are none."""
        if not self.left_out:
            return None
        files = "1 file is no recording and was" if len(self.left_out) == 1 else None
        files = files or f"{len(self.left_out)} files are no recordings and were"
        return f"{files} left out: {some_of(self.left_out)}"


def some_of(things: Sequence[object], at_most: int = 5) -> str:
    """Return the first of many things in words, and how many more there are."""
    more = "" if len(things) <= at_most else f" and {len(things) - at_most} more"
    return ", ".join(str(thing) for thing in things[:at_most]) + more


def is_audio_file(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a recording, in small or capital letters, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def is_system_folder(name: str) -> bool:
    """Return whether a folder is one that systems keep for themselves (``.Trashes``, ``$RECYCLE.BIN``), or hidden."""
    return name.startswith((".", "$", "@", "#")) or name in ("lost+found", "System Volume Information", "__MACOSX")


def is_junk(path: Path) -> bool:
    """Return whether a file has no bytes, or is what a Mac writes beside a recording; not one that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    return not head or head in _APPLE_DOUBLE


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in a folder and all folders under it, by their names and in natural order."""
    return sorted(filter(is_audio_file, _files_below(folder)), key=natural_order)


def find_recordings(paths: Iterable[Path]) -> FoundRecordings:
    """Find recordings among files and folders; what is junk inside, and what is none by its name, is left out.

    Folders are searched with all folders under them and links to folders, each once. Files that are named are taken
    whatever their names.

    Raises:
        OSError: a folder cannot be read.
    """
    recordings: list[Path] = []
    left_out: list[Path] = []
    for path in paths:
        if path.is_dir():
            for file in sorted(_files_below(path), key=natural_order):
                (recordings if is_audio_file(file) and not is_junk(file) else left_out).append(file)
        else:
            (left_out if path.is_file() and is_junk(path) else recordings).append(path)
    return FoundRecordings(recordings, left_out)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those under it but the system's; a folder with several links once."""

    def refuse(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_system_folder(name))
        yield from (Path(where, name) for name in names)


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
