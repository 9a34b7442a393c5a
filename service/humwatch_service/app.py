"""The app: parts made from settings, wired, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from humwatch.errors import HumwatchError
from humwatch.repository import ModelRepository
from humwatch_service.access import Access, ApiKeys, HostNames
from humwatch_service.application import Service
from humwatch_service.body_limit import BodyLimit
from humwatch_service.errors import MethodNotAllowed, NotFound, RequestError, RequestInvalid, RequestMalformed
from humwatch_service.logs import event_logger
from humwatch_service.machines import Machines
from humwatch_service.metrics import Metrics
from humwatch_service.problems import problem_response
from humwatch_service.request_context import RequestContext, request_id_of
from humwatch_service.routes import health, machines, models, score
from humwatch_service.routes.documentation import add_problem_schema
from humwatch_service.scorer import Scorer
from humwatch_service.scoring_queue import ScoringQueue
from humwatch_service.settings import Settings, check_exposure
from humwatch_service.uploads import UploadSlots

DESCRIPTION = "Hears that a machine is failing: scores recordings with per-machine models and calibrated thresholds."

_log = event_logger("humwatch.service")


def create_app(settings: Settings) -> FastAPI:
    """Make the app; models are loaded once it starts.

    Raises:
        ApiKeyRequired: it would be open to the network without an API key.
        SettingsInvalid: the file of API keys cannot be read.
    """
    check_exposure(settings)
    service = make_service(settings)
    app = FastAPI(
        title="Humwatch",
        version=version("humwatch"),
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's pages load scripts from outside hosts
        redoc_url=None,
        lifespan=_lifespan,
        middleware=_middleware(settings, service),
        exception_handlers={
            HumwatchError: _on_named,
            HTTPException: _on_http,
            RequestValidationError: _on_invalid,
        },
    )
    app.state.service = service
    for module in (score, machines, models, health):
        app.include_router(module.router)
    _describe(app)
    service.metrics.follow_routes(_routes(app))
    return app


def make_service(settings: Settings) -> Service:
    """Make the parts of a service."""
    metrics = Metrics()
    queue = ScoringQueue(
        workers=settings.score_workers,
        waiting=settings.score_queue,
        timeout_s=settings.score_timeout_s,
        on_wait=lambda seconds: metrics.stage("queue", seconds),
    )
    metrics.watch_queue(lambda: queue.depth, lambda: queue.in_progress)
    return Service(
        settings=settings,
        machines=Machines(
            ModelRepository(settings.models_dir),
            providers=settings.provider_names,
            threads=settings.predictor_threads,
        ),
        queue=queue,
        uploads=UploadSlots(settings.max_uploads),
        scorer=Scorer(),
        metrics=metrics,
    )


def _middleware(settings: Settings, service: Service) -> list[Middleware]:
    keys = ApiKeys(settings.keys())
    hosts = HostNames(host=settings.host, allowed=settings.allowed_hosts, without_keys=not keys)
    return [
        Middleware(RequestContext, metrics=service.metrics),
        Middleware(Access, keys=keys, hosts=hosts),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    loading = asyncio.create_task(_load(service))
    try:
        yield
    finally:
        await loading
        await run_in_threadpool(service.queue.close)


async def _load(service: Service) -> None:
    """Load the models beside the running event loop; /readyz says when they are there, or why not."""
    try:
        fleet = await run_in_threadpool(service.machines.reload)
    except HumwatchError as error:
        _log.error("models not loaded", code=error.code, reason=str(error))
        return
    service.metrics.follow_fleet(fleet)
    _log.info("models loaded", machines=sorted(fleet.machines))
    for refusal in fleet.refusals.values():
        _log.error("model refused", machine_id=refusal.machine_id, code=refusal.code, reason=refusal.reason)


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
