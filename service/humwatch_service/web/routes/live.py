"""Status and history of a live machine, and the commands of its operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from humwatch.alarm.events import AlarmEvent
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch_service.live.status import LiveStatus, status_of
from humwatch_service.storage.records import EventPage, HistoryPoint, Resolution
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order, RunOrder, ShelveOrder
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["live"])

HOUR_S = 3_600.0


@router.get("/v1/machines/{machine_id}/status", responses=problems(404, 422, 503))
async def status(request: Request, machine_id: MachinePath) -> LiveStatus:
    """What is known of a machine right now."""
    machine = service_of(request).live.machines.get(checked_machine_id(machine_id))
    return await run_in_threadpool(status_of, machine)  # it waits while an alarm of the machine is being kept


@router.get("/v1/machines/{machine_id}/history", responses=problems(404, 422, 503))
async def history(
    request: Request,
    machine_id: MachinePath,
    start_s: Annotated[float | None, Query(ge=0, description="seconds since 1970; default: an hour ago")] = None,
    end_s: Annotated[float | None, Query(ge=0, description="seconds since 1970; default: now")] = None,
    resolution: Annotated[Resolution, Query(description="length of a point")] = "minute",
) -> list[HistoryPoint]:
    """Scores and states of a machine, in order of time."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    end = time.time() if end_s is None else end_s
    start = end - HOUR_S if start_s is None else start_s
    return await run_in_threadpool(service.state.store.history, machine.machine_id, start, end, resolution)


@router.get("/v1/machines/{machine_id}/events", responses=problems(404, 422, 503))
async def events(
    request: Request,
    machine_id: MachinePath,
    limit: Annotated[int, Query(ge=1, le=500, description="most lines of the page")] = 100,
    before: Annotated[int | None, Query(ge=1, description="`next_before` of the page before")] = None,
) -> EventPage:
    """The audit trail of a machine, the newest first."""
    service = service_of(request)
    machine = service.live.machines.get(checked_machine_id(machine_id))
    return await run_in_threadpool(
        lambda: service.state.store.events(machine_id=machine.machine_id, limit=limit, before=before)
    )


@router.post("/v1/machines/{machine_id}:shelve", responses=problems(404, 409, 422, 503))
async def shelve(request: Request, machine_id: MachinePath, order: ShelveOrder) -> LiveStatus:
    """Tell nobody of the machine's alarms for a while; the rule says how long at most."""
    return await _operated(
        request,
        machine_id,
        lambda alarm: alarm.shelve(who=order.who, why=order.why, at_s=time.time(), for_s=order.for_s),
    )


@router.post("/v1/machines/{machine_id}:unshelve", responses=problems(404, 409, 422, 503))
async def unshelve(request: Request, machine_id: MachinePath, order: Order) -> LiveStatus:
    """Tell people again."""
    return await _operated(
        request, machine_id, lambda alarm: alarm.unshelve(who=order.who, why=order.why, at_s=time.time())
    )


@router.post("/v1/machines/{machine_id}:out-of-service", responses=problems(404, 409, 422, 503))
async def out_of_service(request: Request, machine_id: MachinePath, order: Order) -> LiveStatus:
    """Judge nothing of the machine until it is returned."""
    return await _operated(
        request, machine_id, lambda alarm: alarm.take_out_of_service(who=order.who, why=order.why, at_s=time.time())
    )


@router.post("/v1/machines/{machine_id}:in-service", responses=problems(404, 409, 422, 503))
async def in_service(request: Request, machine_id: MachinePath, order: Order) -> LiveStatus:
    """Judge the machine again."""
    return await _operated(
        request, machine_id, lambda alarm: alarm.return_to_service(who=order.who, why=order.why, at_s=time.time())
    )


@router.post("/v1/machines/{machine_id}:run-state", responses=problems(404, 422, 503))
async def run_state(request: Request, machine_id: MachinePath, order: RunOrder) -> LiveStatus:
    """Say whether the machine runs; a machine that does not is `off`, and is not judged."""
    machine = service_of(request).live.machines.get(checked_machine_id(machine_id))
    await run_in_threadpool(lambda: machine.set_running(order.running, who=order.who, why=order.why))
    return status_of(machine)


async def _operated(
    request: Request, machine_id: str, command: Callable[[AlarmStateMachine], list[AlarmEvent]]
) -> LiveStatus:
    machine = service_of(request).live.machines.get(checked_machine_id(machine_id))
    await run_in_threadpool(machine.operate, command)
    return status_of(machine)
