"""Settings of single machines in the configuration file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule


class MachineSettings(BaseModel):
    """A table ``[machines."<id>"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm: AlarmRule = Field(AlarmRule(), description="when scores become alarms")
    run_state: Literal["level", "signal"] = Field(
        "level",
        description="how it is known whether the machine runs: by its level, or (`signal`) only when somebody says so",
    )
