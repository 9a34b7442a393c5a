"""Result for about a second of a live stream."""

from __future__ import annotations

from dataclasses import dataclass

from humwatch.alarm.events import Observation
from humwatch.live.model import LiveModel
from humwatch.monitor import Step
from humwatch.source.faults import FaultReport


@dataclass(frozen=True)
class LiveStep:
    """Result for about a second of sound.

    Attributes:
        start_sample: first sample that it is about, at the source's rate since the start of the stream.
        end_sample: index one past the last sample.
        observation: observation for the alarm state machine; None for sound from before a restart, which only warms
            up, and while the machine may be about to stop.
        scores: scores of the last second and the last clip; None while the machine does not run.
        clip_start_sample: first sample that the clip's score depends on; None without one.
        level_dbfs: level of the last whole second.
        faults: faults of the source.
        running: True while the machine runs; None until that is known.
        model: model that gave the scores.
    """

    start_sample: int
    end_sample: int
    observation: Observation | None
    scores: Step | None
    clip_start_sample: int | None
    level_dbfs: float
    faults: tuple[FaultReport, ...]
    running: bool | None
    model: LiveModel

    @property
    def clip_score(self) -> float | None:
        """Score of the clip that ends here; None before the first whole clip."""
        return self.scores.clip.score if self.scores is not None and self.scores.clip is not None else None
