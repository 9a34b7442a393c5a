"""Folders and files of a data set by their names; nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from humwatch.audio.files import LOSSLESS_SUFFIXES
from humwatch_training.datasets.clip import Group

DEPTH = 4
"""Largest number of folders between the root that is given and the recordings' folder."""

_GROUPS: dict[str, Group] = {
    "dev_data": "dev",
    "development": "dev",
    "eval_data": "eval",
    "evaluation": "eval",
    "additional_training": "eval",
}


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in ``folder`` that keep every sample, sorted; hidden ones (``._x.wav``) are left out."""
    return list(_files(folder, LOSSLESS_SUFFIXES))


def first_audio_file(folder: Path) -> Path | None:
    """Return the first of ``audio_files``; None where there is none."""
    return next(_files(folder, LOSSLESS_SUFFIXES), None)


def array_files(folder: Path) -> list[Path]:
    """Return the ``.npz`` files in ``folder``, sorted."""
    return list(_files(folder, (".npz",)))


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    return (folder / name for name in names if name.lower().endswith(suffixes))


def audio_files_below(folder: Path) -> list[Path]:
    """Return the recordings in ``folder`` and in all folders under it, sorted."""
    return sorted([*audio_files(folder), *(file for child in subfolders(folder) for file in audio_files_below(child))])


def folders_named(root: Path, names: Collection[str], depth: int = DEPTH) -> Iterator[Path]:
    """Yield the folders under ``root`` that have one of ``names``; nothing is looked for inside of these."""
    for child in subfolders(root):
        if child.name in names:
            yield child
        elif depth > 1:
            yield from folders_named(child, names, depth - 1)


def name_of(root: Path, file: Path) -> str:
    """Return the path from the root, with forward slashes."""
    return file.relative_to(root).as_posix()


def group_by_folder(folder: Path, root: Path) -> Group | None:
    """Return the group that the folders between the root's parent and ``folder`` name, the innermost first, or None."""
    inside = len(folder.relative_to(root).parts)
    for part in reversed(folder.parts[-(inside + 2) :]):
        if part in _GROUPS:
            return _GROUPS[part]
    return None
