"""Live view of all machines, or of the sound of one, as server-sent events (``docs/events.md``)."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from humwatch_service.storage.fleet_history import FleetHistory
from humwatch_service.viewers.broadcast import EventStream
from humwatch_service.web.application import service_of
from humwatch_service.web.kept_file import KeptFileResponse, kept_file
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["live"])


_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Events without an end; docs/events.md describes them.",
    }
}


class EventStreamResponse(StreamingResponse):
    """Events until the viewer leaves or the service stops; then the place is free again, whatever happened.

    FastAPI's own ``EventSourceResponse`` takes a generator for an endpoint and keeps events in a queue of its own,
    which nothing bounds here and nothing counts.
    """

    media_type = "text/event-stream"

    def __init__(self, stream: EventStream, status_code: int = 200) -> None:
        """Take the status by name: FastAPI reads it for its description from here."""
        super().__init__(stream.events, status_code, headers={"X-Accel-Buffering": "no"})  # nginx would collect them
        self._viewer = stream.viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewer.leave()


@router.get("/v1/live", response_class=EventStreamResponse, responses={**_EVENTS, **problems(503)})
async def fleet(request: Request) -> EventStreamResponse:
    """All machines, then what is new of them once a second, and alarms."""
    return EventStreamResponse(await service_of(request).broadcast.watch_fleet())


@router.get(
    "/v1/machines/{machine_id}/live",
    response_class=EventStreamResponse,
    responses={**_EVENTS, **problems(404, 422, 503)},
)
async def machine(
    request: Request,
    machine_id: MachinePath,
    last_event_id: Annotated[str | None, Header(description="of the last event that came before a break")] = None,
) -> EventStreamResponse:
    """The last minute of a machine's sound as a spectrogram, then every second as it is scored."""
    service = service_of(request)
    found = service.live.machines.get(checked_machine_id(machine_id))
    return EventStreamResponse(service.broadcast.watch_machine(found, last_event_id))


@router.get(
    "/v1/machines/{machine_id}/normal.flac",
    response_class=KeptFileResponse,
    responses={
        200: {"content": {"audio/flac": {"schema": {"type": "string", "format": "binary"}}}, "description": "FLAC."},
        **problems(404, 422, 503),
    },
)
async def normal(request: Request, machine_id: MachinePath) -> KeptFileResponse:
    """Ten seconds of the machine's sound while it was normal for a minute, renewed once an hour."""
    service = service_of(request)
    found = service.live.machines.get(checked_machine_id(machine_id))
    return await kept_file(
        lambda: service.state.normal_sounds.path(found.machine_id),
        media_type="audio/flac",
        filename=f"{found.machine_id}-normal.flac",
    )


@router.get("/v1/fleet/history", responses=problems(422, 503))
async def history(
    request: Request,
    minutes: Annotated[int, Query(ge=1, le=240, description="how far back, the running minute included")] = 60,
) -> FleetHistory:
    """The highest score and the state of every machine in each of the last minutes."""
    service = service_of(request)
    machine_ids = sorted(service.live.machines.by_id)
    return await run_in_threadpool(service.state.store.fleet_history, machine_ids, time.time(), minutes)
