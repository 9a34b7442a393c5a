"""The app: parts made from settings, wired, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.calibration.collection import LiveCalibrations
from humwatch_service.config.settings import Settings, check_exposure, processors
from humwatch_service.config.webhooks import check_webhooks
from humwatch_service.errors import MethodNotAllowed, NotFound, RequestError, RequestInvalid, RequestMalformed
from humwatch_service.live.hub import Hub
from humwatch_service.live.load import Load
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import Engine, Machines
from humwatch_service.models.versions import ModelVersions
from humwatch_service.problems import problem_response
from humwatch_service.scoring.queue import ScoringQueue
from humwatch_service.scoring.scorer import Scorer
from humwatch_service.scoring.uploads import UploadSlots
from humwatch_service.sources.supervisor import Sources
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.telemetry.tracing import RequestTraces, Tracing, past_span
from humwatch_service.viewers.broadcast import Broadcast
from humwatch_service.web.access import Access, ApiKeys, HostNames
from humwatch_service.web.application import Service
from humwatch_service.web.body_limit import BodyLimit
from humwatch_service.web.page_files import PageFiles
from humwatch_service.web.request_context import RequestContext
from humwatch_service.web.routes import (
    alarms,
    calibration,
    health,
    latest_alarm,
    live,
    live_events,
    machines,
    models,
    page,
    runbooks,
    score,
    session,
    stream,
    versions,
)
from humwatch_service.web.routes.documentation import add_problem_schema
from humwatch_service.web.sessions import Attempts, Sessions
from humwatch_service.webhooks.notices import Notices
from humwatch_service.webhooks.sender import WebhookSender

DESCRIPTION = "Hears that a machine is failing: scores recordings with per-machine models and calibrated thresholds."

DAY_S: Final = 86_400.0

_log = event_logger("humwatch.service")


def create_app(settings: Settings) -> FastAPI:
    """Make the app; models are loaded once it starts.

    Raises:
        ApiKeyRequired: it would be open to the network without an API key.
        TracingUnavailable: traces are asked for, and OpenTelemetry is not installed.
        SettingsInvalid: the file of API keys cannot be read, or a webhook is not allowed.
    """
    check_exposure(settings)
    check_webhooks(settings.webhooks, settings.webhook_hosts)
    service = make_service(settings)
    app = FastAPI(
        title="Humwatch",
        version=version("humwatch"),
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's pages load scripts from outside hosts
        redoc_url=None,
        lifespan=_lifespan,
        # FastAPI's own telemetry would tell the process's global providers of queries and exceptions: see
        # telemetry/tracing.py.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=_middleware(settings, service),
        exception_handlers={
            HumwatchError: _on_named,
            HTTPException: _on_http,
            RequestValidationError: _on_invalid,
        },
    )
    app.state.service = service
    for module in (
        page,
        session,
        live_events,
        score,
        machines,
        live,
        stream,
        alarms,
        latest_alarm,
        calibration,
        versions,
        models,
        health,
        runbooks,
    ):
        app.include_router(module.router)
    _describe(app)
    service.metrics.follow_routes(_routes(app))
    return app


def make_service(settings: Settings) -> Service:
    """Make the parts of a service."""
    metrics, tracing = Metrics(), Tracing(settings)

    def waited(seconds: float) -> None:
        metrics.stage("queue", seconds)
        past_span("queue", seconds)

    queue = ScoringQueue(
        workers=settings.score_workers,
        waiting=settings.score_queue,
        timeout_s=settings.score_timeout_s,
        on_wait=waited,
    )
    metrics.watch_queue(lambda: queue.depth, lambda: queue.in_progress)
    load = Load(processors=processors(), budget_s=settings.stream_latency_s, max_load=settings.max_load)

    machines = Machines(
        ModelRepository(settings.models_dir),
        Engine(
            settings.provider_names,
            threads=settings.predictor_threads,
            processors=processors(),
            delay_s=settings.predict_delay_s,
            on_run=metrics.ran,
        ),
    )
    metrics.watch_predictors(lambda: machines.predict_queue_depth)
    evidence = EvidenceFolder(
        settings.state_dir / "evidence",
        quota_bytes=settings.evidence_max_bytes,
        retention_s=settings.evidence_days * DAY_S,
    )
    scorer, store = Scorer(), StateStore(settings.state_dir)
    hub = Hub(settings, machines, store, evidence, metrics, scorer, load, tracing)
    broadcast = Broadcast(
        lambda: hub.machines,
        max_viewers=settings.max_viewers,
        sourced={source.machine for source in settings.sources},
        on_drop=metrics.live.unseen,
    )
    metrics.live.watch_viewers(lambda: broadcast.viewers)
    hub.subscribe(broadcast)
    metrics.watch_readiness(lambda: not machines.unready() and not hub.unready())
    model_versions = ModelVersions(machines, reload=hub.reload, note=store.note)
    return Service(
        settings=settings,
        keys=ApiKeys(settings.keys()),
        sessions=Sessions(),
        attempts=Attempts(),
        page=PageFiles(),
        machines=machines,
        queue=queue,
        uploads=UploadSlots(settings.max_uploads),
        scorer=scorer,
        metrics=metrics,
        live=hub,
        broadcast=broadcast,
        versions=model_versions,
        calibrations=LiveCalibrations(machines, model_versions, hub, note=store.note),
        webhooks=WebhookSender(settings.webhooks, Notices(store), tell=metrics.state.notified),
        tracing=tracing,
    )


def _middleware(settings: Settings, service: Service) -> list[Middleware]:
    keys = service.keys
    hosts = HostNames(host=settings.host, allowed=settings.allowed_hosts, without_keys=not keys)
    return [
        *([Middleware(RequestTraces, tracing=service.tracing)] if service.tracing.on else []),
        Middleware(RequestContext, metrics=service.metrics),
        Middleware(Access, keys=keys, hosts=hosts, sessions=service.sessions),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.tracing.start()
    loading = asyncio.create_task(_load(service))
    await service.live.start()
    sources = Sources(service.live, service.settings.sources)
    sources.start()
    telling = asyncio.create_task(service.webhooks.run())
    service.live.on_owed = service.webhooks.wake
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait({telling})
        await sources.close()
        await loading
        await service.live.close()
        await run_in_threadpool(service.queue.close)
        await run_in_threadpool(service.tracing.close)


async def _load(service: Service) -> None:
    """Load the models beside the running event loop; /readyz says when they are there, or why not.

    What is known of machines comes first, so that one that is ready to be scored can be listened to as well.
    """
    await service.live.restore()
    try:
        fleet = await run_in_threadpool(service.machines.reload)
    except HumwatchError as error:
        _log.error("models not loaded", code=error.code, reason=str(error))
        return
    service.metrics.follow_fleet(fleet)
    service.live.follow_fleet(fleet)
    _log.info("models loaded", machine_ids=sorted(fleet.machines), refused=sorted(fleet.refusals))
    fleet.note_refusals()


async def _on_named(request: Request, error: Exception) -> Response:
    named = error if isinstance(error, HumwatchError) else RequestError(str(error))
    return problem_response(named, request_id_of(request.scope))


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer what the router and the form parser raise."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = error.headers if isinstance(error, HTTPException) else None
    if status == 404:
        named: RequestError = NotFound("there is nothing at this path; GET / says what there is")
    elif status == 405:
        named = MethodNotAllowed(f"this path does not take {request.method}")
    else:
        named = RequestMalformed(detail)
    return problem_response(named, request_id_of(request.scope), headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Answer parameters that FastAPI refused: which one and why, without what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in problems)
    return problem_response(RequestInvalid(detail), request_id_of(request.scope))


def _describe(app: FastAPI) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        return add_problem_schema(described())

    app.openapi = openapi  # type: ignore[method-assign]


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    return [(path, method.upper()) for path, methods in app.openapi()["paths"].items() for method in methods]
