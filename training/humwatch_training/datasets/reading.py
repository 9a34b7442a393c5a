"""Log-mel frames of a data set's clips, by the same path as training and the service."""

from __future__ import annotations

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets import logmel
from humwatch_training.datasets.clip import ArraySource, DataClip
from humwatch_training.datasets.windows import read_clips
from humwatch_training.errors import TrainingDataError


def read_log_mel(clip: DataClip, spec: FeatureSpec, channel: int = 0, *, min_frames: int = 1) -> Float32:
    """Return a clip's frames, float32 (frames, n_mels) in dB, not below the spec's floor.

    Raises TrainingDataError, with the clip's name, for all that training refuses: a missing channel, sound that cannot
    be decoded as its header says, values that are not finite, fewer than ``min_frames`` frames; and for log-mel
    arrays of another front end than ``spec``.
    """
    if isinstance(clip.source, ArraySource):
        return _from_arrays(clip, clip.source, spec, channel, min_frames)
    [read] = read_clips(clip.name, clip.source.path, spec, channel, min_frames)
    return read.frames_db


def _from_arrays(clip: DataClip, source: ArraySource, spec: FeatureSpec, channel: int, min_frames: int) -> Float32:
    if channel != 0:
        raise TrainingDataError(f"{clip.name}: has 1 channel, so there is no channel {channel} (counted from 0)")
    frames_db = logmel.frames_db(source)
    made_by = FeatureSpec(n_mels=frames_db.shape[1], floor_db=spec.floor_db)
    if spec != made_by:
        raise TrainingDataError(f"{clip.name}: log-mel of {_front_end(made_by)}; {_front_end(spec)} was asked for")
    if len(frames_db) < min_frames:
        raise TrainingDataError(f"{clip.name}: {len(frames_db)} frames, shorter than a window of {min_frames}")
    if not np.isfinite(frames_db).all():
        raise TrainingDataError(f"{clip.name}: holds values that are not finite")
    return np.maximum(frames_db, np.float32(spec.floor_db))


def _front_end(spec: FeatureSpec) -> str:
    return (
        f"{spec.n_mels} bands from {spec.low_hz:g} to {spec.high_hz:g} Hz,"
        f" {spec.frame_samples} samples every {spec.hop_samples} at {spec.rate_hz} Hz"
    )
