"""``/v1/alarms``: alarms with their sound, and what people made of them."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from humwatch_service.storage.records import AlarmPage, AlarmRecord, EventPage, Verdict, split_alarm_id
from humwatch_service.web.application import Service, service_of
from humwatch_service.web.kept_file import KeptFileResponse, kept_file
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order, ShelveOrder

router = APIRouter(tags=["alarms"])

AlarmPath = Annotated[str, Path(description="id of the alarm")]

_FILES: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}


class FeedbackOrder(Order):
    """What was found at the machine."""

    verdict: Verdict = Field(description="whether there was something wrong with the machine")
    cause: str = Field("", max_length=500, description="what it was")
    action: str = Field("", max_length=500, description="what was done about it")


@router.get("/v1/alarms", responses=problems(422, 503))
async def alarms(
    request: Request,
    machine_id: Annotated[str | None, Query(description="of this machine only")] = None,
    open_only: Annotated[bool, Query(alias="open", description="active or not acknowledged only")] = False,
    since_s: Annotated[float | None, Query(ge=0, description="raised at or after, seconds since 1970")] = None,
    until_s: Annotated[float | None, Query(ge=0, description="raised before, seconds since 1970")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="most alarms of the page")] = 50,
    before: Annotated[int | None, Query(ge=1, description="`next_before` of the page before")] = None,
) -> AlarmPage:
    """Alarms, the newest first."""
    store = service_of(request).state.store
    return await run_in_threadpool(
        lambda: store.alarms(
            machine_id=machine_id,
            open_only=open_only,
            since_s=since_s,
            until_s=until_s,
            limit=limit,
            before=before,
        )
    )


@router.get("/v1/alarms/{alarm_id}", responses=problems(404, 422, 503))
async def alarm(request: Request, alarm_id: AlarmPath) -> AlarmRecord:
    """One alarm, with its score trace, the rule in force and the bands in Hz."""
    return await run_in_threadpool(service_of(request).state.store.alarm, alarm_id)


@router.get("/v1/alarms/{alarm_id}/events", responses=problems(404, 422, 503))
async def events(request: Request, alarm_id: AlarmPath) -> EventPage:
    """What happened to an alarm and who did it, the newest first."""
    store = service_of(request).state.store
    return await run_in_threadpool(lambda: store.events(alarm_id=alarm_id, limit=500))


@router.get(
    "/v1/alarms/{alarm_id}/clip.flac",
    response_class=KeptFileResponse,
    responses={200: {"content": {"audio/flac": _FILES}, "description": "FLAC."}, **problems(404, 410, 422, 503)},
)
async def clip(request: Request, alarm_id: AlarmPath) -> KeptFileResponse:
    """The sound of an alarm, with ten seconds before and after."""
    service = service_of(request)
    await run_in_threadpool(service.state.store.alarm, alarm_id)
    return await kept_file(
        lambda: service.state.evidence.clip_path(alarm_id), media_type="audio/flac", filename=f"{alarm_id}.flac"
    )


@router.get(
    "/v1/alarms/{alarm_id}/picture.png",
    response_class=KeptFileResponse,
    responses={200: {"content": {"image/png": _FILES}, "description": "PNG."}, **problems(404, 410, 422, 503)},
)
async def picture(request: Request, alarm_id: AlarmPath) -> KeptFileResponse:
    """Spectrogram, departure from what the model expects, and scores of the alarm's sound."""
    service = service_of(request)
    await run_in_threadpool(service.state.store.alarm, alarm_id)
    return await kept_file(lambda: service.state.evidence.picture_path(alarm_id), media_type="image/png")


@router.post("/v1/alarms/{alarm_id}:ack", responses=problems(404, 409, 422, 503))
async def acknowledge(request: Request, alarm_id: AlarmPath, order: Order) -> AlarmRecord:
    """Say that somebody knows of the alarm; it is not announced again."""
    service = service_of(request)
    return await run_in_threadpool(_acknowledged, service, alarm_id, order)


@router.post("/v1/alarms/{alarm_id}:shelve", responses=problems(404, 409, 422, 503))
async def shelve(request: Request, alarm_id: AlarmPath, order: ShelveOrder) -> AlarmRecord:
    """Tell nobody of the machine's alarms for a while; the rule says how long at most."""
    service = service_of(request)
    await run_in_threadpool(service.state.store.alarm, alarm_id)
    machine = service.live.machines.get(split_alarm_id(alarm_id)[0])
    await run_in_threadpool(
        machine.operate,
        lambda alarm: alarm.shelve(who=order.who, why=order.why, at_s=time.time(), for_s=order.for_s),
    )
    return await run_in_threadpool(service.state.store.alarm, alarm_id)


@router.post("/v1/alarms/{alarm_id}:feedback", responses=problems(404, 422, 503))
async def feedback(request: Request, alarm_id: AlarmPath, order: FeedbackOrder) -> AlarmRecord:
    """Say whether the alarm was right, what the cause was and what was done; it exports as training data."""
    store = service_of(request).state.store
    return await run_in_threadpool(
        lambda: store.feedback(
            alarm_id, order.verdict, cause=order.cause, action=order.action, who=order.who, at_s=time.time()
        )
    )


def _acknowledged(service: Service, alarm_id: str, order: Order) -> AlarmRecord:
    """Acknowledge an alarm in force through its machine, one that is over in the database."""
    store = service.state.store
    machine_id, number = split_alarm_id(alarm_id)
    record = store.alarm(alarm_id)
    machine = service.live.machines.by_id.get(machine_id)
    if record.status == "active" and machine is not None:
        active = machine.alarm.snapshot.active
        if active is not None and active.number == number:
            machine.operate(lambda alarm: alarm.acknowledge(who=order.who, why=order.why, at_s=time.time()))
            return store.alarm(alarm_id)
    return store.acknowledge_cleared(alarm_id, who=order.who, why=order.why, at_s=time.time())
