"""Recordings for a calibration: found among files and folders, and none that says that it is not normal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final

from humwatch.audio.files import FoundRecordings, some_of
from humwatch_service.errors import FileUnreadable, RecordingNotNormal
from humwatch_service.given_recordings import recordings_in

_LABELS: Final = frozenset({"abnormal", "anomaly", "anomalies", "anomalous"})
"""Words by which data sets label recordings that are not normal, in the names of files and folders."""

_NO_LABEL_BEFORE: Final = frozenset({"no", "non", "not", "without"})
_NO_LABEL_BEHIND: Final = frozenset({"detect", "detection", "detector", "detectors", "detecting", "free", "monitoring"})
"""Beside these the word names a project or says the opposite."""


def normal_recordings(paths: Iterable[Path], *, ignore_names: bool = False) -> FoundRecordings:
    """Find recordings among files and folders (searched with all their subfolders), in order, each once.

    Args:
        paths: files and folders.
        ignore_names: whether recordings are normal whatever their names say.

    Raises:
        FileUnreadable: a path is not there or cannot be read, or no recording is.
        RecordingNotNormal: the name of a file or of a folder labels recordings as not normal.
    """
    given = list(paths)
    for path in given:
        if not path.exists():
            raise FileUnreadable(f"{path} is not there")
    found = recordings_in(given, named_are_taken=False)
    if not ignore_names:
        _check_names(given, found.recordings)
    return FoundRecordings(list(dict.fromkeys(found.recordings)), found.left_out)


def _check_names(given: list[Path], recordings: list[Path]) -> None:
    folders = [path for path in given if path.is_dir()]
    labelled = [path for path in recordings if _is_labelled(path, folders)]
    if labelled:
        raise RecordingNotNormal(
            f"by their names {len(labelled)} of {len(recordings)} recordings are not normal: {some_of(labelled)};"
            " thresholds are fitted to normal sound alone (if they are normal all the same: --ignore-names)"
        )


def _is_labelled(path: Path, folders: list[Path]) -> bool:
    """Return whether a name on the way from the folder that was given is a label, or that folder's whole name."""
    root = next((folder for folder in folders if path.is_relative_to(folder)), path.parent)
    return any(map(_has_label, path.relative_to(root).parts)) or _words(root.resolve().name) in _WHOLE


def _has_label(name: str) -> bool:
    words = ["", *_words(name), ""]
    return any(
        word in _LABELS and before not in _NO_LABEL_BEFORE and behind not in _NO_LABEL_BEHIND
        for (before, word), (_, behind) in zip(pairwise(words), pairwise(words[1:]), strict=False)
    )


_WHOLE: Final = [[label] for label in sorted(_LABELS)]


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
