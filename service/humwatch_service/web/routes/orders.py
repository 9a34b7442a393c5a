"""Bodies of an operator's commands."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Who = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), Field(description="who gives the order")
]
Why = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), Field(description="the reason")]


class Order(BaseModel):
    """Who wants something, and why; both are kept in the audit trail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: Who
    why: Why = ""


class ShelveOrder(Order):
    """Tell nobody for a while."""

    for_s: float = Field(gt=0, description="how long, seconds; the machine's rule has a maximum")


class RunOrder(Order):
    """Say whether the machine runs."""

    running: bool | None = Field(description="true, false, or null to leave it to the level")
