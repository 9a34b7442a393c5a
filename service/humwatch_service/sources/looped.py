"""Recordings as one endless loop of mono sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32
from humwatch.recording import choose_channel
from humwatch_service.given_recordings import recordings_in
from humwatch_service.protocol.pcm import PcmDecoder
from humwatch_service.sources.sequence import RecordingSequence

KEPT_SAMPLES: Final = 1 << 26
"""Most samples of a loop that is decoded once and kept, 256 MiB; a longer one is decoded each time."""


class LoopPosition(NamedTuple):
    """Position in a loop: a file, and seconds from its beginning."""

    path: Path
    offset_s: float


class LoopedRecording:
    """One channel of recordings of one rate, one after the other and from the beginning again.

    Args:
        paths: files and folders of them.
        channel: channel to take, from 0; None takes ``default_channel``, or the only one that there is.
        default_channel: channel of the model.

    Raises:
        AudioError, FileUnreadable: one cannot be used.
        RequestInvalid: they differ in rate or channels.
    """

    def __init__(self, paths: Sequence[Path], *, channel: int | None, default_channel: int) -> None:
        self.paths = recordings_in(paths).recordings
        whole = RecordingSequence(self.paths)
        self.rate_hz = whole.rate_hz
        self.full_scale = whole.full_scale
        self.samples = whole.samples
        self._sequences = [RecordingSequence([path]) for path in self.paths]
        self._channel = choose_channel(whole.channels, channel, default_channel)
        self._kept: list[Float32] | None = None

    @property
    def duration_s(self) -> float:
        """Duration of one round, seconds."""
        return self.samples / self.rate_hz

    def between(self, start: int, end: int) -> Iterator[Float32]:
        """Yield the loop from sample ``start`` until ``end``, in pieces, float32 (n,); raise as the decoder does."""
        at = start - start % self.samples
        while at < end:
            for piece in self._once():
                inside = piece[max(0, start - at) : max(0, end - at)]
                if len(inside):
                    yield inside
                at += len(piece)
                if at >= end:
                    return

    def place(self, sample: int) -> LoopPosition:
        """Return the file that has a sample of the loop, and where in the file it is."""
        left = sample % self.samples
        file = 0
        while left >= self._sequences[file].samples:
            left -= self._sequences[file].samples
            file += 1
        return LoopPosition(self.paths[file], left / self.rate_hz)

    def _once(self) -> Iterator[Float32]:
        if self.samples > KEPT_SAMPLES:
            return self._decoded()
        if self._kept is None:
            self._kept = list(self._decoded())
        return iter(self._kept)

    def _decoded(self) -> Iterator[Float32]:
        for sequence in self._sequences:
            pcm = PcmDecoder(sequence.format, sequence.channels)
            for block in sequence.blocks():
                yield np.ascontiguousarray(pcm.push(block)[:, self._channel])
