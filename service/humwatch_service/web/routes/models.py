"""``/v1/models``: which bundles are in use, which were refused and why, and reading the folder again."""

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
    return model_states(service_of(request).machines)


@router.post("/v1/models:reload", responses=problems(503))
async def reload(request: Request) -> ModelStates:
    """Read the models folder again. A bundle that fails a check is refused, and the one in use stays."""
    service = service_of(request)
    fleet = await service.live.reload()
    _log.info("models reloaded", machine_ids=sorted(fleet.machines), refused=sorted(fleet.refusals))
    fleet.note_refusals()
    return model_states(service.machines)
