"""The evidence of one clip of normal sound."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch.detectors.lines import ClipLines
from humwatch.scoring.evidence import Evidence


@dataclass(frozen=True)
class NormalClip:
    """Evidence of one normal clip, and what is known of the recording that it was cut from.

    Attributes:
        recording: its name; clips of one name are never told apart as independent.
        evidence: of the clip.
        level_dbfs: of the recording.
        sample_bits: its resolution.
        quietest_dbfs: level of its quietest whole second; None where nobody measured it.
        lines: its line spectra; None where nobody heard its samples.
    """

    recording: str
    evidence: Evidence
    level_dbfs: float
    sample_bits: int
    quietest_dbfs: float | None = None
    lines: ClipLines | None = None
