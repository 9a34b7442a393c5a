"""``/v1/machines``: which machines can be scored, and what is known of their models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from humwatch_service.models.cards import MachineCard, MachineSummary, card_of, summary_of
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.score import checked_machine_id

router = APIRouter(tags=["machines"])


@router.get("/v1/machines", responses=problems())
async def machines(request: Request) -> list[MachineSummary]:
    """All machines that can be scored."""
    return [summary_of(machine) for machine in service_of(request).machines.fleet.machines.values()]


@router.get("/v1/machines/{machine_id}", responses=problems(404, 422, 503))
async def machine(request: Request, machine_id: Annotated[str, Path(description="id of the machine")]) -> MachineCard:
    """Everything about one machine's model."""
    return card_of(service_of(request).machines.get(checked_machine_id(machine_id)))
