"""Probes, metrics, and the way in for people."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import MachineState
from humwatch_service.web.access import prefers_html
from humwatch_service.web.application import Service, service_of
from humwatch_service.web.proxies import prefix_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.webhooks.worker import WebhookStatus

_TEXT: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """Whether the service can do all of its work."""

    model_config = ConfigDict(frozen=True)

    ready: bool = Field(description="whether it can")
    reasons: list[str] = Field(description="why it cannot")


class WebhookHealth(BaseModel):
    """What a webhook did since the service started."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="name in the configuration")
    circuit: str = Field(description="`closed`: it is sent to; `open`: it failed too often; `half_open`: one try")
    delivered: int = Field(description="notifications that arrived")
    failed: int = Field(description="attempts that failed")
    given_up: int = Field(description="notifications that nobody tries any more")
    last_error: str | None = Field(description="why the last attempt failed; null after a success")


class Health(BaseModel):
    """A summary for people."""

    model_config = ConfigDict(frozen=True)

    status: Literal["ok", "degraded", "not_ready"] = Field(
        description="`degraded`: a model was refused, and an older one is in use instead"
    )
    version: str = Field(description="version of Humwatch")
    machines: list[str] = Field(description="machines that can be scored")
    refused: list[str] = Field(description="machines whose active bundle failed a check")
    scores_in_progress: int = Field(description="recordings that a worker is busy with")
    score_queue_depth: int = Field(description="recordings that wait for a worker")
    live_streams: int = Field(description="streams that somebody feeds")
    states: dict[str, MachineState] = Field(description="what is shown of each machine that is listened to")
    unsaved_changes: int = Field(description="alarm events that the disk has not taken yet")
    webhooks: list[WebhookHealth] = Field(description="each webhook of the configuration")
    reasons: list[str] = Field(description="why the service is not ready")


@router.get(
    "/", response_model=dict[str, str], responses={303: {"description": "A browser: go to /ui/."}, **problems()}
)
async def index(request: Request) -> Response:
    """Where to go from here."""
    if prefers_html(request.headers):
        return RedirectResponse("/ui/", status_code=303, headers={"Vary": "Accept"})
    about = {
        "service": f"humwatch {version('humwatch')}",
        "page": "/ui/",
        "score": "POST /score (multipart: file, machine_id) or POST /v1/machines/{machine_id}/score",
        "machines": "/v1/machines, /v1/machines/{machine_id}/status, .../history, .../events",
        "live": "/v1/live, /v1/machines/{machine_id}/live, /v1/fleet/history",
        "stream": "WS or POST /v1/machines/{machine_id}/stream",
        "alarms": "/v1/alarms",
        "calibration": "/v1/machines/{machine_id}/calibration, .../versions",
        "models": "/v1/models",
        "health": "/livez, /readyz, /healthz",
        "metrics": "/metrics",
        "runbooks": "/runbooks",
        "openapi": "/openapi.json",
    }
    return JSONResponse(about, headers={"Vary": "Accept"})


@router.api_route("/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
async def openapi(request: Request) -> Response:
    """What there is, for programs; beginning with the path that the service is shown under."""
    prefix = prefix_of(request.scope)
    described: dict[str, Any] = request.app.openapi()
    return JSONResponse({**described, "servers": [{"url": prefix}]} if prefix else described)


@router.get("/livez", response_class=PlainTextResponse, responses={**_TEXT, **problems()})
async def livez() -> str:
    """Answers as long as the process can."""
    return "ok"


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={**problems(), 503: {"model": Readiness, "description": "Not ready, and why."}},
)
async def readyz(request: Request) -> Response:
    """Whether every machine can be scored: 503 with the reasons when not."""
    reasons = _unready(service_of(request))
    readiness = Readiness(ready=not reasons, reasons=reasons)
    return JSONResponse(readiness.model_dump(), status_code=503 if reasons else 200)


@router.get("/healthz", responses=problems())
async def healthz(request: Request) -> Health:
    """A summary; always 200."""
    service = service_of(request)
    current, reasons = service.models.current, _unready(service)
    return Health(
        status="not_ready" if reasons else "degraded" if current.refusals else "ok",
        version=version("humwatch"),
        machines=sorted(current.models),
        refused=sorted(current.refusals),
        scores_in_progress=service.queue.in_progress,
        score_queue_depth=service.queue.depth,
        live_streams=len(service.live.machines.fed),
        states={machine_id: machine.state for machine_id, machine in sorted(service.live.machines.by_id.items())},
        unsaved_changes=service.live.recorder.unsaved,
        webhooks=[_webhook_of(status) for status in service.webhooks.status()],
        reasons=reasons,
    )


def _unready(service: Service) -> list[str]:
    """Return the reasons why the service cannot do all of its work: models, and the database of alarms."""
    return [*service.models.unready(), *service.live.machines.unready()]


@router.get("/metrics", response_class=PlainTextResponse, responses={**_TEXT, **problems()})
async def metrics(request: Request) -> Response:
    """Everything that is counted, for Prometheus."""
    headers = request.headers
    scrape = await service_of(request).metrics.scrape(headers.get("accept", ""), headers.get("accept-encoding", ""))
    packed = {} if scrape.encoding is None else {"Content-Encoding": scrape.encoding}
    vary = "Accept, Accept-Encoding"
    return Response(scrape.body, headers={"Content-Type": scrape.content_type, "Vary": vary, **packed})


def _webhook_of(status: WebhookStatus) -> WebhookHealth:
    """Return the health of a webhook."""
    return WebhookHealth(
        name=status.name,
        circuit=status.circuit,
        delivered=status.delivered,
        failed=status.failed,
        given_up=status.given_up,
        last_error=status.last_error,
    )
