"""Log-mel frames of a data set's clips, as training and every system get them."""

from __future__ import annotations

import hashlib

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets import DataClip, DataSet
from humwatch_training.datasets.feature_cache import FeatureCache


class ClipReader:
    """Reader of one channel's log-mel frames, with the digest of each clip's frames."""

    def __init__(self, dataset: DataSet, cache: FeatureCache, *, channel: int = 0, min_frames: int = 5) -> None:
        self.features = dataset.features or FeatureSpec()
        self._cache = cache
        self._channel = channel
        self._min_frames = min_frames
        self._digests: dict[str, str] = {}

    def frames_db(self, clip: DataClip) -> Float32:
        """Return a clip's frames, float32 (frames, n_mels) in dB; raise TrainingDataError where it cannot be used."""
        frames_db = self._cache.log_mel(clip, self.features, self._channel, min_frames=self._min_frames)
        self._digests.setdefault(clip.name, hashlib.sha256(np.ascontiguousarray(frames_db).tobytes()).hexdigest())
        return frames_db

    def digest(self, clip: DataClip) -> str:
        """Return the SHA-256 (hex) of the clip's frames; the clip is read where it was not yet."""
        if clip.name not in self._digests:
            self.frames_db(clip)
        return self._digests[clip.name]
