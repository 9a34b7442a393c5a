"""Recordings sent as one stream, at the pace of a microphone or as fast as they are taken."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from humwatch.arrays import Float32
from humwatch.audio.decoding import AudioInfo, DecodeLimits, open_recording
from humwatch.audio.files import audio_files
from humwatch.audio.integers import to_int16
from humwatch.errors import HumwatchError
from humwatch_service.errors import FileUnreadable, RequestInvalid
from humwatch_service.protocol.messages import SAMPLE_BYTES, SampleFormat

_ANY_LENGTH: Final = DecodeLimits(max_duration_s=math.inf, max_samples=1 << 62, min_rate_hz=1, max_rate_hz=1 << 30)
"""What the service does not take, it refuses itself; memory is bounded by the block that is decoded."""


def encoded(samples: Float32, sample_format: SampleFormat) -> bytes:
    """Return samples as they are sent; those of a file of 16 bits or fewer are its own, bit for bit.

    Args:
        samples: samples of shape (n, channels), full scale is [-1, 1].
        sample_format: format of the bytes.
    """
    if sample_format == "f32le":
        return samples.astype("<f4").tobytes()
    return to_int16(samples).astype(">i2" if sample_format == "s16be" else "<i2").tobytes()


def recordings(paths: Sequence[Path]) -> list[Path]:
    """Return the recordings among files and folders, those of a folder by name. Raises :class:`FileUnreadable`."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = audio_files(path)
            if not inside:
                raise FileUnreadable(f"{path} has no WAV or FLAC file")
            found += inside
        else:
            found.append(path)
    return found


class RecordingSequence:
    """Recordings of one rate and as many channels each.

    Attributes:
        rate_hz: sample rate of each, Hz.
        channels: number of channels of each.
        format: sample format as sent, 16 bits where that is all they have, else float32.
        full_scale: whether samples have a full scale, as integers have.
        samples: number of frames of all together.

    Raises:
        AudioError: one cannot be read.
        FileUnreadable: one is not there.
        RequestInvalid: they differ.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = recordings(paths)
        infos = [_info(path) for path in self._paths]
        first = infos[0]
        for path, info in zip(self._paths, infos, strict=True):
            if (info.rate_hz, info.channels) != (first.rate_hz, first.channels):
                raise RequestInvalid(
                    f"{path} has {info.rate_hz} Hz and {info.channels} channels, {self._paths[0]} {first.rate_hz} Hz"
                    f" and {first.channels}: one stream has one rate and as many channels all the time"
                )
        self.rate_hz = first.rate_hz
        self.channels = first.channels
        self.format: SampleFormat = "s16le" if all(info.sample_bits <= 16 for info in infos) else "f32le"
        self.full_scale = all(info.full_scale for info in infos)
        self.samples = sum(info.frames for info in infos)

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
            try:
                with open_recording(path, _ANY_LENGTH) as recording:
                    for block in recording.blocks():
                        yield encoded(block.samples, self.format)
            except HumwatchError as error:
                raise type(error)(f"{path}: {error}") from error
            except OSError as error:
                raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error

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


def _info(path: Path) -> AudioInfo:
    try:
        with open_recording(path, _ANY_LENGTH) as recording:
            return recording.info
    except HumwatchError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


def _cut(block: bytes, chunk_bytes: int) -> Iterator[bytes]:
    return (block[at : at + chunk_bytes] for at in range(0, len(block), chunk_bytes))


async def _until(when_s: float, stop: asyncio.Event) -> None:
    """Wait for a moment of the monotonic clock, or for ``stop``."""
    try:
        async with asyncio.timeout(max(0.0, when_s - time.monotonic())):
            await stop.wait()
    except TimeoutError:
        pass
