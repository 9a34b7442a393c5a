"""Running state of the machine: from the level of its sound, or from a signal."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

ON_BELOW_QUIETEST_DB: Final = 6.0
"""Power a quarter of the quietest second of calibration: no normal running is so quiet, and a machine that starts
passes this level on its way up, before it is at speed."""
OFF_BELOW_QUIETEST_DB: Final = 10.0
"""4 dB below the other level: seconds of one sound differ by less, so that a level near either cannot flicker."""
OFF_SECONDS: Final = 2
"""One second may be a pause between two strokes, or sound that was lost; two in a row are a machine that is off."""
STOPPING_S: Final = 0.5
"""So long below the other level, it may be about to stop: run-downs of 5 s would alarm before two seconds are over."""


class RunGate(BaseModel):
    """Levels of a second of sound at which a machine starts and stops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_dbfs: float = Field(description="a second at this level or above: the machine runs")
    off_dbfs: float = Field(description="two seconds in a row below this level: it stands")

    @model_validator(mode="after")
    def _off_is_below_on(self) -> RunGate:
        if not self.off_dbfs < self.on_dbfs:
            raise ValueError("off_dbfs is not below on_dbfs")
        return self

    @staticmethod
    def from_quietest(quietest_dbfs: float) -> RunGate:
        """Return the gate of a machine whose quietest normal second has this level, dBFS."""
        return RunGate(
            on_dbfs=quietest_dbfs - ON_BELOW_QUIETEST_DB,
            off_dbfs=quietest_dbfs - OFF_BELOW_QUIETEST_DB,
        )


class RunState:
    """Levels of seconds and explicit signals in, the running state out.

    An explicit signal goes before the gate, which follows the levels all the same. Without gate and signal the
    machine always runs. At the start the gate needs two seconds at most: anything but two quiet seconds in a row is
    a machine that runs, as one that is judged in vain does less harm than one that nobody judges.
    """

    def __init__(self, gate: RunGate | None = None) -> None:
        self._gate = gate
        self._signal: bool | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all levels; the explicit signal stays."""
        self._by_level: bool | None = None
        self._seconds = 0
        self._quiet_seconds = 0
        self._quiet_s = 0.0

    def change_gate(self, gate: RunGate | None) -> None:
        """Go on with other levels, as of a new calibration; the running state is kept."""
        self._gate = gate

    def push(self, level_dbfs: float) -> None:
        """Take the level of the next second of sound."""
        if self._gate is None:
            return
        self._seconds += 1
        self._quiet_seconds = self._quiet_seconds + 1 if level_dbfs < self._gate.off_dbfs else 0
        if self._quiet_seconds >= OFF_SECONDS:
            self._by_level = False
        elif level_dbfs >= self._gate.on_dbfs or (self._by_level is None and self._seconds >= OFF_SECONDS):
            self._by_level = True

    def push_part(self, level_dbfs: float, seconds: float) -> None:
        """Take the level of the last fraction of a second."""
        quiet = self._gate is not None and level_dbfs < self._gate.off_dbfs
        self._quiet_s = self._quiet_s + seconds if quiet else 0.0

    def signal(self, running: bool | None) -> None:
        """Take an explicit signal; None leaves it to the gate again."""
        self._signal = running

    @property
    def stopping(self) -> bool:
        """True while it is so quiet that the machine may be about to stop, and should not be judged yet."""
        return self._signal is None and self._quiet_s > STOPPING_S

    @property
    def quiet_s(self) -> float:
        """Seconds for which it has been so quiet."""
        return self._quiet_s

    @property
    def running(self) -> bool | None:
        """True while the machine runs; None until levels show that."""
        if self._signal is not None:
            return self._signal
        return True if self._gate is None else self._by_level

    @property
    def may_be_off(self) -> bool:
        """True if the machine is off, or the next second of sound can end with it off."""
        if self._signal is not None:
            return not self._signal
        return self._gate is not None and (self._by_level is False or self._quiet_seconds + 1 >= OFF_SECONDS)
