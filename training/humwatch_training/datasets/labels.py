"""Published labels of evaluation clips, from files that the user gives."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from humwatch.audio.files import SUFFIXES
from humwatch.text_files import read_text
from humwatch_training.datasets import names
from humwatch_training.datasets.clip import DataClip, Domain, Label
from humwatch_training.errors import TrainingDataError

_WORDS: dict[str, Label] = {
    "0": "normal",
    "normal": "normal",
    "1": "anomalous",
    "anomalous": "anomalous",
    "abnormal": "anomalous",
    "anomaly": "anomalous",
}
_HEADINGS = {"filename", "file_name", "file", "name"}
_PER_MACHINE = re.compile(r"ground_truth_(.+)_section_\d{2}(?:_(?:source|target))?_test")
_NO_TYPES = {"test", "source_test", "target_test", "dev_data", "eval_data", "development", "evaluation", "raw", "."}


@dataclass(frozen=True)
class Truth:
    """Published label of one clip."""

    label: Label
    domain: Domain | None = None
    attributes: dict[str, str] = field(default_factory=dict)


Truths = dict[tuple[str | None, str], Truth]
"""Published labels by machine type (None where the file does not name one) and file name without its suffix."""


def read_labels(path: Path) -> Truths:
    """Read labels from one CSV file, or from a folder of ``ground_truth_<type>_section_<nn>_test.csv`` files.

    A file is the list of the organisers (``eval_data_list.csv``: a line with the machine type, then lines of name,
    labelled name and, in 2020, 0 or 1), or plain ``filename,label`` lines, where the name may be a path with the
    machine type in it. TrainingDataError names the line that is neither.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise TrainingDataError(f"{path}: no .csv files of labels there")
    truths: Truths = {}
    for file in files:
        for key, truth in _read_file(file):
            if truths.setdefault(key, truth).label != truth.label:
                raise TrainingDataError(f"{file}: {key[1]} has two labels; say of which machine type each is")
    return truths


def _read_file(file: Path) -> Iterator[tuple[tuple[str | None, str], Truth]]:
    if "ground_truth_domain" in (file.parent.name, file.stem):
        raise TrainingDataError(f"{file}: tells the domains, not the labels; those are in ground_truth_data")
    per_machine = _PER_MACHINE.fullmatch(file.stem)
    machine_type = per_machine[1] if per_machine else None
    for number, cells in _rows(file):
        if number == 1 and cells[0].lower() in _HEADINGS:
            continue
        if len(cells) == 1:
            machine_type = cells[0]
            continue
        truth = _truth(cells)
        if truth is None:
            raise TrainingDataError(
                f"{file}, line {number}: {','.join(cells)!r} is neither a machine type, nor name,labelled name[,0|1],"
                f" nor name,label with a label of {', '.join(_WORDS)}"
            )
        yield _key(cells[0], machine_type), truth


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and cells without the empty ones at the end, of lines that are not empty."""
    try:
        stream = io.StringIO(read_text(file), newline="")
        lines = list(csv.reader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingDataError(f"{file}: cannot be read as CSV: {error}") from error
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield number, cells


def _truth(cells: list[str]) -> Truth | None:
    stem = cells[1].removesuffix(".wav")
    named = names.of_2020(stem) or names.of_2021(stem)
    label = _WORDS.get(cells[-1].lower()) or (named.label if named else None)
    if label is None or (named is not None and named.label not in (None, label)):
        return None
    return Truth(label, named.domain, named.attributes) if named else Truth(label)


def _key(cell: str, machine_type: str | None) -> tuple[str | None, str]:
    path = PurePosixPath(cell.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    in_path = [part for part in path.parts[:-1] if part not in _NO_TYPES]
    return (in_path[-1] if in_path else machine_type, stem)


def with_labels(clips: Iterable[DataClip], truths: Truths, path: Path) -> list[DataClip]:
    """Return the clips, with the label in ``truths`` where they have none.

    TrainingDataError where no label is of any clip, or where a label without a machine type could be of several.
    """
    given, used, types = list(clips), 0, dict[str, str]()
    for i, clip in enumerate(given):
        stem = PurePosixPath(clip.name).stem
        truth = truths.get((clip.machine_type, stem))
        if clip.label is not None or (truth is None and (None, stem) not in truths):
            continue
        if truth is None:
            truth = truths[None, stem]
            _refuse_ambiguous(types.setdefault(stem, clip.machine_type), clip, path)
        given[i] = _labelled(clip, truth)
        used += 1
    if not used:
        raise TrainingDataError(f"{path}: no label in it is of a clip without one")
    return given


def _refuse_ambiguous(other_type: str, clip: DataClip, path: Path) -> None:
    if other_type != clip.machine_type:
        raise TrainingDataError(
            f"{path}: does not say of which machine type {PurePosixPath(clip.name).name} is,"
            f" and both {other_type} and {clip.machine_type} have one"
        )


def _labelled(clip: DataClip, truth: Truth) -> DataClip:
    return clip.model_copy(
        update={
            "label": truth.label,
            "domain": clip.domain or truth.domain,
            "attributes": {**truth.attributes, **clip.attributes},
        }
    )
