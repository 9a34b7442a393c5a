"""Sound as it arrives: chunks of samples, recordings decoded within limits, and one mono stream at one rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import soundfile
import soxr

from humwatch.arrays import Float32
from humwatch.audio.wav_header import WavHeader, read_wav_header
from humwatch.errors import (
    AudioChannelMissing,
    AudioEmpty,
    AudioFormatUnsupported,
    AudioHeaderInvalid,
    AudioNotFinite,
    AudioRateUnsupported,
    AudioTooLarge,
    AudioTooLong,
    AudioTooManyChannels,
    AudioTruncated,
)

DECODE_BLOCK_SAMPLES: Final = 1 << 18
"""Samples (frames x channels) decoded at a time: 1 MiB of float32, whatever the file claims."""

UNKNOWN_FRAMES: Final = 1 << 62
"""libsndfile's count for a FLAC stream whose writer did not know the length."""

SAMPLE_BITS: Final = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 24, "DOUBLE": 53}
"""Encodings that are read, and their resolution. Lossy ones are not: they leave out sound that is hard to hear."""

_FORMATS: Final = {"WAV", "WAVEX", "RF64", "FLAC"}


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


@dataclass(frozen=True)
class DecodeLimits:
    """Limits of a recording; checked from the header, before samples are read."""

    max_duration_s: float = 600.0
    max_channels: int = 16
    min_rate_hz: int = 4_000
    max_rate_hz: int = 384_000
    max_samples: int = 256_000_000
    """Frames x channels of the whole recording: bounds the work, as the block bounds the memory."""


@dataclass(frozen=True)
class AudioInfo:
    """Header of a recording."""

    rate_hz: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def sample_bits(self) -> int:
        """Resolution of a sample, bits."""
        return SAMPLE_BITS[self.subtype]

    @property
    def full_scale(self) -> bool:
        """True if samples have a full scale, as integers have; floats may be in any unit."""
        return self.subtype not in ("FLOAT", "DOUBLE")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate_hz


class Recording:
    """Opened file: its header, and its samples block by block."""

    def __init__(self, file: soundfile.SoundFile, limits: DecodeLimits) -> None:
        self._file = file
        self._limits = limits
        self.info = AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)

    def blocks(self) -> Iterator[AudioChunk]:
        """Decode in order, at most ``DECODE_BLOCK_SAMPLES`` samples at a time.

        Raises:
            AudioNotFinite: NaN or infinite samples.
            AudioTruncated: the samples end before the header's count, or cannot be decoded.
        """
        step = max(1, DECODE_BLOCK_SAMPLES // self.info.channels)
        start = 0
        while start < self.info.frames:
            samples = self._read(min(step, self.info.frames - start))
            if not np.isfinite(samples).all():
                raise AudioNotFinite(f"NaN or infinite samples after {start / self.info.rate_hz:.3f} s")
            yield AudioChunk(samples, self.info.rate_hz, start)
            start += len(samples)

    def _read(self, frames: int) -> Float32:
        at = self._file.tell()
        try:
            samples: Float32 = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioTruncated(f"the samples cannot be decoded past frame {at}: {error}") from error
        if len(samples) < frames:
            raise AudioTruncated(f"the header claims {self.info.frames} frames, {at + len(samples)} are there")
        return samples


@contextmanager
def open_recording(source: Path | str | BinaryIO, limits: DecodeLimits | None = None) -> Iterator[Recording]:
    """Open a WAV (any subtype, WAVE_FORMAT_EXTENSIBLE, RF64) or FLAC file, from a path or a seekable file.

    Raises:
        AudioError: a subclass for each reason, before any sample is decoded.
        OSError: the path cannot be opened.
    """
    limits = limits or DecodeLimits()
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file, open_recording(file, limits) as recording:
            yield recording
        return
    header = _inspect(source, limits)
    try:
        sound_file = soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        raise _refused(header, error) from error
    with sound_file:
        recording = Recording(sound_file, limits)
        _check_limits(recording.info, limits)
        if header is not None and header.data_bytes == 0:
            raise AudioEmpty("the recording has no samples")
        yield recording


def _inspect(file: BinaryIO, limits: DecodeLimits) -> WavHeader | None:
    if file.seek(0, 2) == 0:
        raise AudioEmpty("the file has no bytes")
    header = read_wav_header(file)
    if header is not None:
        _check_rate(header.rate_hz, limits)
        _check_channels(header.channels, limits)
    return header


def _refused(header: WavHeader | None, error: soundfile.LibsndfileError) -> Exception:
    if header is None:
        return AudioFormatUnsupported(f"this is not a WAV or FLAC file that can be read ({error.error_string})")
    if header.format_tag in (1, 3, 0xFFFE):
        return AudioHeaderInvalid(f"the WAV header cannot be read ({error.error_string})")
    return AudioFormatUnsupported(f"this WAV encoding (tag {header.format_tag:#06x}) is not read")


def _check_rate(rate_hz: int, limits: DecodeLimits) -> None:
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        raise AudioRateUnsupported(
            f"the header says {rate_hz} Hz; {limits.min_rate_hz} to {limits.max_rate_hz} Hz are taken"
        )


def _check_channels(channels: int, limits: DecodeLimits) -> None:
    if channels > limits.max_channels:
        raise AudioTooManyChannels(f"{channels} channels; at most {limits.max_channels} are taken")


def _check_limits(info: AudioInfo, limits: DecodeLimits) -> None:
    if info.format not in _FORMATS:
        raise AudioFormatUnsupported(f"{info.format} files are not read; send WAV or FLAC")
    if info.subtype not in SAMPLE_BITS:
        raise AudioFormatUnsupported(f"{info.subtype} samples are not read; send PCM, float or FLAC")
    _check_rate(info.rate_hz, limits)
    _check_channels(info.channels, limits)
    if info.frames <= 0:
        raise AudioEmpty("the recording has no samples")
    if info.frames >= UNKNOWN_FRAMES:
        raise AudioHeaderInvalid("the FLAC header does not say how long the recording is: encode to a file, not a pipe")
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
