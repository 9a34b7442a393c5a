"""``/v1/machines/{machine_id}/shadow``: a version beside the one in use, which tells nobody."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field

from humwatch.bundle.manifest import Version
from humwatch_service.errors import ShadowNotFound
from humwatch_service.shadow.report import ShadowReport
from humwatch_service.web.application import service_of
from humwatch_service.web.kept_file import KeptFileResponse, kept_file
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order
from humwatch_service.web.routes.parameters import MachinePath, RuleChanges, changed_rule, checked_machine_id

router = APIRouter(tags=["versions"])


class ShadowOrder(Order):
    """Let a version hear what the one in use hears."""

    version: Version = Field(description="the candidate; it may be the one in use, where `rule` differs")
    rule: RuleChanges = Field(
        default_factory=dict, description="parameters of the alarm rule that are another for the candidate, by name"
    )


@router.post("/v1/machines/{machine_id}/shadow", status_code=201, responses=problems(404, 409, 422, 503))
async def start(request: Request, machine_id: MachinePath, order: ShadowOrder) -> ShadowReport:
    """Score the live stream by another version beside the one in use. It raises no alarm; it is compared."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    return await service.shadows.start(
        machine.machine_id,
        order.version,
        who=order.who,
        why=order.why,
        rule=changed_rule(machine.rule, order.rule) if order.rule else None,
    )


@router.get("/v1/machines/{machine_id}/shadow", responses=problems(404, 422))
async def report(request: Request, machine_id: MachinePath) -> ShadowReport:
    """What the candidate would have raised so far, and what the version in use did."""
    found = service_of(request).shadows.report(checked_machine_id(machine_id))
    if found is None:
        raise ShadowNotFound(f"no version runs beside the one in use of {machine_id}")
    return found


@router.post("/v1/machines/{machine_id}/shadow:stop", responses=problems(404, 409, 422, 503))
async def stop(request: Request, machine_id: MachinePath, order: Order) -> ShadowReport:
    """End the candidate; the answer is its last report, which the audit trail has as well."""
    return await service_of(request).shadows.stop(checked_machine_id(machine_id), who=order.who, why=order.why)


@router.get(
    "/v1/machines/{machine_id}/shadow/sounds/{name}.flac",
    response_class=KeptFileResponse,
    responses={
        200: {"content": {"audio/flac": {"schema": {"type": "string", "format": "binary"}}}, "description": "FLAC."},
        **problems(410, 422, 503),
    },
)
async def sound(
    request: Request,
    machine_id: MachinePath,
    name: Annotated[str, Path(description="name of the sound, as in `listen` of the report")],
) -> KeptFileResponse:
    """Sound of an alarm that only a candidate would have raised."""
    sounds = service_of(request).state.shadow_sounds
    machine_id = checked_machine_id(machine_id)
    return await kept_file(
        lambda: sounds.path(machine_id, name), media_type="audio/flac", filename=f"{machine_id}-{name}.flac"
    )
