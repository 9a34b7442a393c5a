"""Progress of a collector of normal sound: what is there, what was rejected, and what is wrong with the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from humwatch.calibration.calibration_buffer import RECORDING_S
from humwatch.source.faults import FaultReport


@dataclass(frozen=True)
class CollectorProgress:
    """Progress of a collector.

    Attributes:
        minutes: whole minutes of normal sound; only these calibrate.
        wanted_minutes: minutes at which it stops.
        collected_s: sound in whole clips, those of the open minute included, seconds.
        rejected_s: sound that was wanted, came and was not used, seconds.
        rejected: rejected sound by reason, seconds: a fault of the source, ``not_running`` or ``stream_changed``;
            where several hold at once each of them counts.
        faults: present faults of the source.
        level_dbfs: level of the last second; None before the first.
        paused: True while a signal or the level says that the machine does not run.
        done: True once the minutes are there, and no fault was named in the last of them since.
        heard_s: time of the end of the last sound, seconds since 1970; None before any.
        next_s: time from which the next minute is wanted, in the past while it is being collected or waited for; None
            where no more are wanted.
    """

    minutes: int
    wanted_minutes: int
    collected_s: float = 0.0
    rejected_s: float = 0.0
    rejected: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[FaultReport, ...] = ()
    level_dbfs: float | None = None
    paused: bool = False
    done: bool = False
    heard_s: float | None = None
    next_s: float | None = None

    @property
    def wanted_s(self) -> float:
        """Length of the sound at which it stops, seconds."""
        return self.wanted_minutes * RECORDING_S
