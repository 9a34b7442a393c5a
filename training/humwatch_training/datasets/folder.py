"""Recordings of one machine in a plain folder.

``train`` (normal sound) and ``test`` with ``normal`` and one of ``anomalous``, ``abnormal``, ``anomaly`` in it; or
``normal`` and one of these, divided as MIMII is; or recordings alone, all normal and for training.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from humwatch_training.datasets.clip import DataClip, FileSource, Label, PartName
from humwatch_training.datasets.holdout import held_out
from humwatch_training.datasets.layout import audio_files_below, folders_named, name_of
from humwatch_training.errors import TrainingDataError

LOOKED_FOR = "normal/ and anomalous/ (or abnormal/, anomaly/), train/ and test/, or recordings alone"

_LABELS: dict[str, Label] = {
    "normal": "normal",
    "anomalous": "anomalous",
    "abnormal": "anomalous",
    "anomaly": "anomalous",
}

Entry = tuple[Path, PartName, Label]


def found_in(root: Path) -> bool:
    """Return whether there is a recording at all."""
    return bool(audio_files_below(root))


def read_clips(root: Path, machine_type: str | None, machine_id: str | None) -> list[DataClip]:
    """Return all clips; machine type and id are the folder's name where none is given."""
    divided = list(folders_named(root, {"train", "test"}, depth=1))
    labelled = list(folders_named(root, _LABELS, depth=1))
    if divided:
        entries = _divided(divided)
    elif labelled:
        entries = _held_out(labelled)
    else:
        entries = [(file, "train", "normal") for file in audio_files_below(root)]
        _refuse_test_folders(root, entries)
    _refuse_leaks(root, entries)
    return [
        DataClip(
            name=name_of(root, file),
            machine_type=machine_type or root.name,
            machine_id=machine_id or root.name,
            split=split,
            label=label,
            source=FileSource(path=file),
        )
        for file, split, label in entries
    ]


def _divided(folders: Iterable[Path]) -> list[Entry]:
    entries: list[Entry] = []
    for folder in folders:
        if folder.name == "train":
            entries += [(file, "train", "normal") for file in audio_files_below(folder)]
        else:
            entries += [(file, "test", _label_below(folder, file)) for file in audio_files_below(folder)]
    return entries


def _label_below(test: Path, file: Path) -> Label:
    first = file.relative_to(test).parts[0]
    if first not in _LABELS:
        raise TrainingDataError(f"{file}: test recordings have to be in one of test/{', test/'.join(_LABELS)}")
    return _LABELS[first]


def _held_out(folders: Iterable[Path]) -> list[Entry]:
    files = [
        (name_of(folder, file), file, _LABELS[folder.name]) for folder in folders for file in audio_files_below(folder)
    ]
    normal = [key for key, _, label in files if label == "normal"]
    test = held_out(normal, [key for key, _, label in files if label == "anomalous"], "folder")
    return [(file, "test" if label == "anomalous" or key in test else "train", label) for key, file, label in files]


def _refuse_test_folders(root: Path, entries: Iterable[Entry]) -> None:
    for file, _, _ in entries:
        if {"test", "source_test", "target_test"} & set(file.relative_to(root).parts):
            raise TrainingDataError(f"{file}: is in a test folder; open the folder of one machine, or name the layout")


def _refuse_leaks(root: Path, entries: Iterable[Entry]) -> None:
    """Raise TrainingDataError for train recordings named anomalous, and for one that links lead to from both parts."""
    parts: dict[Path, PartName] = {}
    for file, split, _ in entries:
        resolved = file.resolve()  # a link may have an innocent name
        if split == "train" and (_is_anomalous(file, root) or _is_anomalous(resolved, root)):
            raise TrainingDataError(
                f"{file}: its name says that it is not normal sound; training takes normal sound only"
            )
        if parts.setdefault(resolved, split) != split:
            raise TrainingDataError(f"{file}: is train and test sound at once, through a link")


def _is_anomalous(file: Path, root: Path) -> bool:
    folders = {part.lower() for part in file.parts[:-1]}
    own = {part.lower() for part in (file.relative_to(root).parts[:-1] if file.is_relative_to(root) else ())}
    near = "anomaly" in {*own, file.parent.name.lower()}  # further up it may be the name of somebody's project
    return bool(folders & {"abnormal", "anomalous"}) or near or file.name.lower().startswith("anomal")
