"""What became of a version since it came into use: its normal, its false alarms, and the sound to make the next of."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from humwatch_service.oversight.drifts import DriftReport
from humwatch_service.oversight.false_alarms import FalseAlarmReport
from humwatch_service.oversight.limits import MAX_DAYS, LimitsReport
from humwatch_service.storage.export import DatasetSource
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

_FILE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}

router = APIRouter(tags=["oversight"])


@router.get("/v1/machines/{machine_id}/drift", responses=problems(404, 422, 503))
async def drift(request: Request, machine_id: MachinePath) -> DriftReport:
    """Whether the machine's normal sound has moved, in which bands and since when; what would calibrate it anew."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    return await run_in_threadpool(service.drifts.report, machine)


@router.get("/v1/machines/{machine_id}/false-alarms", responses=problems(404, 422, 503))
async def false_alarms(request: Request, machine_id: MachinePath) -> FalseAlarmReport:
    """False alarms a week: promised by the version in use, and seen since it and the rule are in force."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    return await run_in_threadpool(service.false_alarms.report, machine)


class LimitsOrder(Order):
    """Declare the last days normal, but for alarms that were judged right, and fit limits to them."""

    days: float = Field(7.0, gt=0, le=MAX_DAYS, description="days up to now")
    false_alarms_a_week: float | None = Field(
        None, gt=0, le=10_000, description="wanted; default: what the machine's alarm rule asks for"
    )
    activate: bool = Field(False, description="use the new version from now on; else it can be tried first")


@router.post("/v1/machines/{machine_id}/limits", status_code=201, responses=problems(404, 409, 422, 503))
async def limits(request: Request, machine_id: MachinePath, order: LimitsOrder) -> LimitsReport:
    """Make a version with alarm limits that are fitted to what the version in use scored on normal live sound."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    return await service.limits.fit(
        machine,
        days=order.days,
        wanted_a_week=order.false_alarms_a_week,
        activate=order.activate,
        who=order.who,
        why=order.why,
    )


@router.get(
    "/v1/machines/{machine_id}/dataset",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": _FILE}, "description": "ZIP."}, **problems(404, 422, 503)},
)
async def dataset(
    request: Request,
    machine_id: MachinePath,
    who: Annotated[bool, Query(description="name in labels.csv who judged each alarm")] = False,
) -> StreamingResponse:
    """Kept normal sound and judged alarms of a machine, in folders that `humwatch-train` reads, with labels.csv."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    state = service.state
    source = DatasetSource(state.store, state.evidence, state.kept_sounds, who=who)
    pieces = source.zipped(machine.machine_id)
    first = await run_in_threadpool(next, pieces)  # so that a database that cannot be read has its answer
    headers = {"Content-Disposition": f'attachment; filename="{machine.machine_id}.zip"'}
    return StreamingResponse(chain([first], pieces), media_type="application/zip", headers=headers)
