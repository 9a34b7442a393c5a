"""Header of a recording, known before its samples are read, and limits of what is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

UNKNOWN_FRAMES: Final = 1 << 62
"""From this count on nobody knows how long a recording is: its header does not say."""


FAITHFUL_BITS_PER_S: Final = {"MP3": 44_000, "Vorbis": 44_000, "AAC": 56_000, "Opus": 56_000}
"""Coded with fewer bits a second and channel, normal sound alarms and faults are missed (docs/recordings.md)."""

OTHER_FAITHFUL_BITS_PER_S: Final = 56_000
"""The same for codings that were not measured below it."""

SAMPLEWISE: Final = frozenset({"mu-law", "A-law", "IMA ADPCM", "Microsoft ADPCM"})
"""Codings of each sample by itself or by its neighbours: they hiss a little, and leave out nothing."""

POORLY_CODED_BITS: Final = 8
"""Resolution that such recordings have: judged only by a calibration on recordings as coarse."""


@dataclass(frozen=True)
class DecodeLimits:
    """Limits of a recording; checked from the header, and counted where a header does not say how long it is."""

    max_duration_s: float = 600.0
    max_channels: int = 16
    min_rate_hz: int = 4_000
    max_rate_hz: int = 384_000
    max_samples: int = 256_000_000
    """Frames x channels of the whole recording: bounds the work, as the block bounds the memory."""


@dataclass(frozen=True)
class AudioInfo:
    """Header of a recording.

    Attributes:
        rate_hz: frames per second.
        channels: number of channels.
        frames: number of frames.
        format: container, e.g. ``WAV`` or ``FLAC``.
        subtype: encoding, e.g. ``PCM_16``.
        sample_bits: resolution of a sample, bits.
        lossy: name of the coding that left out sound, as people know it; None where nothing was left out.
        bits_per_s: bits a second that such a coding left of each channel.
    """

    rate_hz: int
    channels: int
    frames: int
    format: str
    subtype: str
    sample_bits: int
    lossy: str | None = None
    bits_per_s: float | None = None

    @property
    def poorly_coded(self) -> bool:
        """True if a lossy coding left too few bits to judge the sound by an ordinary calibration."""
        return self.lossy is not None and self.sample_bits <= POORLY_CODED_BITS

    @property
    def full_scale(self) -> bool:
        """True if samples have a full scale, as integers have; floats may be in any unit."""
        return self.subtype not in ("FLOAT", "DOUBLE")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate_hz

    def coded_in(self, coded_bytes: int) -> AudioInfo:
        """Return what is known once the length is: how coarse a lossy coding of so many bytes is."""
        if self.lossy is None or self.frames <= 0:
            return self
        bits_per_s = 8 * coded_bytes / self.duration_s / self.channels
        faithful = 0 if self.lossy in SAMPLEWISE else FAITHFUL_BITS_PER_S.get(self.lossy, OTHER_FAITHFUL_BITS_PER_S)
        bits = self.sample_bits if bits_per_s >= faithful else min(self.sample_bits, POORLY_CODED_BITS)
        return replace(self, sample_bits=bits, bits_per_s=bits_per_s)
