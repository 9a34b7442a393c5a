"""Recordings of phones and recorders that libsndfile does not read: M4A/AAC, 3GP, AMR, WMA, Matroska; through PyAV.

PyAV carries FFmpeg with it and is an extra: ``humwatch[codecs]``. A file is told by its first bytes and only its own
demuxer is tried: of FFmpeg's many, some follow references to other files and to the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.info import UNKNOWN_FRAMES, AudioInfo
from humwatch.audio.sample_bytes import whole
from humwatch.audio.wav_chunks import id3_bytes
from humwatch.errors import AudioEmpty, AudioFormatUnsupported, AudioHeaderInvalid, AudioTruncated

if TYPE_CHECKING:
    from av import AudioFrame

EXTRA: Final = "pip install 'humwatch[codecs]'"

LOSSY: Final = {
    "aac": "AAC",
    "aac_latm": "AAC",
    "amr_nb": "AMR",
    "amr_wb": "AMR-WB",
    "mp3": "MP3",
    "opus": "Opus",
    "vorbis": "Vorbis",
    "wmav1": "WMA",
    "wmav2": "WMA",
    "wmapro": "WMA Pro",
    "wmavoice": "WMA Voice",
}
"""FFmpeg's names of codings that leave out sound, and the names by which people know them."""

LOSSLESS: Final = frozenset({"alac", "flac", "wmalossless", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"})

_CLAIMS_HOLD: Final = frozenset({"mov", "asf", "matroska"})
"""Containers that say how long they are; of others FFmpeg guesses."""

_MISSING_S: Final = 0.5
"""An encoder's lead and the last packet's rest; of a recording that is this much too short a part is missing."""

_FULL_SCALE: Final = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "f4": 1.0, "f8": 1.0}


def demuxer_of(file: BinaryIO) -> str | None:
    """Return FFmpeg's demuxer for a file that libsndfile does not read, by its first bytes; None for others."""
    file.seek(0)
    head = file.read(64)
    if tag := id3_bytes(head[:10]):
        file.seek(tag)
        head = file.read(64)
    file.seek(0)
    if head[4:8] in (b"ftyp", b"moov", b"wide"):
        return "mov"
    if head.startswith(b"#!AMR"):
        return "amr"
    if head.startswith(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")):
        return "asf"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return None


def _load() -> ModuleType | None:
    try:
        import av
    except ImportError:
        return None
    return av


class CodecReader:
    """Frames of a file through FFmpeg, in order; ``info.frames`` is ``UNKNOWN_FRAMES`` until they were counted."""

    def __init__(self, file: BinaryIO, demuxer: str) -> None:
        """Open the file.

        Args:
            file: seekable file.
            demuxer: FFmpeg's name of the container, from :func:`demuxer_of`.

        Raises:
            AudioFormatUnsupported: PyAV is not there, or the coding is not read.
            AudioHeaderInvalid: FFmpeg makes nothing of the header.
            AudioEmpty: there is no sound in it.
        """
        av = _load()
        if av is None:
            raise AudioFormatUnsupported(f"{_KNOWN_AS[demuxer]} is read with the extra `codecs`: {EXTRA}")
        self._av: Any = av
        self._demuxer = demuxer
        try:
            self._container = av.open(whole(file), format=demuxer, metadata_errors="ignore", io_open=_refuse)
        except (av.FFmpegError, ValueError) as error:
            raise AudioHeaderInvalid(f"the {_KNOWN_AS[demuxer]} header cannot be read ({_reason(error)})") from error
        try:
            self._stream = self._only_stream()
            self.info = self._info()
        except Exception:
            self._container.close()
            raise
        self._frames = self._decoded()
        self._rest: Float32 = np.zeros((0, self.info.channels), np.float32)
        self._heard = 0
        self.coded_bytes = 0

    def read(self, frames: int) -> Float32:
        """Return the next frames, float32 (n, channels); fewer at the end.

        Raises:
            AudioTruncated: they cannot be decoded, or fewer are there than the header says.
            AudioHeaderInvalid: rate or channels change on the way.
        """
        pieces, held = [self._rest], len(self._rest)
        while held < frames:
            piece = next(self._frames, None)
            if piece is None:
                break
            pieces.append(piece)
            held += len(piece)
        samples = np.concatenate(pieces)
        self._rest = samples[frames:].copy()
        if held < frames:
            self._check_end()
        return samples[:frames]

    def close(self) -> None:
        """Close FFmpeg's side; the file itself stays open."""
        self._container.close()

    def _only_stream(self) -> Any:
        streams = self._container.streams.audio
        if len(streams) != 1:
            if not self._container.streams:
                raise AudioHeaderInvalid(
                    f"the {_KNOWN_AS[self._demuxer]} file names no track: it was cut off before its index was written"
                )
            if not streams:
                raise AudioEmpty(f"the {_KNOWN_AS[self._demuxer]} file has no sound in it")
            raise AudioFormatUnsupported(f"{len(streams)} sound tracks are in this file: send one")
        return streams[0]

    def _info(self) -> AudioInfo:
        context = self._stream.codec_context
        if context is None:
            raise AudioFormatUnsupported("the file does not say how its sound is coded, or in a way that is not read")
        name = str(context.codec.canonical_name)
        lossy = LOSSY.get(name)
        if lossy is None and name not in LOSSLESS:
            raise AudioFormatUnsupported(f"{name} sound is not read; send WAV or FLAC")
        rate_hz, channels = int(context.sample_rate or 0), int(context.layout.nb_channels if context.layout else 0)
        if channels < 1 or context.format is None:
            raise AudioHeaderInvalid("the header does not say how many channels there are, or of which samples")
        bits = 16 if lossy is not None else min(24, 8 * int(context.format.bytes))
        return AudioInfo(rate_hz, channels, UNKNOWN_FRAMES, self._demuxer.upper(), name.upper(), bits, lossy)

    def _decoded(self) -> Iterator[Float32]:
        try:
            for packet in self._container.demux(self._stream):
                self.coded_bytes += packet.size
                for frame in packet.decode():
                    self._heard += frame.samples
                    yield self._samples(frame)
        except self._av.FFmpegError as error:
            at_s = self._heard / self.info.rate_hz
            raise AudioTruncated(f"the samples cannot be decoded past {at_s:.3f} s: {_reason(error)}") from error

    def _samples(self, frame: AudioFrame) -> Float32:
        channels = frame.layout.nb_channels
        if (frame.sample_rate, channels) != (self.info.rate_hz, self.info.channels):
            raise AudioHeaderInvalid(
                f"{self.info.rate_hz} Hz and {self.info.channels} channels become {frame.sample_rate} Hz and {channels}"
                f" after {self._heard / self.info.rate_hz:.3f} s"
            )
        values = frame.to_ndarray()
        values = values.T if frame.format.is_planar else values.reshape(-1, channels)  # (n, channels)
        offset = 128 if values.dtype.kind == "u" else 0
        scaled = (values.astype(np.float64) - offset) / _FULL_SCALE[values.dtype.str[1:]]
        return scaled.astype(np.float32)

    def _check_end(self) -> None:
        if self._demuxer not in _CLAIMS_HOLD:
            return
        claimed_s = (self._container.duration or 0) / self._av.time_base
        if self._stream.duration and self._stream.time_base:
            claimed_s = float(self._stream.duration * self._stream.time_base)
        there_s = self._heard / self.info.rate_hz
        if there_s < claimed_s - _MISSING_S:
            raise AudioTruncated(f"the header claims {claimed_s:.3f} s, {there_s:.3f} s are there")


_KNOWN_AS: Final = {
    "mov": "M4A/MP4/3GP",
    "amr": "AMR",
    "asf": "WMA",
    "matroska": "Matroska/WebM",
    "aac": "AAC",
    "mp3": "MP3 of unknown length",
}


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError("a recording refers to no other file")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
