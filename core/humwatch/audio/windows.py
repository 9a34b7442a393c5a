"""Windows of log-mel frames: the input of a predictor."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec


class WindowSpec(BaseModel):
    """How frames become windows, windows become steps, and steps become clips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_frames: int = Field(5, ge=1, description="frames in a window (L in the paper)")
    hop_frames: int = Field(1, ge=1, description="distance between windows, frames")
    step_seconds: float = Field(1.0, gt=0, description="a score is due this often; also the short time scale, s")
    clip_seconds: float = Field(10.0, gt=0, description="sound that a clip score listens to, s")

    @model_validator(mode="after")
    def _step_fits_clip(self) -> WindowSpec:
        if self.step_seconds > self.clip_seconds:
            raise ValueError("step_seconds is longer than clip_seconds")
        return self

    def step_windows(self, features: FeatureSpec) -> int:
        """Return the number of windows from one score to the next."""
        return max(1, round(self.step_seconds * features.frame_rate_hz / self.hop_frames))

    def clip_windows(self, features: FeatureSpec) -> int:
        """Return the number of windows that lie whole in a clip: a file of exactly ``clip_seconds`` is one clip."""
        frames = features.frames_in(round(self.clip_seconds * features.rate_hz))
        return max(self.step_windows(features), self.windows_in(frames))

    def windows_in(self, frames: int) -> int:
        """Return the number of whole windows in ``frames`` frames."""
        return max(0, 1 + (frames - self.length_frames) // self.hop_frames)

    def sample_bounds(self, features: FeatureSpec, first: int, count: int) -> tuple[int, int]:
        """Return the first sample, and one past the last, that ``count`` windows from ``first`` on depend on."""
        start_frame = first * self.hop_frames
        frames = (count - 1) * self.hop_frames + self.length_frames
        start = start_frame * features.hop_samples
        return start, start + features.samples_in(frames)

    def shortest_samples(self, features: FeatureSpec) -> int:
        """Return the number of samples of the shortest sound that gets a score: one whole step."""
        start, end = self.sample_bounds(features, 0, self.step_windows(features))
        return end - start


class Windower:
    """Frames in, blocks of ``step_windows`` windows out; keeps the frames left over between pushes.

    Blocks are of one shape and counted from the start of the stream, so that a predictor sees the same batches
    however the sound was cut; only ``flush`` gives a smaller one.
    """

    def __init__(self, spec: WindowSpec, features: FeatureSpec) -> None:
        self.spec = spec
        self._n_mels = features.n_mels
        self._block_windows = spec.step_windows(features)
        self._block_frames = (self._block_windows - 1) * spec.hop_frames + spec.length_frames
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._rest: Float32 = np.zeros((0, self._n_mels), np.float32)

    @property
    def frames_until_block(self) -> int:
        """Frames that are missing until ``push`` returns the next full block; at least 1."""
        return self._block_frames - len(self._rest)

    def push(self, frames: Float32) -> list[Float32]:
        """Take frames, float32 (k, F) in dB; return the full blocks, each float32 (step_windows, L, F)."""
        held = np.concatenate([self._rest, frames])
        advance = self._block_windows * self.spec.hop_frames
        blocks = []
        start = 0
        while len(held) - start >= self._block_frames:
            blocks.append(self._windows(held[start : start + self._block_frames]))
            start += advance
        self._rest = held[start:].copy()
        return blocks

    def flush(self) -> list[Float32]:
        """Return the windows still held as one smaller block, if any, and forget the rest."""
        windows = [self._windows(self._rest)] if self.spec.windows_in(len(self._rest)) else []
        self.reset()
        return windows

    def _windows(self, frames: Float32) -> Float32:
        frames = np.ascontiguousarray(frames)
        n, length, (step, band) = self.spec.windows_in(len(frames)), self.spec.length_frames, frames.strides
        strides = self.spec.hop_frames * step, step, band
        view = np.lib.stride_tricks.as_strided(frames, (n, length, self._n_mels), strides, writeable=False)
        return view.copy()  # (n, L, F)
