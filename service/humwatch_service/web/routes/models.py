"""``/v1/models``: the bundles in use, those that were refused and why, and reading the folder again."""

from __future__ import annotations

from fastapi import APIRouter, Request

from humwatch_service.models.cards import ModelStates, model_states
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems

router = APIRouter(tags=["models"])
_log = event_logger("humwatch.models")


@router.get("/v1/models", responses=problems())
async def models(request: Request) -> ModelStates:
    """Every model in use, and every bundle that was refused."""
    return model_states(service_of(request).models.current)


@router.post("/v1/models:reload", responses=problems(503))
async def reload(request: Request) -> ModelStates:
    """Read the models folder again. A bundle that fails a check is refused, and the one in use stays."""
    service = service_of(request)
    loaded = await service.live.machines.reload()
    _log.info("models reloaded", machine_ids=sorted(loaded.models), refused=sorted(loaded.refusals))
    loaded.log_refusals()
    return model_states(loaded)
