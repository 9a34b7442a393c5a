"""Evidence of one clip of normal sound."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch.detectors.lines import ClipLines
from humwatch.scoring.evidence import Evidence


@dataclass(frozen=True)
class NormalClip:
    """Evidence of one normal clip, and properties of its recording.

    Attributes:
        recording: name of the recording; clips of one name never count as independent.
        evidence: evidence of the clip.
        level_dbfs: level of the recording.
        sample_bits: resolution of a sample, bits.
        quietest_dbfs: level of the quietest whole second of the recording; None where it is not known.
        lines: line spectra of the clip; None for a score without lines.
    """

    recording: str
    evidence: Evidence
    level_dbfs: float
    sample_bits: int
    quietest_dbfs: float | None = None
    lines: ClipLines | None = None
