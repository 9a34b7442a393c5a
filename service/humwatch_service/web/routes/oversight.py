"""What became of a version since it came into use: its normal, and its false alarms."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from humwatch_service.oversight.drifts import DriftReport
from humwatch_service.oversight.false_alarms import FalseAlarmReport
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

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
