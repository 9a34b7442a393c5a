"""DCASE 2020 Task 2: ``<type>/train`` and ``<type>/test`` with ``normal_id_00_00000000.wav``.

The root may be one type's folder, a folder of types, or one that holds several of these (``dev_data`` and
``eval_data``). The evaluation set's machines are those whose folders name it, whose test clips have no label, or whose
ids were published as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from humwatch_training.datasets.clip import DataClip, FileSource, Group, PartName
from humwatch_training.datasets.layout import audio_files, first_audio_file, folders_named, group_by_folder, name_of
from humwatch_training.datasets.names import ClipName, of_2020
from humwatch_training.errors import TrainingDataError

LOOKED_FOR = "<type>/train or <type>/test with files like normal_id_00_00000000.wav"

_PARTS: dict[str, PartName] = {"train": "train", "test": "test"}
_EVAL_IDS = {
    **dict.fromkeys(("fan", "pump", "slider", "valve"), frozenset({"id_01", "id_03", "id_05"})),
    "ToyCar": frozenset({"id_05", "id_06", "id_07"}),
    "ToyConveyor": frozenset({"id_04", "id_05", "id_06"}),
}


def found_in(root: Path) -> bool:
    """Return whether the first recording of a part's folder is named as in 2020."""
    firsts = (first_audio_file(folder) for folder in folders_named(root, _PARTS))
    return any(of_2020(file.stem) for file in firsts if file is not None)


def read_clips(root: Path) -> list[DataClip]:
    """Return all clips.

    Raises TrainingDataError, with the recording, for a name that is not understood.
    """
    named = [(file, _name_of_clip(file)) for file in _files(root)]
    withheld = {(_type_of(file), name.machine_id) for file, name in named if name.label is None}
    return [_clip(root, file, name, withheld) for file, name in named]


def _files(root: Path) -> Iterator[Path]:
    for folder in folders_named(root, _PARTS):
        yield from audio_files(folder)


def _type_of(file: Path) -> str:
    return file.parent.parent.name


def _name_of_clip(file: Path) -> ClipName:
    name = of_2020(file.stem)
    if name is None:
        raise TrainingDataError(f"{file}: is not named as in DCASE 2020 Task 2 (normal_id_00_00000000.wav)")
    if file.parent.name == "train" and name.label != "normal":
        raise TrainingDataError(f"{file}: is in a train folder and its name does not say that it is normal")
    return name


def _clip(root: Path, file: Path, name: ClipName, withheld: set[tuple[str, str]]) -> DataClip:
    machine = (_type_of(file), name.machine_id)
    return DataClip(
        name=name_of(root, file),
        machine_type=machine[0],
        machine_id=machine[1],
        split=_PARTS[file.parent.name],
        label=name.label,
        group=group_by_folder(file.parent, root) or _published_group(machine, machine in withheld),
        source=FileSource(path=file),
    )


def _published_group(machine: tuple[str, str], is_withheld: bool) -> Group:
    return "eval" if is_withheld or machine[1] in _EVAL_IDS.get(machine[0], frozenset()) else "dev"
