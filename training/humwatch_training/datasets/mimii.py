"""MIMII: ``<SNR>/<type>/<id>/normal`` and ``abnormal``; any of these levels may be the root.

The set has no split: as many normal clips as there are abnormal ones are for testing, half of the normals at most. The
same clip mixed at several SNRs is one clip here, so that it is never train sound at one SNR and test sound at another.
"""

from __future__ import annotations

import re
from pathlib import Path

from humwatch_training.datasets.clip import DataClip, FileSource, Label
from humwatch_training.datasets.holdout import held_out
from humwatch_training.datasets.layout import audio_files, folders_named, name_of

LOOKED_FOR = "<type>/id_00/normal or abnormal with .wav or .flac files"

_LABELS: dict[str, Label] = {"normal": "normal", "abnormal": "anomalous"}
_MACHINE = re.compile(r"id_\d{2}")
_SNR = re.compile(r"(?:-|min|minus)?\d+_?dB")
_SNR_IN_NAME = re.compile(r"^(?:-|min|minus)?\d+_?dB_[A-Za-z]+_+")


def found_in(root: Path) -> bool:
    """Return whether a folder of a machine's id has ``normal`` or ``abnormal`` in it."""
    return any(_MACHINE.fullmatch(folder.parent.name) for folder in folders_named(root, _LABELS))


def read_clips(root: Path) -> list[DataClip]:
    """Return all clips, divided."""
    machines: dict[tuple[str, str], list[Path]] = {}
    for folder in folders_named(root, _LABELS):
        if _MACHINE.fullmatch(folder.parent.name):
            machine = (folder.parent.parent.name, folder.parent.name)
            machines.setdefault(machine, []).extend(audio_files(folder))
    return [clip for machine, files in machines.items() for clip in _clips(root, machine, files)]


def _clips(root: Path, machine: tuple[str, str], files: list[Path]) -> list[DataClip]:
    keys = {label: {_key(file) for file in files if _LABELS[file.parent.name] == label} for label in _LABELS.values()}
    test = held_out(keys["normal"], keys["anomalous"], "/".join(machine))
    return [_clip(root, machine, file, test) for file in files]


def _key(file: Path) -> str:
    """Return a clip's name that is the same at every SNR.

    Some copies of the set begin the name with the SNR and the type.
    """
    return _SNR_IN_NAME.sub("", file.stem)


def _clip(root: Path, machine: tuple[str, str], file: Path, test: frozenset[str]) -> DataClip:
    label = _LABELS[file.parent.name]
    snr = file.parents[3].name
    return DataClip(
        name=name_of(root, file),
        machine_type=machine[0],
        machine_id=machine[1],
        split="test" if label == "anomalous" or _key(file) in test else "train",
        label=label,
        attributes={"snr": snr} if _SNR.fullmatch(snr) else {},
        source=FileSource(path=file),
    )
