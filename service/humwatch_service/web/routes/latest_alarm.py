"""``/v1/machines/{machine_id}/alarms/latest``: the way from a machine, as an alert names it, to its newest alarm."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from humwatch_service.errors import AlarmNotFound
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(prefix="/v1/machines/{machine_id}/alarms/latest", tags=["alarms"])


_ANSWER: Final[dict[str, Any]] = {
    "response_class": RedirectResponse,
    "status_code": 307,
    "response_description": "`Location` is the alarm's own.",
    "responses": problems(404, 422, 503),
}


@router.get("", **_ANSWER)
async def latest(request: Request, machine_id: MachinePath) -> str:
    """The machine's newest alarm."""
    return await _place(request, machine_id)


@router.get("/clip.flac", **_ANSWER)
async def latest_clip(request: Request, machine_id: MachinePath) -> str:
    """The sound of the machine's newest alarm."""
    return await _place(request, machine_id) + "/clip.flac"


@router.get("/picture.png", **_ANSWER)
async def latest_picture(request: Request, machine_id: MachinePath) -> str:
    """The picture of the machine's newest alarm."""
    return await _place(request, machine_id) + "/picture.png"


async def _place(request: Request, machine_id: str) -> str:
    """Return the path of the newest alarm of a machine, also of one that has no model any more."""
    service = service_of(request)
    checked_machine_id(machine_id)
    page = await run_in_threadpool(lambda: service.state.store.alarms(machine_id=machine_id, limit=1))
    if not page.alarms:
        service.live.machines.get(machine_id)
        raise AlarmNotFound(f"{machine_id} never had an alarm")
    return f"/v1/alarms/{page.alarms[0].id}"
