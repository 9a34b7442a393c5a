"""Search for normal recordings, and their split into train, calibration and test by recording."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from humwatch.audio.files import LOSSLESS_SUFFIXES, audio_files, sha256_of_file
from humwatch.bundle.bundle import digest_of
from humwatch_training.errors import TrainingDataError

Part = Literal["train", "calibration", "test"]
PARTS: tuple[Part, ...] = ("train", "calibration", "test")


class SplitFractions(BaseModel):
    """Shares of the recordings for training, for calibration and for testing; they sum to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(default=0.4, gt=0, le=1)
    calibration: float = Field(default=0.4, ge=0, le=1)
    test: float = Field(default=0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.calibration + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the split's fractions sum to {total:g}, not to 1")
        return self


class RecordingEntry(BaseModel):
    """One recording: its path relative to the data, with forward slashes, and the SHA-256 of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str


class Split(BaseModel):
    """Recordings for training, calibration and testing; ``split.json`` of a run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[RecordingEntry, ...]
    calibration: tuple[RecordingEntry, ...]
    test: tuple[RecordingEntry, ...]

    def digest(self) -> str:
        """Return the data digest: SHA-256 (hex) over the train files' sorted digests."""
        return digest_of([entry.sha256 for entry in self.train])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON of ``model_dump_json``; raise TrainingDataError for any other text."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise TrainingDataError(f"not a split of recordings: {error.errors()[0]['msg']}") from error


def find_recordings(roots: Sequence[Path]) -> dict[str, Path]:
    """Return the normal recordings under ``roots``, relative path to file, sorted by relative path.

    A root is a folder of normal WAV or FLAC files at any depth, one such file, or MIMII's layout: a folder with
    a ``normal`` folder in it (``.../fan/id_00``) or the parent of such folders (``.../fan``), of which only ``normal``
    is taken. Paths are relative to the roots' common parent. Raises TrainingDataError where there is nothing, or
    where the name of a recording is not that of a normal one.
    """
    if not roots:
        raise TrainingDataError("no folder of recordings was given")
    folders = [root if root.is_dir() else root.parent for root in roots]
    base = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    found: dict[Path, str] = {}
    for root in roots:
        files = list(_audio_files(root))
        if not files:
            raise TrainingDataError(f"{root}: no .wav or .flac or other lossless recordings of normal sound there")
        for file in files:
            _refuse_anomalous(file)
            found.setdefault(file.resolve(), file.absolute().relative_to(base).as_posix())
    return dict(sorted((name, file) for file, name in found.items()))


def _audio_files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise TrainingDataError(f"{root}: no such file or folder")
    for folder in _normal_folders(root) or [root]:
        yield from (file for file in audio_files(folder) if file.suffix.lower() in LOSSLESS_SUFFIXES)


def _normal_folders(root: Path) -> list[Path]:
    """Return the ``normal`` folders of MIMII's layout; empty for a plain folder."""
    candidates = [root / "normal", *(child / "normal" for child in sorted(root.iterdir()))]
    return [folder for folder in candidates if folder.is_dir()]


def _refuse_anomalous(file: Path) -> None:
    for path in (file.absolute(), file.resolve()):  # a link may have an innocent name
        if any(part.lower() == "abnormal" for part in path.parts) or path.name.lower().startswith("anomaly"):
            raise TrainingDataError(
                f"{file}: its name says that it is not normal sound; training takes normal sound only"
            )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex; raise TrainingDataError where it cannot be read."""
    try:
        return sha256_of_file(file)
    except OSError as error:
        raise TrainingDataError(f"{file}: {error.strerror}") from error


def split_recordings(files: dict[str, Path], fractions: SplitFractions, seed: int) -> Split:
    """Divide recordings (relative path to file) by a seeded shuffle, never by window or channel.

    Files of the same content stay together. Every part with a fraction above 0 gets at least one recording;
    TrainingDataError where there are too few for that.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(files):
        groups.setdefault(sha256_of(files[name]), []).append(name)
    digests = list(groups)
    order = np.random.default_rng(seed).permutation(len(digests))
    parts = _part_of_each([len(groups[digests[i]]) for i in order], fractions)
    divided: dict[Part, list[RecordingEntry]] = {part: [] for part in PARTS}
    for i, part in zip(order, parts, strict=True):
        divided[part] += [RecordingEntry(path=name, sha256=digests[i]) for name in groups[digests[i]]]
    for part in PARTS:
        if getattr(fractions, part) > 0 and not divided[part]:
            raise TrainingDataError(
                f"{len(digests)} different recordings are too few for a split into "
                f"{fractions.train:g} train, {fractions.calibration:g} calibration, {fractions.test:g} test"
            )
    return Split(**{part: tuple(sorted(divided[part], key=lambda entry: entry.path)) for part in PARTS})


def _part_of_each(sizes: Sequence[int], fractions: SplitFractions) -> list[Part]:
    """Return the part of each group of recordings, in order; a group goes where its first recording falls."""
    total = sum(sizes)
    wanted = [part for part in PARTS if getattr(fractions, part) > 0]
    counts = _counts(total, [getattr(fractions, part) for part in wanted])
    bounds = np.cumsum(counts)
    starts = np.cumsum([0, *sizes[:-1]])
    return [wanted[int(np.searchsorted(bounds, start, side="right"))] for start in starts]


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Return rounded shares of ``total``, each at least 1 where ``total`` allows, that sum to ``total``."""
    counts = [max(1, round(total * share)) for share in shares]
    while surplus := sum(counts) - total:
        change = -1 if surplus > 0 else 1
        # taken from a part of more than one where there is such a part, by distance from the exact share
        candidates = [i for i, count in enumerate(counts) if change > 0 or count > 1] or list(range(len(counts)))
        furthest = max(candidates, key=lambda i: -change * (counts[i] - total * shares[i]))
        counts[furthest] += change
    return counts
