"""Alarm rule of one machine: from scores to alarms. Delays are seconds of sound, never of the wall clock."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AlarmRule(BaseModel):
    """How scores become states (terms: ISA-18.2, OPC UA Part 9).

    The rule holds for both levels, `warn` and `alarm`, alike; only the alarm level makes alarms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["sequential", "on_delay"] = Field(
        "sequential",
        description="`sequential`: evidence adds up, by limits that come with the model; with a model without them,"
        " as `on_delay`: the score has to be over the level for the on-delay",
    )
    false_alarms_a_week: float = Field(
        1.0, gt=0, le=10_000, description="false alarms a week that limits are fitted for, running day and night"
    )
    on_delay_s: float = Field(
        5.0, ge=0, le=86_400, description="the score has to be over the level this long, seconds of sound"
    )
    off_delay_s: float = Field(
        30.0, ge=0, le=86_400, description="the score has to be below the dead-band this long, seconds of sound"
    )
    dead_band: float = Field(
        0.1, ge=0, le=10, description="how far below the level the score has to fall before it counts as below"
    )
    k: int = Field(1, ge=1, le=600, description="of the last `n` scores, this many have to be over the level")
    n: int = Field(1, ge=1, le=600, description="scores that `k` is counted among; one a second")
    latch: bool = Field(False, description="an alarm stays in force until it is acknowledged, also when it is over")
    realarm_s: float | None = Field(
        3_600.0, gt=0, description="an alarm that nobody acknowledges is announced again after this, seconds of sound"
    )
    startup_s: float = Field(
        10.0,
        ge=0,
        le=86_400,
        description="after the machine starts, scores decide nothing for this long, seconds of sound",
    )
    shelve_max_s: float = Field(
        28_800.0,
        gt=0,
        le=2_592_000,
        description="longest time that an operator may shelve the machine's alarm, seconds of the clock",
    )

    @model_validator(mode="after")
    def _k_of_n(self) -> AlarmRule:
        if self.k > self.n:
            raise ValueError("k is more than n")
        return self
