"""Recordings that libsndfile reads."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO, Final

import numpy as np
import soundfile

from humwatch.arrays import Float32
from humwatch.audio.claims import check_claims, check_frames
from humwatch.audio.info import AudioInfo
from humwatch.audio.sample_bytes import part_of, whole
from humwatch.audio.wav_format import A_LAW, FLOAT, MU_LAW, PCM
from humwatch.audio.wav_header import WavHeader
from humwatch.errors import AudioError, AudioFormatUnsupported, AudioTruncated

SAMPLE_BITS: Final = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 24, "DOUBLE": 53} | {
    f"ALAC_{bits}": bits for bits in (16, 20, 24, 32)
}
"""Encodings that keep every sample, and their resolution."""

LOSSY: Final = {
    "MPEG_LAYER_I": ("MPEG layer I", 16),
    "MPEG_LAYER_II": ("MP2", 16),
    "MPEG_LAYER_III": ("MP3", 16),
    "VORBIS": ("Vorbis", 16),
    "OPUS": ("Opus", 16),
    "ULAW": ("mu-law", 12),
    "ALAW": ("A-law", 12),
    "IMA_ADPCM": ("IMA ADPCM", 12),
    "MS_ADPCM": ("Microsoft ADPCM", 12),
}
"""Encodings that leave out sound: the name, and the resolution in bits that they may claim to have."""

CONTAINERS: Final = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "OGG", "MP3"})

_RAW_SUBTYPES: Final = {
    (PCM, 8): "PCM_U8",
    (PCM, 16): "PCM_16",
    (PCM, 24): "PCM_24",
    (PCM, 32): "PCM_32",
    (FLOAT, 32): "FLOAT",
    (FLOAT, 64): "DOUBLE",
    (MU_LAW, 8): "ULAW",
    (A_LAW, 8): "ALAW",
}

MIN_BITS: Final = 8
"""No recorder has fewer; a header may say so."""

_PROBE_FRAMES: Final = 1 << 14


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its start to its end: libsndfile cannot seek to the end of one that it does not know."""

    def seekable(self) -> bool:
        return False


class SoundFileReader:
    """Frames of a file through libsndfile, in order."""

    def __init__(self, file: _ForwardFile, info: AudioInfo, *, coded_bytes: int = 0, left_shift: int = 0) -> None:
        self.info = info
        self.coded_bytes = coded_bytes
        self._given = 0
        self._file = file
        self._left_shift = left_shift

    def read(self, frames: int) -> Float32:
        """Return the next frames, float32 (n, channels); fewer at the end.

        Raises:
            AudioTruncated: they cannot be decoded.
        """
        try:
            if not self._left_shift:
                samples: Float32 = self._file.read(frames, dtype="float32", always_2d=True)
            else:
                whole = self._file.read(frames, dtype="int32", always_2d=True)
                samples = (whole << self._left_shift).astype(np.float32) * np.float32(2.0**-31)
        except soundfile.LibsndfileError as error:
            raise AudioTruncated(f"the samples cannot be decoded past frame {self._given}: {error}") from error
        self._given += len(samples)
        return samples

    def close(self) -> None:
        """Close libsndfile's side; the file itself stays open."""
        self._file.close()


def open_wav(file: BinaryIO, header: WavHeader) -> SoundFileReader:
    """Open a file of the WAV family whose header was checked.

    Raises:
        AudioFormatUnsupported: the encoding is not read.
        AudioHeaderInvalid: libsndfile makes nothing of it.
    """
    form = header.format
    subtype = _RAW_SUBTYPES.get((form.tag, form.bits))
    if subtype is None:
        return _open_coded_wav(file, header)
    raw = _ForwardFile(
        part_of(file, header.spans),
        samplerate=form.rate_hz,
        channels=form.channels,
        subtype=subtype,
        format="RAW",
        endian="BIG" if header.container.byte_order == ">" else "LITTLE",
    )
    bits, lossy = _kept(subtype)
    info = AudioInfo(form.rate_hz, form.channels, header.frames, header.container.name, subtype, bits, lossy)
    if form.tag != PCM:
        return SoundFileReader(raw, info, coded_bytes=header.data_bytes)
    spare = form.bits - form.valid_bits
    shift = spare if form.low_justified and not _fills_the_top(raw) else 0
    return SoundFileReader(raw, replace(info, sample_bits=max(MIN_BITS, form.valid_bits)), left_shift=shift)


def open_other(file: BinaryIO) -> SoundFileReader | None:
    """Open a file of another container; None where libsndfile would read only a part of it.

    Raises:
        AudioFormatUnsupported: the container or the encoding is not read.
        AudioHeaderInvalid, AudioTruncated: it claims what is not there.
    """
    patches = check_claims(file)
    try:
        opened = _ForwardFile(whole(file, patches))
    except soundfile.LibsndfileError as error:
        raise AudioFormatUnsupported(
            f"this is no recording that can be read ({error.error_string}); samples without a header are not taken"
        ) from error
    reader = _checked(file, opened)
    try:
        found_all = check_frames(file, reader.info.format, reader.info.frames)
    except AudioError:
        reader.close()
        raise
    if found_all:
        return reader
    reader.close()
    return None


def _open_coded_wav(file: BinaryIO, header: WavHeader) -> SoundFileReader:
    """Open a WAV file of coded samples, which libsndfile takes apart itself."""
    tag = header.format.tag
    if header.container.name != "WAV" or len(header.spans) > 1 or not header.complete:
        raise AudioFormatUnsupported(f"this WAV encoding (tag {tag:#06x}) is not read without a length, or in parts")
    try:
        opened = _ForwardFile(whole(file))
    except soundfile.LibsndfileError as error:
        raise AudioFormatUnsupported(f"this WAV encoding (tag {tag:#06x}) is not read") from error
    reader = _checked(file, opened)
    if header.coded_frames:
        # The last block is filled up; the `fact` chunk says with how much.
        reader.info = replace(reader.info, frames=min(reader.info.frames, header.coded_frames))
    return reader


def _checked(file: BinaryIO, opened: _ForwardFile) -> SoundFileReader:
    container, subtype = str(opened.format), str(opened.subtype)
    size = file.seek(0, 2)
    try:
        if container not in CONTAINERS:
            raise AudioFormatUnsupported(f"{container} files are not read; send WAV or FLAC")
        if subtype not in SAMPLE_BITS and subtype not in LOSSY:
            raise AudioFormatUnsupported(f"{subtype} samples are not read; send PCM, float or FLAC")
    except Exception:
        opened.close()
        raise
    bits, lossy = _kept(subtype)
    info = AudioInfo(opened.samplerate, opened.channels, opened.frames, container, subtype, bits, lossy)
    return SoundFileReader(opened, info, coded_bytes=size)


def _kept(subtype: str) -> tuple[int, str | None]:
    """Return the resolution in bits, and the name of a coding that leaves out sound."""
    if subtype in LOSSY:
        name, bits = LOSSY[subtype]
        return bits, name
    return SAMPLE_BITS[subtype], None


def _fills_the_top(raw: _ForwardFile) -> bool:
    """Return whether samples of 24 bits in 32 lie in the upper ones: the lowest 8 are zero, and the highest vary."""
    samples = raw.read(_PROBE_FRAMES, dtype="int32", always_2d=True)
    raw.seek(0)
    top = np.unique(samples >> 24)
    return not np.any(samples & 0xFF) and len(top) > 1 and not np.isin(top, (-1, 0)).all()
