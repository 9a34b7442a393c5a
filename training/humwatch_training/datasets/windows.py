"""Log-mel windows of recordings, kept once in memory and drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from humwatch.arrays import Float32, Int64
from humwatch.audio.decoding import open_recording, read_mono
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.errors import HumwatchError
from humwatch_training.errors import TrainingDataError


@dataclass(frozen=True)
class Clip:
    """One channel of one recording as log-mel frames, float32 (frames, n_mels) in dB."""

    path: str
    channel: int
    frames_db: Float32


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation, in dB, that standardise the network's input."""

    mean_db: float
    std_db: float

    @classmethod
    def of(cls, clips: Iterable[Clip]) -> Self:
        """Measure all values of all clips, in float64; raise TrainingDataError where all are equal."""
        count, total, squares = 0, 0.0, 0.0
        for clip in clips:
            values = clip.frames_db.astype(np.float64)
            count += values.size
            total += float(values.sum())
            squares += float(np.square(values).sum())
        mean = total / count
        variance = squares / count - mean * mean
        if variance < 1e-6:
            raise TrainingDataError("the train recordings hold one constant value: digital silence?")
        return cls(mean_db=mean, std_db=variance**0.5)


def _channels_of(name: str, file: Path, channel: int | Literal["all"]) -> range | tuple[int]:
    with open_recording(file) as recording:
        available = recording.info.channels
    if channel == "all":
        return range(available)
    if channel >= available:
        raise TrainingDataError(f"{name}: has {available} channels, so there is no channel {channel} (counted from 0)")
    return (channel,)


def read_clips(name: str, file: Path, spec: FeatureSpec, channel: int | Literal["all"], n_frames: int) -> list[Clip]:
    """Return a recording's clips, one a channel.

    Raises TrainingDataError, with the recording and the reason, also for one shorter than ``n_frames`` frames.
    """
    try:
        clips = [
            Clip(name, index, log_mel(read_mono(file, rate_hz=spec.rate_hz, channel=index), spec))
            for index in _channels_of(name, file, channel)
        ]
    except TrainingDataError:
        raise
    except (HumwatchError, OSError) as error:
        raise TrainingDataError(f"{name}: {error}") from error
    for clip in clips:
        if len(clip.frames_db) < n_frames:
            raise TrainingDataError(f"{name}: {len(clip.frames_db)} frames, shorter than a window of {n_frames}")
        if not np.isfinite(clip.frames_db).all():
            raise TrainingDataError(f"{name}: channel {clip.channel} holds samples that are not finite")
    return clips


def load_clips(
    names: Iterable[str],
    files: dict[str, Path],
    spec: FeatureSpec,
    *,
    channel: int | Literal["all"],
    n_frames: int,
    on_read: Callable[[], None] | None = None,
) -> list[Clip]:
    """Return the clips of the named recordings in order, calling ``on_read`` after each recording."""
    clips: list[Clip] = []
    for name in names:
        if name not in files:
            raise TrainingDataError(f"{name}: the recording is no longer where the data was given")
        clips += read_clips(name, files[name], spec, channel, n_frames)
        if on_read is not None:
            on_read()
    return clips


class WindowSet:
    """All windows of ``n_frames`` consecutive frames (hop 1) that lie within one clip.

    The frames are kept once, float32 (frames of all clips, n_mels); a window is the index of its first frame.
    """

    def __init__(self, clips: Iterable[Clip], n_frames: int, device: torch.device | None = None) -> None:
        starts: list[Int64] = []
        blocks: list[Float32] = []
        first = 0
        for clip in clips:
            starts.append(first + np.arange(len(clip.frames_db) - n_frames + 1, dtype=np.int64))
            blocks.append(clip.frames_db)
            first += len(clip.frames_db)
        if not blocks:
            raise TrainingDataError("there are no clips to take windows from")
        self._frames = torch.from_numpy(np.concatenate(blocks)).to(device or torch.device("cpu"))
        self._starts = torch.from_numpy(np.concatenate(starts))
        self._within = torch.arange(n_frames)

    def __len__(self) -> int:
        return len(self._starts)

    def windows(self, index: Tensor) -> Tensor:
        """Return the windows at ``index``, int64 (B,), as float32 (B, n_frames, n_mels) in dB."""
        places = self._starts[index].unsqueeze(1) + self._within  # (B, n_frames)
        taken = self._frames.index_select(0, places.flatten().to(self._frames.device))
        return taken.view(*places.shape, self._frames.shape[1])

    def sample(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw windows uniformly, with replacement: float32 (batch, n_frames, n_mels) in dB."""
        return self.windows(torch.randint(len(self), (batch,), generator=generator))
