"""Clips kept as log-mel spectrograms: one ``.npz`` file a machine, as ``id_01.npz``.

Arrays: ``logmel_db_q`` uint8 (clips, frames, mels), in dB ``q * 0.4 - 90``, or ``logmel_db`` float (clips, frames,
mels) in dB; ``role`` (clips,): 0 normal for training, 1 normal for testing, 2 anomalous for testing; and, if there is
one, ``name`` (clips,). They are taken to come from the default front end (``FeatureSpec``) with their number of bands.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from humwatch.arrays import AnyArray, Float32
from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets.clip import ArraySource, DataClip, Label, PartName
from humwatch_training.datasets.layout import array_files
from humwatch_training.errors import TrainingDataError

LOOKED_FOR = ".npz files with logmel_db_q or logmel_db, and role"

STEP_DB = 0.4
OFFSET_DB = -90.0

_QUANTISED = "logmel_db_q"
_FRAMES: dict[str, type[np.generic]] = {_QUANTISED: np.uint8, "logmel_db": np.floating}
_ROLES: dict[int, tuple[PartName, Label]] = {0: ("train", "normal"), 1: ("test", "normal"), 2: ("test", "anomalous")}


def found_in(root: Path) -> bool:
    """Return whether there are array files."""
    return bool(_files(root))


def read_clips(root: Path, machine_type: str | None) -> tuple[list[DataClip], FeatureSpec]:
    """Return all clips and their front end; the machine type is the folder's name where none is given."""
    machine_type = machine_type or (root if root.is_dir() else root.parent).name.removesuffix("_logmel")
    shapes = {file: _frames_key_and_shape(file)[1] for file in _files(root)}
    bands = {shape[2] for shape in shapes.values()}
    if len(bands) > 1:
        raise TrainingDataError(f"{root}: the files have different numbers of mel bands: {sorted(bands)}")
    clips = [clip for file, shape in shapes.items() for clip in _clips(file, shape[0], machine_type)]
    return clips, FeatureSpec(n_mels=bands.pop()) if bands else FeatureSpec()


def frames_db(source: ArraySource) -> Float32:
    """Return one clip, float32 (frames, n_mels) in dB."""
    with _named_errors(source.path):
        key, frames = _frames(source.path, source.path.stat().st_mtime_ns)
        values: Float32 = frames[source.index].astype(np.float32)
    if key == _QUANTISED:
        values = values * np.float32(STEP_DB) + np.float32(OFFSET_DB)
    return values


def _files(root: Path) -> list[Path]:
    return array_files(root) if root.is_dir() else [file for file in [root] if file.suffix == ".npz"]


def _clips(file: Path, count: int, machine_type: str) -> Iterator[DataClip]:
    arrays = _load(file, {"role", "name"})
    roles = arrays["role"] if "role" in arrays else np.zeros(0)
    names = arrays.get("name", np.array([f"{i:08d}" for i in range(count)]))
    if roles.shape != (count,) or names.shape != (count,) or not set(roles.tolist()) <= set(_ROLES):
        raise TrainingDataError(f"{file}: role (0, 1 or 2) and name have to be one for each of the {count} clips")
    for index, (role, name) in enumerate(zip(roles.tolist(), names.tolist(), strict=True)):
        split, label = _ROLES[role]
        if label == "normal" and str(name).startswith("anomal"):
            raise TrainingDataError(f"{file}: {name} has role {role}, which is for normal sound")
        yield DataClip(
            name=f"{file.stem}/{name}",
            machine_type=machine_type,
            machine_id=file.stem,
            split=split,
            label=label,
            source=ArraySource(path=file, index=index),
        )


def _frames_key_and_shape(file: Path) -> tuple[str, tuple[int, ...]]:
    """Read the headers alone, as the frames of all files may be more than memory holds."""
    with _named_errors(file), zipfile.ZipFile(file) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
        key = next((key for key in _FRAMES if key in keys), None)
        if key is None:
            raise TrainingDataError(f"{file}: has neither {' nor '.join(_FRAMES)}, only {', '.join(keys)}")
        with archive.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
    if len(shape) != 3 or not np.issubdtype(dtype, _FRAMES[key]):
        raise TrainingDataError(f"{file}: {key} is {dtype} {shape}, not {_FRAMES[key].__name__} (clips, frames, mels)")
    return key, shape


def _load(file: Path, keys: Collection[str]) -> dict[str, AnyArray]:
    with _named_errors(file), np.load(file, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files if key in keys}


@lru_cache(maxsize=2)  # clips are read in order, and a file is decompressed whole for each
def _frames(file: Path, _modified_ns: int) -> tuple[str, AnyArray]:
    key, _ = _frames_key_and_shape(file)
    return key, _load(file, {key})[key]


@contextmanager
def _named_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TrainingDataError(f"{file}: cannot be read as .npz arrays: {error}") from error
