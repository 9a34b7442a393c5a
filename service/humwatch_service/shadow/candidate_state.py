"""What of a candidate outlives a restart, beside the comparison."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import AlarmSnapshot
from humwatch.alarm.rule import AlarmRule
from humwatch.false_alarms.decision import FalseAlarmRate


class CandidateState(BaseModel):
    """A version beside the one in use, by whose order, and what it has heard."""

    model_config = ConfigDict(extra="forbid")

    version: str
    digest: str
    in_use: str
    in_use_digest: str
    rule: AlarmRule
    started_s: float
    who: str
    why: str
    heard_s: float = 0.0
    heard_until_s: float = Field(0.0, description="second up to which sound was counted; JSON has no infinity")
    snapshot: AlarmSnapshot = AlarmSnapshot()
    failure: str | None = None
    expected: FalseAlarmRate | None = None
    estimated_at_s: float = Field(0.0, description="scored sound when `expected` was estimated, seconds")
