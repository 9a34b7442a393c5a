"""Cache of log-mel frames on disk, so that a recording is decoded and transformed once.

An entry is found by all that determines it: the recording's bytes, the feature spec, the channel and ``CACHE_FORMAT``.
One that is damaged is computed again. Nothing is ever deleted; the folder may be, at any time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

import numpy as np
from pydantic import BaseModel, ConfigDict

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch.durable import write_durably
from humwatch_training.datasets.clip import ArraySource, DataClip
from humwatch_training.datasets.reading import read_log_mel
from humwatch_training.datasets.recordings import sha256_of
from humwatch_training.errors import TrainingDataError

CACHE_FORMAT: Final = 2
"""Version of the entries, raised whenever ``humwatch.audio.features``, ``humwatch.audio.decoding`` or the form of an
entry gives other numbers than before."""

_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class CacheKey(BaseModel):
    """All that determines the frames of a clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content_sha256: str
    spec: FeatureSpec
    channel: int
    cache_format: int = CACHE_FORMAT

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the key's JSON."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def default_cache_folder(environment: Mapping[str, str]) -> Path:
    """Return ``$XDG_CACHE_HOME/humwatch``, or ``~/.cache/humwatch`` where that is unset or not absolute."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "humwatch"


class FeatureCache:
    """Cache of clips' frames in a folder, which is made when there is something to keep.

    An entry is a ``.npy`` file, float32 (frames, n_mels) in dB, with the SHA-256 of its bytes behind it. Processes may
    share the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_mel(self, clip: DataClip, spec: FeatureSpec, channel: int = 0, *, min_frames: int = 1) -> Float32:
        """Return the frames of ``read_log_mel``, float32 (frames, n_mels) in dB, and raise its errors.

        Log-mel arrays are passed through: they are features already. TrainingDataError also where the folder cannot be
        written.
        """
        if isinstance(clip.source, ArraySource):
            return read_log_mel(clip, spec, channel, min_frames=min_frames)
        entry = self._entry(CacheKey(content_sha256=sha256_of(clip.source.path), spec=spec, channel=channel))
        frames_db = _read(entry, spec)
        if frames_db is None or len(frames_db) < min_frames:  # too short: let the reader say so in its words
            frames_db = read_log_mel(clip, spec, channel, min_frames=min_frames)
            self._keep(entry, frames_db)
        return frames_db

    def _entry(self, key: CacheKey) -> Path:
        digest = key.digest()
        return self.folder / digest[:2] / f"{digest}.npy"

    def _keep(self, entry: Path, frames_db: Float32) -> None:
        content = _packed(frames_db)
        beside = entry.with_name(f".{entry.name}.{uuid4().hex}.writing")  # others may write the same entry
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_durably(beside, lambda file: file.write(content))
            beside.replace(entry)
        except OSError as error:
            raise TrainingDataError(f"{self.folder}: the feature cache cannot be written: {error}") from error


def _packed(frames_db: Float32) -> bytes:
    stream: BinaryIO = io.BytesIO()
    np.save(stream, frames_db, allow_pickle=False)
    stream.seek(0)
    array = stream.read()
    return array + hashlib.sha256(array).digest()


def _read(entry: Path, spec: FeatureSpec) -> Float32 | None:
    """Return an entry's frames; None where there is no entry, or not a sound one."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    array, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(array).digest() != digest:
        return None
    frames_db = np.load(io.BytesIO(array), allow_pickle=False)
    if frames_db.dtype != np.float32 or frames_db.ndim != 2 or frames_db.shape[1] != spec.n_mels:
        return None
    frames: Float32 = frames_db
    return frames
