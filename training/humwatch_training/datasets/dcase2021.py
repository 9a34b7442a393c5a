"""DCASE 2021 to 2025 Task 2: ``<type>/train`` with ``section_00_source_train_normal_0000_<attributes>.wav``.

Test clips are in ``source_test`` and ``target_test`` (2021) or in ``test``. Attributes come from the names, and from
``attributes_<section>.csv`` beside the folders (2022 on). ``supplemental`` (2025: the machine or the noise alone) is
neither train nor test sound and is left out. The evaluation set's machines are those whose folders name it, whose test
clips have no label, or whose sections or types were published as such.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from humwatch.text_files import read_text
from humwatch_training.datasets.clip import DataClip, Domain, FileSource, Group, PartName
from humwatch_training.datasets.layout import audio_files, first_audio_file, folders_named, group_by_folder, name_of
from humwatch_training.datasets.names import ClipName, of_2021
from humwatch_training.errors import TrainingDataError

LOOKED_FOR = "<type>/train, test, source_test or target_test with files like section_00_source_train_normal_0000_*.wav"

_FOLDERS: dict[str, tuple[PartName, Domain | None]] = {
    "train": ("train", None),
    "test": ("test", None),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
}
_EVAL_SECTIONS = {"section_03", "section_04", "section_05"}  # of 2021 and 2022; later sets have section_00 alone
_EVAL_TYPES = {
    *("Vacuum", "ToyTank", "ToyNscale", "ToyDrone", "bandsaw", "grinder", "shaker"),  # 2023
    *("3DPrinter", "AirCompressor", "Scanner", "ToyCircuit", "HoveringDrone"),  # 2024
    *("HairDryer", "ToothBrush", "RoboticArm", "BrushlessMotor"),  # 2024
    *(
        "ToyRCCar",
        "ToyPet",
        "HomeCamera",
        "AutoTrash",
        "Polisher",
        "ScrewFeeder",
        "BandSealer",
        "CoffeeGrinder",
    ),  # 2025
}

Attributes = dict[str, dict[str, str]]
"""Attributes of the clips of one machine type, by file name without its suffix."""


def found_in(root: Path) -> bool:
    """Return whether the first recording of a part's folder is named as in 2021 or later."""
    firsts = (first_audio_file(folder) for folder in folders_named(root, _FOLDERS))
    return any(of_2021(file.stem) for file in firsts if file is not None)


def read_clips(root: Path) -> list[DataClip]:
    """Return all clips.

    Raises TrainingDataError, with the recording, for a name that is not understood.
    """
    folders = list(folders_named(root, _FOLDERS))
    attributes = {folder: read_attributes(folder) for folder in {folder.parent for folder in folders}}
    named = [(file, _name_of_clip(file)) for folder in folders for file in audio_files(folder)]
    withheld = {(_type_of(file), name.machine_id) for file, name in named if name.label is None}
    return [_clip(root, file, name, attributes[file.parent.parent], withheld) for file, name in named]


def _type_of(file: Path) -> str:
    return file.parent.parent.name


def _name_of_clip(file: Path) -> ClipName:
    name = of_2021(file.stem)
    part, domain = _FOLDERS[file.parent.name]
    if name is None:
        raise TrainingDataError(
            f"{file}: is not named as in DCASE 2021 to 2025 Task 2 (section_00_source_train_normal_0000_*.wav)"
        )
    if part == "train" and name.label != "normal":
        raise TrainingDataError(f"{file}: is in a train folder and its name does not say that it is normal")
    if name.part not in (None, part) or (domain is not None and name.domain not in (None, domain)):
        raise TrainingDataError(f"{file}: its name and its folder contradict each other")
    return name


def _clip(root: Path, file: Path, name: ClipName, attributes: Attributes, withheld: set[tuple[str, str]]) -> DataClip:
    part, domain = _FOLDERS[file.parent.name]
    machine = (_type_of(file), name.machine_id)
    return DataClip(
        name=name_of(root, file),
        machine_type=machine[0],
        machine_id=machine[1],
        split=part,
        label=name.label,
        domain=name.domain or domain,
        group=group_by_folder(file.parent, root) or _published_group(machine, machine in withheld),
        attributes=name.attributes | attributes.get(file.stem, {}),
        source=FileSource(path=file),
    )


def _published_group(machine: tuple[str, str], is_withheld: bool) -> Group:
    return "eval" if is_withheld or machine[0] in _EVAL_TYPES or machine[1] in _EVAL_SECTIONS else "dev"


def read_attributes(type_folder: Path) -> Attributes:
    """Read the ``attributes_*.csv`` files of a machine type: columns ``file_name``, ``d1p``, ``d1v``, ``d2p``, ..."""
    return {stem: found for file in sorted(type_folder.glob("attributes_*.csv")) for stem, found in _rows(file)}


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        stream = io.StringIO(read_text(file), newline="")
        rows = list(csv.DictReader(stream, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingDataError(f"{file}: cannot be read as CSV: {error}") from error
    for row in rows:
        if "file_name" not in row:
            raise TrainingDataError(f"{file}: has no column file_name, only {', '.join(map(str, row))}")
        yield PurePosixPath(row["file_name"]).name.removesuffix(".wav"), _pairs(row)


def _pairs(row: dict[str, str]) -> dict[str, str]:
    """Return the names in the columns ``d1p``, ``d2p``, ..., each with the value beside it."""
    keys = {column: row[column] for column in row if column and column.startswith("d") and column.endswith("p")}
    return {key: row.get(f"{column[:-1]}v", "") for column, key in keys.items() if key and key.lower() != "noattribute"}
