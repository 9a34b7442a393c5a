"""Head of a recording: how long it is, and when it was made, by what stands in its first bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from humwatch.audio.decoding import DecodeLimits, open_recording
from humwatch.audio.wav_opening import read_wav_opening
from humwatch.errors import AudioError

_ANY_LENGTH: Final = DecodeLimits(max_duration_s=math.inf, max_samples=1 << 62, min_rate_hz=1, max_rate_hz=1 << 30)


@dataclass(frozen=True)
class FileHead:
    """Length and date by the head of a file.

    Attributes:
        length_s: length of the recording, seconds; None where it is not known.
        made: date and time of the `bext` chunk of a Broadcast Wave file, without a zone; None without one.
    """

    length_s: float | None
    made: datetime | None


def read_head(path: Path, size: int) -> FileHead:
    """Return what the head of a file of ``size`` bytes says (blocking). Raises :class:`OSError`."""
    try:
        with path.open("rb") as file:
            opening = read_wav_opening(file)
        if opening is not None:
            bytes_per_s = 0 if opening.format is None else opening.format.bytes_per_s
            return FileHead(size / bytes_per_s if bytes_per_s else None, opening.made)
        with open_recording(path, _ANY_LENGTH) as recording:
            return FileHead(recording.info.duration_s, None)
    except AudioError:
        return FileHead(None, None)
