"""Decision of a version: the limits of its sequential rule, and the false alarms they are expected to cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import SequentialLimits


class FalseAlarmRate(BaseModel):
    """False alarms a week that a rule is expected to raise, estimated from normal scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted_a_week: float = Field(gt=0, description="false alarms a week that were asked for")
    expected_a_week: float | None = Field(description="estimate; null where nothing can be said")
    low_a_week: float | None = Field(description="lower end of its 90 % interval")
    high_a_week: float | None = Field(description="upper end")
    heard_s: float = Field(ge=0, description="normal sound that it rests on, seconds")
    blocks: int = Field(ge=0, description="stretches of that sound that were counted as independent")
    promised: bool = Field(description="whether the sound suffices to promise what was asked for")
    reason: str | None = Field(description="why it is not promised; null where it is")


class Decision(BaseModel):
    """When scores of a version become an alarm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: SequentialLimits
    rate: FalseAlarmRate


def decision_under(rule: AlarmRule, decision: Decision | None) -> Decision | None:
    """Return the decision of a version that is in force under a rule; None where the rule decides without one."""
    return decision if rule.decision == "sequential" else None
