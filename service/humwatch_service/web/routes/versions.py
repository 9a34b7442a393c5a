"""``/v1/machines/{machine_id}/versions``: the versions of a machine's model, and the one in use."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from humwatch.bundle.manifest import Version
from humwatch_service.models.versions import VersionList
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["versions"])


class ActivateOrder(Order):
    """Use a version."""

    version: Version = Field(description="which one")


@router.get("/v1/machines/{machine_id}/versions", responses=problems(404, 422, 503))
async def versions(request: Request, machine_id: MachinePath) -> VersionList:
    """Every version of a machine's model, with what its thresholds rest on."""
    return await service_of(request).versions.list_of(checked_machine_id(machine_id))


@router.post("/v1/machines/{machine_id}:activate", responses=problems(404, 422, 503))
async def activate(request: Request, machine_id: MachinePath, order: ActivateOrder) -> VersionList:
    """Use a version from now on. One that fails a check is refused, and the one in use stays."""
    return await service_of(request).versions.activate(
        checked_machine_id(machine_id), order.version, who=order.who, why=order.why
    )


@router.post("/v1/machines/{machine_id}:rollback", responses=problems(404, 422, 503))
async def rollback(request: Request, machine_id: MachinePath, order: Order) -> VersionList:
    """Use the version again that was used before."""
    return await service_of(request).versions.rollback(checked_machine_id(machine_id), who=order.who, why=order.why)
