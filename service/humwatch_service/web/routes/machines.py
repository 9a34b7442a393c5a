"""``/v1/machines``: the machines that can be scored, and the facts about their models."""

from __future__ import annotations

from fastapi import APIRouter, Request

from humwatch_service.models.cards import MachineCard, MachineSummary, card_of, summary_of
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["machines"])


@router.get("/v1/machines", responses=problems())
async def machines(request: Request) -> list[MachineSummary]:
    """All machines that can be scored."""
    return [summary_of(model) for model in service_of(request).models.current.models.values()]


@router.get("/v1/machines/{machine_id}", responses=problems(404, 422, 503))
async def machine(request: Request, machine_id: MachinePath) -> MachineCard:
    """Everything about one machine's model."""
    return card_of(service_of(request).models.get(checked_machine_id(machine_id)))
