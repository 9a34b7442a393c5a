"""Last second of a machine, and which detector decided its score."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch.detectors.detector_set import DetectorName
from humwatch.live.model import LiveModel
from humwatch.live.step import LiveStep
from humwatch.monitor import ScaleScore
from humwatch.source.faults import FaultReport
from humwatch_service.protocol.detections import Detection


@dataclass(frozen=True)
class MachineReading:
    """Last second of a machine.

    Attributes:
        at_s: wall clock at its end, seconds since 1970.
        score: score of the last clip; None without one.
        raw_score: score of the last clip before normalisation.
        step_score: score of the last second.
        level_dbfs: level of the last second.
        running: True while the machine runs; None when it is not known.
        faults: faults of the source.
        detection: detector that decided the last clip's score, and its times on the wall clock; None without one.
        late_s: how long after that time it was heard, seconds.
        place_s: its place in the history, where nobody can date it, seconds since 1970; None: as ``at_s``.
    """

    at_s: float
    score: float | None
    raw_score: float | None
    step_score: float | None
    level_dbfs: float
    running: bool | None
    faults: tuple[FaultReport, ...]
    detection: Detection | None = None
    late_s: float = 0.0
    place_s: float | None = None


def detection_of(clip: ScaleScore, end_s: float, model: LiveModel) -> Detection:
    """Return which detector decided a clip, and when, if the clip ended at ``end_s``, seconds since 1970."""
    return Detection.ending_at(clip, end_s, model.bundle.manifest.features.rate_hz)


def detector_of(step: LiveStep | None) -> DetectorName | None:
    """Return which detector decided the clip that ends with a step; None without one."""
    return None if step is None or step.scores is None or step.scores.clip is None else step.scores.clip.detector
