"""``/v1/machines/{machine_id}/calibration``: thresholds for a machine from its own live sound."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from humwatch.bundle.manifest import MachineId
from humwatch.calibration.collector import MAX_MINUTES, MIN_MINUTES
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.cards import CalibrationProgress, CalibrationReport
from humwatch_service.calibration.collection import DEFAULT_MINUTES
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["calibration"])


class CalibrationOrder(Order):
    """Learn what is normal for a machine from what it sounds like from now on."""

    from_machine: MachineId | None = Field(
        None, description="machine whose network is used; default: the machine's own, if it has a model"
    )
    minutes: int = Field(
        DEFAULT_MINUTES, ge=MIN_MINUTES, le=MAX_MINUTES, description="minutes of normal sound; each is one recording"
    )
    warn_rate: float = Field(0.1, gt=0, lt=0.5, description="share of normal clips that may exceed `warn`")
    alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="share of normal clips that may exceed `alarm`")
    score: ScoreKind | None = Field(None, description="which score; default: the one advised for so many minutes")

    @model_validator(mode="after")
    def _rates_are_ordered(self) -> Self:
        if self.alarm_rate > self.warn_rate:
            raise ValueError("alarm_rate is higher than warn_rate")
        return self


class FinishOrder(Order):
    """Make the new version."""

    activate: bool = Field(True, description="use it from now on; a machine's first version is used at once anyway")


@router.post("/v1/machines/{machine_id}/calibration", status_code=201, responses=problems(404, 409, 422, 503))
async def start(request: Request, machine_id: MachinePath, order: CalibrationOrder) -> CalibrationProgress:
    """Collect normal sound of a machine from its stream. The machine may be new; it has to run normally meanwhile."""
    return await service_of(request).calibrations.start(
        checked_machine_id(machine_id),
        from_machine=order.from_machine,
        minutes=order.minutes,
        spec=CalibrationSpec(warn_rate=order.warn_rate, alarm_rate=order.alarm_rate),
        score=order.score,
        who=order.who,
        why=order.why,
    )


@router.get("/v1/machines/{machine_id}/calibration", responses=problems(404, 422))
async def progress(request: Request, machine_id: MachinePath) -> CalibrationProgress:
    """How far the calibration of a machine is, and what its minutes could promise so far."""
    return service_of(request).calibrations.progress(checked_machine_id(machine_id))


@router.post("/v1/machines/{machine_id}/calibration:finish", responses=problems(404, 409, 422, 503))
async def finish(request: Request, machine_id: MachinePath, order: FinishOrder) -> CalibrationReport:
    """Fit thresholds to the whole minutes so far, and write them as the next version of the machine's model."""
    return await service_of(request).calibrations.finish(
        checked_machine_id(machine_id), who=order.who, why=order.why, activate=order.activate
    )


@router.post("/v1/machines/{machine_id}/calibration:cancel", responses=problems(404, 409, 422, 503))
async def cancel(request: Request, machine_id: MachinePath, order: Order) -> CalibrationProgress:
    """Give up a calibration; the answer is how far it was."""
    return await service_of(request).calibrations.cancel(checked_machine_id(machine_id), who=order.who, why=order.why)
