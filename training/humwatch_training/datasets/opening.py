"""Opening of a data set: its layout and its clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from humwatch_training.datasets import dcase2020, dcase2021, folder, logmel, mimii
from humwatch_training.datasets.dataset import DataSet, DataSetKind
from humwatch_training.datasets.labels import read_labels, with_labels
from humwatch_training.datasets.layout import audio_files, subfolders
from humwatch_training.errors import TrainingDataError

KINDS: tuple[DataSetKind, ...] = get_args(DataSetKind)

_LOOKED_FOR: dict[DataSetKind, str] = {
    "logmel": logmel.LOOKED_FOR,
    "dcase2021": dcase2021.LOOKED_FOR,
    "dcase2020": dcase2020.LOOKED_FOR,
    "mimii": mimii.LOOKED_FOR,
    "folder": folder.LOOKED_FOR,
}
_FOUND_IN: dict[DataSetKind, Callable[[Path], bool]] = {
    "logmel": logmel.found_in,
    "dcase2021": dcase2021.found_in,
    "dcase2020": dcase2020.found_in,
    "mimii": mimii.found_in,
    "folder": folder.found_in,
}


def open_dataset(
    path: Path,
    kind: DataSetKind | Literal["auto"] = "auto",
    *,
    labels: Path | None = None,
    machine_type: str | None = None,
    machine_id: str | None = None,
) -> DataSet:
    """Return the clips under ``path``, read from folder and file names; no sound is opened, nothing is downloaded.

    Args:
        path: folder of the data set or of a part of it (one machine type, one SNR), or one ``.npz`` file of ``logmel``.
        kind: layout of the folder; "auto" finds it out.
        labels: published labels of a DCASE evaluation set, a CSV file or a folder of them.
        machine_type: machine type of a folder or of log-mel arrays, which do not hold it.
        machine_id: machine id of a folder, which does not hold it.

    Raises:
        TrainingDataError: the path is not there or not of that layout, a recording is not named as it should be, or an
            argument is not for this layout.
    """
    root = _root(path)
    found = _kind_of(root) if kind == "auto" else kind
    if kind != "auto" and (not _may_be(root, found) or not _FOUND_IN[found](root)):
        raise TrainingDataError(f"{root}: not a {kind} data set: looked for {_LOOKED_FOR[found]}; {_contents(root)}")
    _refuse_needless(found, labels=labels, machine_type=machine_type, machine_id=machine_id)
    if found == "logmel":
        clips, features = logmel.read_clips(root, machine_type)
        return DataSet.of(found, root, clips, features)
    if found == "folder":
        return DataSet.of(found, root, folder.read_clips(root, machine_type, machine_id))
    if found == "mimii":
        return DataSet.of(found, root, mimii.read_clips(root))
    clips = (dcase2020 if found == "dcase2020" else dcase2021).read_clips(root)
    return DataSet.of(found, root, clips if labels is None else with_labels(clips, read_labels(labels), labels))


def _root(path: Path) -> Path:
    """Return the path in full: the folders above it may name the machine type."""
    root = path.absolute()
    if not root.exists():
        raise TrainingDataError(f"{path}: no such file or folder")
    return root.resolve() if ".." in root.parts else root


def _may_be(root: Path, kind: DataSetKind) -> bool:
    return root.is_dir() or kind == "logmel"


def _kind_of(root: Path) -> DataSetKind:
    possible = [kind for kind in _FOUND_IN if _may_be(root, kind)]
    kinds = [kind for kind in possible if kind != "folder" and _FOUND_IN[kind](root)]
    if len(kinds) > 1:
        raise TrainingDataError(f"{root}: holds {' and '.join(kinds)} data; say which, or open one of its folders")
    if kinds:
        return kinds[0]
    if "folder" in possible and _FOUND_IN["folder"](root):  # every other set has recordings in folders, too
        return "folder"
    looked_for = "".join(f"\n  {kind}: {text}" for kind, text in _LOOKED_FOR.items())
    raise TrainingDataError(f"{root}: no data set found; {_contents(root)}. Looked for{looked_for}")


def _contents(root: Path) -> str:
    """Describe the folder's contents for an error's text."""
    if not root.is_dir():
        return "it is a file"
    folders = [child.name for child in subfolders(root)]
    shown = ", ".join(folders[:8]) + (", ..." if len(folders) > 8 else "")
    return f"found {len(audio_files(root))} .wav or .flac files and {len(folders)} folders" + (
        f" ({shown})" if folders else ""
    )


def _refuse_needless(kind: DataSetKind, **given: object) -> None:
    taken: dict[str, set[str]] = {
        "labels": {"dcase2020", "dcase2021"},
        "machine_type": {"folder", "logmel"},
        "machine_id": {"folder"},
    }
    for argument, value in given.items():
        if value is not None and kind not in taken[argument]:
            raise TrainingDataError(f"{argument.replace('_', ' ')} given for a {kind} data set, whose names say it")
