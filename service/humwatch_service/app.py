"""App of the service: routes, middleware and lifespan around the parts that :mod:`humwatch_service.wiring` makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from humwatch.errors import HumwatchError
from humwatch_service.config.settings import Settings, check_exposure
from humwatch_service.config.webhooks import check_webhooks
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.tracing import RequestTraces
from humwatch_service.web.access import Access, HostNames
from humwatch_service.web.application import Service
from humwatch_service.web.body_limit import BodyLimit, BodyLimits
from humwatch_service.web.error_answers import EXCEPTION_HANDLERS
from humwatch_service.web.proxies import Proxies
from humwatch_service.web.request_context import RequestContext
from humwatch_service.web.routes import (
    alarms,
    backtest,
    calibration,
    health,
    latest_alarm,
    live,
    live_events,
    machines,
    models,
    oversight,
    page,
    runbooks,
    score,
    session,
    shadow,
    sources,
    stream,
    versions,
)
from humwatch_service.web.routes.documentation import add_problem_schema
from humwatch_service.wiring import make_service

DESCRIPTION = "Hears that a machine is failing: scores recordings with per-machine models and calibrated thresholds."

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
        openapi_url=None,  # routes/health.py knows the path that the service is shown under
        lifespan=_lifespan,
        # FastAPI's own telemetry would tell the process's global providers of queries and exceptions: see
        # telemetry/tracing.py.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=_middleware(settings, service),
        exception_handlers=EXCEPTION_HANDLERS,
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
        oversight,
        versions,
        backtest,
        shadow,
        sources,
        models,
        health,
        runbooks,
    ):
        app.include_router(module.router)
    _describe(app)
    service.metrics.follow_routes(_routes(app))
    return app


def _middleware(settings: Settings, service: Service) -> list[Middleware]:
    keys = service.keys
    limits = BodyLimits(
        max_bytes=settings.max_body_bytes,
        timeout_s=settings.body_timeout_s,
        min_bytes=settings.body_min_bytes,
        total_s=settings.body_total_timeout_s,
    )
    hosts = HostNames(
        host=settings.host, allowed=settings.allowed_hosts, public_url=settings.public_url, without_keys=not keys
    )
    return [
        Middleware(Proxies, trusted=settings.trusted_proxies, public_url=settings.public_url),
        *([Middleware(RequestTraces, tracing=service.tracing)] if service.tracing.on else []),
        Middleware(RequestContext, metrics=service.metrics),
        Middleware(Access, keys=keys, hosts=hosts, sessions=service.sessions, public_url=settings.public_url),
        Middleware(BodyLimit, limits=limits),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.tracing.start()
    loading = asyncio.create_task(_load(service))
    service.live.start()
    service.sources.start()
    working = {asyncio.create_task(service.webhooks.run()), asyncio.create_task(service.calibration.upkeep.run())}
    try:
        yield
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        await service.sources.close()
        await loading
        service.stop_streams()
        await service.calibration.upkeep.close()
        await service.shadows.close()
        await service.live.close()
        await run_in_threadpool(service.queue.close)
        await run_in_threadpool(service.tracing.close)


async def _load(service: Service) -> None:
    """Load the models beside the running event loop; /readyz says when they are there, or why not.

    What is known of machines comes first, so that one that is ready to be scored can be listened to as well.
    """
    await service.live.machines.restore()
    await service.calibration.upkeep.announce()
    try:
        loaded = await service.live.machines.reload()
    except HumwatchError as error:
        _log.error("models not loaded", code=error.code, reason=str(error))
        return
    await service.shadows.restore()
    await service.calibration.upkeep.begin()
    _log.info("models loaded", machine_ids=sorted(loaded.models), refused=sorted(loaded.refusals))
    loaded.log_refusals()


def _describe(app: FastAPI) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        return add_problem_schema(described())

    app.openapi = openapi  # type: ignore[method-assign]


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    return [(path, method.upper()) for path, methods in app.openapi()["paths"].items() for method in methods]
