"""``/v1/machines/{machine_id}/versions/{version}:backtest``: a version over the sound that is kept of its machine."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from humwatch.bundle.manifest import Version
from humwatch_service.rehearsal.backtest_report import Backtest
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.hang_up import hung_up
from humwatch_service.web.routes.parameters import MachinePath, RuleChanges, changed_rule, checked_machine_id

router = APIRouter(tags=["versions"])

VersionPath = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$"), Path(description="version to try")]


class BacktestOrder(BaseModel):
    """What to compare with. A backtest changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    old: Version | None = Field(None, description="version to compare with; null: the one in use")
    rule: RuleChanges = Field(
        default_factory=dict, description="parameters of the alarm rule that are another for the version to try"
    )
    days: float = Field(30.0, gt=0, le=400, description="how far back kept sound and history are played, days")


@router.post("/v1/machines/{machine_id}/versions/{version}:backtest", responses=problems(404, 409, 422, 503))
async def run(request: Request, machine_id: MachinePath, version: VersionPath, order: BacktestOrder) -> Backtest:
    """Play what is kept of a machine through two versions: an hour of sound at most, which may take minutes."""
    service = service_of(request)
    known = service.settings.machine(checked_machine_id(machine_id)).alarm
    return await service.backtests.run(
        machine_id,
        old=order.old,
        new=version,
        rule=changed_rule(known, order.rule),
        days=order.days,
        gone=lambda: hung_up(request),
    )
