"""Faults of a live source: their names, and a report of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

SourceFault = Literal[
    "bandwidth_limited",
    "silent",
    "stuck",
    "drop_outs",
    "wrong_rate",
    "clipped",
    "dc_offset",
    "level_unusual",
    "clock_drift",
]
SOURCE_FAULTS: Final[tuple[SourceFault, ...]] = get_args(SourceFault)

HARD_FAULTS: Final[frozenset[SourceFault]] = frozenset(
    {"bandwidth_limited", "silent", "stuck", "drop_outs", "wrong_rate"}
)
"""Faults with which nothing can be said of the machine: it is not in the sound, or at other frequencies, or between
holes whose edges sound like impacts. The others leave the machine audible, and it may cause them itself: a fault can
be so loud that it clips or leaves the usual levels. A score beside them can warn and alarm, but is never normal."""


@dataclass(frozen=True)
class FaultReport:
    """A fault of the source, with the numbers that show it."""

    code: SourceFault
    message: str

    @property
    def hard(self) -> bool:
        """True if nothing can be said of the machine while the fault lasts."""
        return self.code in HARD_FAULTS
