"""Whether the machine runs: heard by its level, or told by whoever knows."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

ON_BELOW_QUIETEST_DB: Final = 6.0
"""Power a quarter of the quietest second of calibration: no normal running is so quiet, and a machine that starts
passes this level on its way up, before it is at speed."""
OFF_BELOW_QUIETEST_DB: Final = 10.0
"""4 dB below the other level: seconds of one sound differ by less, so that a level near either cannot flicker."""
OFF_SECONDS: Final = 2
"""One second may be a pause between two strokes, or sound that was lost; two in a row are a machine that stands."""


STOPPING_S: Final = 0.5
"""So long below the other level, it may be about to stand: run-downs of 5 s would alarm before two seconds are over."""


class RunGate(BaseModel):
    """Levels of a second of sound at which a machine is heard to start and to stop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_dbfs: float = Field(description="a second at this level or above: the machine runs")
    off_dbfs: float = Field(description="two seconds in a row below this level: it stands")

    @model_validator(mode="after")
    def _off_is_below_on(self) -> RunGate:
        if not self.off_dbfs < self.on_dbfs:
            raise ValueError("off_dbfs is not below on_dbfs")
        return self

    @staticmethod
    def learned(quietest_dbfs: float) -> RunGate:
        """The gate of a machine whose quietest normal second has this level."""
        return RunGate(
            on_dbfs=quietest_dbfs - ON_BELOW_QUIETEST_DB,
            off_dbfs=quietest_dbfs - OFF_BELOW_QUIETEST_DB,
        )


class RunState:
    """Levels of seconds and explicit signals in, whether the machine runs out.

    An explicit signal goes before the gate, which goes on listening meanwhile. Without gate and signal the machine
    always runs. At the start the gate needs two seconds at most: whatever is not two quiet seconds in a row is taken
    for a machine that runs, as one that is judged in vain does less harm than one that nobody judges.
    """

    def __init__(self, gate: RunGate | None = None) -> None:
        self._gate = gate
        self._signal: bool | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was heard; the explicit signal stays."""
        self._heard: bool | None = None
        self._seconds = 0
        self._quiet_seconds = 0
        self._quiet_s = 0.0

    def change_gate(self, gate: RunGate | None) -> None:
        """Go on with other levels, as of a new calibration; whether the machine runs is not forgotten."""
        self._gate = gate

    def push(self, level_dbfs: float) -> None:
        """Take the level of the next second of sound."""
        if self._gate is None:
            return
        self._seconds += 1
        self._quiet_seconds = self._quiet_seconds + 1 if level_dbfs < self._gate.off_dbfs else 0
        if self._quiet_seconds >= OFF_SECONDS:
            self._heard = False
        elif level_dbfs >= self._gate.on_dbfs or (self._heard is None and self._seconds >= OFF_SECONDS):
            self._heard = True

    def glance(self, level_dbfs: float, seconds: float) -> None:
        """Take the level of the last fraction of a second."""
        quiet = self._gate is not None and level_dbfs < self._gate.off_dbfs
        self._quiet_s = self._quiet_s + seconds if quiet else 0.0

    def signal(self, running: bool | None) -> None:
        """Take an explicit signal; None leaves it to the gate again."""
        self._signal = running

    @property
    def stopping(self) -> bool:
        """Whether it is so quiet that it may be about to stand: it should not be judged before that is known."""
        return self._signal is None and self._quiet_s > STOPPING_S

    @property
    def running(self) -> bool | None:
        """Whether the machine runs; None when nothing was heard yet that tells."""
        if self._signal is not None:
            return self._signal
        return True if self._gate is None else self._heard

    @property
    def may_stand(self) -> bool:
        """Whether the machine stands, or the next second of sound can end with it standing."""
        if self._signal is not None:
            return not self._signal
        return self._gate is not None and (self._heard is False or self._quiet_seconds + 1 >= OFF_SECONDS)
