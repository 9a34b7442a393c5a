"""Sound as it arrives: chunks of samples, recordings decoded within limits, and one mono stream at one rate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import numpy as np
import soxr

from humwatch.arrays import Float32
from humwatch.audio.codecs import CodecReader, demuxer_of
from humwatch.audio.info import UNKNOWN_FRAMES
from humwatch.audio.info import AudioInfo as AudioInfo
from humwatch.audio.info import DecodeLimits as DecodeLimits
from humwatch.audio.sound_files import open_other, open_wav
from humwatch.audio.wav_header import read_wav_header
from humwatch.errors import (
    AudioChannelMissing,
    AudioEmpty,
    AudioNotFinite,
    AudioRateUnsupported,
    AudioTooLarge,
    AudioTooLong,
    AudioTooManyChannels,
    AudioTruncated,
)

DECODE_BLOCK_SAMPLES: Final = 1 << 18
"""Samples (frames x channels) decoded at a time: 1 MiB of float32, whatever the file claims."""


@dataclass(frozen=True)
class AudioChunk:
    """A piece of sound.

    Attributes:
        samples: float32 (n, channels), full scale is [-1, 1].
        rate_hz: frames per second.
        start_sample: index of the first frame since the start of the stream, at ``rate_hz``.
    """

    samples: Float32
    rate_hz: int
    start_sample: int = 0

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[1])


class SampleReader(Protocol):
    """Samples of an opened recording, in order."""

    info: AudioInfo
    coded_bytes: int
    """Size of what was decoded, for a lossy coding; known at its end where the header does not say how long it is."""

    def read(self, frames: int) -> Float32:
        """Return the next frames, float32 (n, channels); fewer at the end."""

    def close(self) -> None:
        """Close the reader, not the file."""


class Recording:
    """Opened file: its header, and its samples block by block."""

    def __init__(self, reader: SampleReader, info: AudioInfo) -> None:
        self._reader = reader
        self.info = info

    def blocks(self) -> Iterator[AudioChunk]:
        """Decode in order, at most ``DECODE_BLOCK_SAMPLES`` samples at a time.

        Raises:
            AudioNotFinite: NaN or infinite samples.
            AudioTruncated: the samples end before the header's count, or cannot be decoded.
        """
        step = _block_frames(self.info)
        start = 0
        while start < self.info.frames:
            wanted = min(step, self.info.frames - start)
            samples = self._reader.read(wanted)
            if len(samples) < wanted:
                raise AudioTruncated(f"the header claims {self.info.frames} frames, {start + len(samples)} are there")
            if not np.isfinite(samples).all():
                raise AudioNotFinite(f"NaN or infinite samples after {start / self.info.rate_hz:.3f} s")
            yield AudioChunk(samples, self.info.rate_hz, start)
            start += len(samples)


@contextmanager
def open_recording(source: Path | str | BinaryIO, limits: DecodeLimits | None = None) -> Iterator[Recording]:
    """Open a recording, from a path or a seekable file.

    WAV and its relatives (RIFX, RF64, BW64, Wave64), FLAC, AIFF, AU, CAF, MP3 and Ogg (Vorbis, Opus) are read; with the
    extra ``codecs`` also M4A/MP4/3GP, AAC, AMR, WMA and Matroska. One whose header does not say how long it is, is
    decoded once more beforehand, to be counted: within the limits.

    Raises:
        AudioError: a subclass for each reason, before any sample is given out.
        OSError: the path cannot be opened.
    """
    limits = limits or DecodeLimits()
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file, open_recording(file, limits) as recording:
            yield recording
        return
    opener = _opener(source, limits)
    counted: AudioInfo | None = None
    with closing(opener()) as reader:
        _check_rate(reader.info.rate_hz, limits)
        _check_channels(reader.info.channels, limits)
        if reader.info.frames < UNKNOWN_FRAMES:
            yield _recording(reader, reader.info, limits)
        else:
            counted = _counted(reader, limits)
    if counted is not None:
        with closing(opener()) as reader:
            yield _recording(reader, counted, limits)


def _recording(reader: SampleReader, info: AudioInfo, limits: DecodeLimits) -> Recording:
    _check_length(info, limits)
    return Recording(reader, info.coded_in(reader.coded_bytes) if info.bits_per_s is None else info)


def _opener(file: BinaryIO, limits: DecodeLimits) -> Callable[[], SampleReader]:
    """Return how a file is opened, from its start, as often as one likes."""
    if file.seek(0, 2) == 0:
        raise AudioEmpty("the file has no bytes")
    header = read_wav_header(file)
    if header is not None:
        _check_rate(header.format.rate_hz, limits)
        _check_channels(header.format.channels, limits)
        return lambda: open_wav(file, header)
    demuxer = demuxer_of(file)
    if demuxer is not None:
        return lambda: CodecReader(file, demuxer)
    # FFmpeg decodes an MP3 to its end, where libsndfile stops at what it guessed.
    return lambda: open_other(file) or CodecReader(file, "mp3")


def _counted(reader: SampleReader, limits: DecodeLimits) -> AudioInfo:
    """Return what is known after all frames were decoded once; raises as soon as they are too many."""
    info = replace(reader.info, frames=0)
    step = _block_frames(info)
    while count := len(reader.read(step)):
        info = replace(info, frames=info.frames + count)
        _check_length(info, limits)
        if count < step:
            break
    return info.coded_in(reader.coded_bytes)


def _block_frames(info: AudioInfo) -> int:
    return max(1, DECODE_BLOCK_SAMPLES // info.channels)


def _check_rate(rate_hz: int, limits: DecodeLimits) -> None:
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        raise AudioRateUnsupported(
            f"the header says {rate_hz} Hz; {limits.min_rate_hz} to {limits.max_rate_hz} Hz are taken"
        )


def _check_channels(channels: int, limits: DecodeLimits) -> None:
    if channels > limits.max_channels:
        raise AudioTooManyChannels(f"{channels} channels; at most {limits.max_channels} are taken")


def _check_length(info: AudioInfo, limits: DecodeLimits) -> None:
    if info.frames <= 0:
        raise AudioEmpty("the recording has no samples")
    if info.duration_s > limits.max_duration_s:
        raise AudioTooLong(f"{info.duration_s:.1f} s; at most {limits.max_duration_s:.0f} s are taken")
    if info.frames * info.channels > limits.max_samples:
        raise AudioTooLarge(f"decodes to {info.frames * info.channels} samples; at most {limits.max_samples} are taken")


class MonoResampler:
    """One channel at one rate, from any rate (soxr); a file and a stream give the same samples."""

    def __init__(self, *, source_rate_hz: int, rate_hz: int, channel: int = 0) -> None:
        self.source_rate_hz = source_rate_hz
        self.rate_hz = rate_hz
        self.channel = channel
        self.reset()

    def reset(self) -> None:
        """Start anew, as for a new stream."""
        self._stream: soxr.ResampleStream | None = None
        if self.source_rate_hz != self.rate_hz:
            self._stream = soxr.ResampleStream(self.source_rate_hz, self.rate_hz, 1, dtype="float32", quality=soxr.VHQ)

    def push(self, samples: Float32) -> Float32:
        """Take float32 (n, channels); return the samples of the channel that are ready at ``rate_hz``, float32 (m,).

        Raises:
            AudioChannelMissing: there are too few channels.
        """
        if self.channel >= samples.shape[1]:
            raise AudioChannelMissing(f"channel {self.channel} of a recording with {samples.shape[1]} (counted from 0)")
        mono = np.ascontiguousarray(samples[:, self.channel])
        return mono if self._stream is None else self._stream.resample_chunk(mono)

    def flush(self) -> Float32:
        """Return the resampler's tail, float32 (m,), and start anew."""
        nothing = np.zeros(0, np.float32)
        tail = nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)
        self.reset()
        return tail


def read_mono(
    source: Path | str | BinaryIO, *, rate_hz: int, channel: int = 0, limits: DecodeLimits | None = None
) -> Float32:
    """Decode one channel of a recording at ``rate_hz``: float32 (n,), full scale [-1, 1]. Raises as it opens."""
    with open_recording(source, limits) as recording:
        mono = MonoResampler(source_rate_hz=recording.info.rate_hz, rate_hz=rate_hz, channel=channel)
        pieces = [mono.push(block.samples) for block in recording.blocks()]
        return np.concatenate([*pieces, mono.flush()])
