"""The levels of a model and the false alarms that they cost, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from humwatch.scoring.calibration import ScaleThresholds


class Levels(BaseModel):
    """Two levels of a score."""

    model_config = ConfigDict(frozen=True)

    warn: float = Field(description="at or over this the state is `warning`")
    alarm: float = Field(description="at or over this the state is `alarm`")

    @staticmethod
    def of(thresholds: ScaleThresholds) -> Levels:
        """Return the levels on the normalised scale."""
        return Levels(warn=thresholds.normalise(thresholds.warn.level), alarm=1.0)

    @staticmethod
    def raw(thresholds: ScaleThresholds) -> Levels:
        """Return the levels on the raw scale."""
        return Levels(warn=thresholds.warn.level, alarm=thresholds.alarm.level)


class FalseAlarms(BaseModel):
    """How often normal sound is expected over the alarm level."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(description="expected clips a day of running, clips that do not overlap")
    low: float = Field(description="lower end of the 90 % interval")
    high: float = Field(description="upper end of the 90 % interval")
    promised: bool = Field(description="whether there were recordings enough for the rate that was asked for")

    @staticmethod
    def of(thresholds: ScaleThresholds) -> FalseAlarms:
        """Return the expected false alarms of the alarm level."""
        alarm = thresholds.alarm
        return FalseAlarms(
            value=alarm.false_alarms_a_day,
            low=alarm.rate_low * alarm.clips_a_day,
            high=alarm.rate_high * alarm.clips_a_day,
            promised=alarm.promised,
        )
