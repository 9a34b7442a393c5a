"""Settings of single machines in the configuration file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule


class MachineSettings(BaseModel):
    """A table ``[machines."<id>"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm: AlarmRule = Field(AlarmRule(), description="when scores become alarms")
    join_s: float | None = Field(
        None,
        gt=0,
        le=604_800,
        description="longest pause between two bursts of sound that are joined to one stream, seconds, for senders that"
        " cannot say `join_s`; without it each request or connection is a stream of its own",
    )
    run_state: Literal["level", "signal"] = Field(
        "level",
        description="how it is known whether the machine runs: by its level, or (`signal`) only when somebody says so",
    )
