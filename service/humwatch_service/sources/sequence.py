"""Recordings sent as one stream, at the pace of a microphone or as fast as they are taken."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from humwatch.audio.decoding import AudioInfo, DecodeLimits, open_recording
from humwatch.errors import HumwatchError
from humwatch_service.errors import RequestInvalid
from humwatch_service.given_recordings import named, recordings_in, unusable
from humwatch_service.protocol.messages import SAMPLE_BYTES, SampleFormat
from humwatch_service.protocol.pcm import encoded

_ANY_LENGTH: Final = DecodeLimits(max_duration_s=math.inf, max_samples=1 << 62, min_rate_hz=1, max_rate_hz=1 << 30)
"""What the service does not take, it refuses itself; memory is bounded by the block that is decoded."""


class RecordingSequence:
    """Recordings of one rate and as many channels each.

    Attributes:
        rate_hz: sample rate of each, Hz.
        channels: number of channels of each.
        format: sample format as sent: integers of as many bits as they have, or float32 where one has floats.
        full_scale: whether samples have a full scale, as integers have.
        samples: number of frames of all together.
        remarks: what is to be said of them: files that were left out, codings that left out sound.

    Raises:
        AudioError: some cannot be read; all of them are named.
        FileUnreadable: one is not there.
        RequestInvalid: they differ.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        found = recordings_in(paths)
        self._paths = found.recordings
        infos = _infos(self._paths)
        first = infos[0]
        for path, info in zip(self._paths, infos, strict=True):
            if (info.rate_hz, info.channels) != (first.rate_hz, first.channels):
                raise RequestInvalid(
                    f"{path} has {info.rate_hz} Hz and {info.channels} channels, {self._paths[0]} {first.rate_hz} Hz"
                    f" and {first.channels}: one stream has one rate and as many channels all the time"
                )
        self.rate_hz = first.rate_hz
        self.channels = first.channels
        self.format = _format(infos)
        self.full_scale = all(info.full_scale for info in infos)
        self.samples = sum(info.frames for info in infos)
        coded = [info.lossy for info in infos if info.lossy is not None]
        self.remarks = [found.remark] if found.remark else []
        if coded:
            kinds = ", ".join(dict.fromkeys(coded))
            self.remarks.append(f"{len(coded)} of {len(infos)} recordings are coded ({kinds}): sound was left out")

    @property
    def frame_bytes(self) -> int:
        """Size of one frame as sent, bytes."""
        return SAMPLE_BYTES[self.format] * self.channels

    @property
    def duration_s(self) -> float:
        """Duration of all together, seconds."""
        return self.samples / self.rate_hz

    def blocks(self) -> Generator[bytes, None, None]:
        """Yield the bytes of all in order, block by block; raise as the decoder does, with the file's name."""
        for path in self._paths:
            with named(path), open_recording(path, _ANY_LENGTH) as recording:
                for block in recording.blocks():
                    yield encoded(block.samples, self.format)

    async def chunks(
        self, chunk_samples: int, *, speed: float, loop: bool, stop: asyncio.Event
    ) -> AsyncGenerator[bytes, None]:
        """Yield chunks, each when a microphone would, at speed 0 at once; end early when ``stop`` is set."""
        started_s = time.monotonic()
        sent = 0
        for _ in count() if loop else range(1):
            blocks = self.blocks()
            try:
                while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                    for chunk in _cut(block, chunk_samples * self.frame_bytes):
                        sent += len(chunk) // self.frame_bytes
                        if speed > 0:
                            await _until(started_s + sent / (self.rate_hz * speed), stop)
                        if stop.is_set():
                            return
                        yield chunk
            finally:
                blocks.close()


def _infos(paths: Sequence[Path]) -> list[AudioInfo]:
    """Return the headers of all; names all that have none."""
    infos: list[AudioInfo] = []
    errors: list[HumwatchError] = []
    for path in paths:
        try:
            with named(path), open_recording(path, _ANY_LENGTH) as recording:
                infos.append(recording.info)
        except HumwatchError as error:
            errors.append(error)
    if errors:
        raise unusable(errors)
    return infos


def _format(infos: Sequence[AudioInfo]) -> SampleFormat:
    """Return the smallest format that holds all samples; integers stay such, for floats have no full scale."""
    if not all(info.full_scale for info in infos):
        return "f32le"
    bits = max(info.sample_bits for info in infos)
    return "s16le" if bits <= 16 else "s24le" if bits <= 24 else "s32le"


def _cut(block: bytes, chunk_bytes: int) -> Iterator[bytes]:
    return (block[at : at + chunk_bytes] for at in range(0, len(block), chunk_bytes))


async def _until(when_s: float, stop: asyncio.Event) -> None:
    """Wait for a moment of the monotonic clock, or for ``stop``."""
    try:
        async with asyncio.timeout(max(0.0, when_s - time.monotonic())):
            await stop.wait()
    except TimeoutError:
        pass
