"""The sound of a data set's clips, as training and every system get it."""

import hashlib

import numpy as np
import numpy.typing as npt

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets import DataClip, DataSet
from humwatch_training.datasets.feature_cache import FeatureCache

Float32 = npt.NDArray[np.float32]


class ClipReader:
    """Reads log-mel frames of one channel, and knows clips by the digest of their frames."""

    def __init__(self, dataset: DataSet, cache: FeatureCache, *, channel: int = 0, min_frames: int = 5) -> None:
        self.features = dataset.features or FeatureSpec()
        self._cache = cache
        self._channel = channel
        self._min_frames = min_frames
        self._digests: dict[str, str] = {}

    def frames_db(self, clip: DataClip) -> Float32:
        """Return float32 (frames, n_mels) in dB; TrainingDataError where the clip cannot be used."""
        frames_db = self._cache.log_mel(clip, self.features, self._channel, min_frames=self._min_frames)
        self._digests.setdefault(clip.name, hashlib.sha256(np.ascontiguousarray(frames_db).tobytes()).hexdigest())
        return frames_db

    def digest(self, clip: DataClip) -> str:
        """Return the SHA-256 (hex) of the clip's frames; the clip is read where it was not yet."""
        if clip.name not in self._digests:
            self.frames_db(clip)
        return self._digests[clip.name]
