"""Clips of normal sound that no system has seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.decoding import Recording, open_recording
from humwatch.recording import choose_channel
from humwatch.text_files import read_text
from humwatch_training.datasets.recordings import Split, sha256_of
from humwatch_training.detectability.fault import LOWEST_RATE_HZ
from humwatch_training.errors import TrainingDataError


@dataclass(frozen=True)
class HeldOutClip:
    """A clip of normal sound that no system was trained or calibrated on.

    Attributes:
        recording: name of the recording.
        sha256: SHA-256 of the recording's file.
        samples: samples of one channel at the recording's own rate, float32 (n,).
        sample_bits: resolution of the recording, bits.
    """

    recording: str
    sha256: str
    samples: Float32
    rate_hz: int
    sample_bits: int


def held_out_clips(
    files: dict[str, Path],
    *,
    clip_s: float,
    count: int,
    channel: int | None = None,
    default_channel: int = 0,
    known: frozenset[str] = frozenset(),
) -> list[HeldOutClip]:
    """Cut clips from normal recordings: the first of each, then the second of each, and so on, ``count`` at most.

    Channels are as for ``humwatch.recording.analyse``. Recordings of the same content count once; those whose SHA-256
    is in ``known`` were trained or calibrated on and are left out.

    Raises:
        TrainingDataError: no clip is left.
        AudioError: a recording cannot be decoded, or does not have the channel.
    """
    by_recording: list[list[HeldOutClip]] = []
    seen = set(known)
    for name, path in files.items():
        digest = sha256_of(path)
        if digest not in seen and sum(bool(clips) for clips in by_recording) < count:
            by_recording.append(_cut(path, name, digest, clip_s, channel, default_channel))
        seen.add(digest)
    rounds = max((len(clips) for clips in by_recording), default=0)
    chosen = [clips[i] for i in range(rounds) for clips in by_recording if i < len(clips)][:count]
    if not chosen:
        left_out = sum(digest in known for digest in map(sha256_of, files.values()))
        raise TrainingDataError(
            f"no clip of {clip_s:g} s can be cut from {len(files)} recording(s)"
            + (f", {left_out} of which were trained or calibrated on" if left_out else "")
        )
    return chosen


def _cut(path: Path, name: str, digest: str, clip_s: float, channel: int | None, default: int) -> list[HeldOutClip]:
    with open_recording(path) as recording:
        info = recording.info
        if info.rate_hz < LOWEST_RATE_HZ:
            raise TrainingDataError(f"{name}: {info.rate_hz} Hz; the faults need {LOWEST_RATE_HZ} Hz at least")
        samples = _one_channel(recording, choose_channel(info.channels, channel, default))
    size = round(clip_s * info.rate_hz)
    starts = range(0, len(samples) - size + 1, size)
    return [HeldOutClip(name, digest, samples[i : i + size], info.rate_hz, info.sample_bits) for i in starts]


def _one_channel(recording: Recording, channel: int) -> Float32:
    return np.concatenate([block.samples[:, channel] for block in recording.blocks()])


def digests_seen(splits: list[Path]) -> frozenset[str]:
    """Return the digests of the recordings that runs trained or calibrated on."""
    found = []
    for path in splits:
        try:
            split = Split.from_json(read_text(path))
        except ValueError as error:
            raise TrainingDataError(f"{path}: not a split of recordings") from error
        found += [entry.sha256 for entry in (*split.train, *split.calibration)]
    return frozenset(found)
