"""``/v1/machines/{machine_id}/calibration``: thresholds for a machine from its own live sound, by a plan."""

from __future__ import annotations

from typing import Annotated, Final, Self

from fastapi import APIRouter, Path, Request
from pydantic import Field, model_validator

from humwatch.bundle.manifest import MachineId
from humwatch.calibration.plan import MAX_MINUTES, MIN_MINUTES, PlanKind
from humwatch.scoring.calibration import MIN_RATE, CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.orders import DEFAULT_MINUTES
from humwatch_service.calibration.progress import CalibrationProgress
from humwatch_service.calibration.record import Acceptance
from humwatch_service.calibration.report import CalibrationReport
from humwatch_service.web.application import service_of
from humwatch_service.web.kept_file import KeptFileResponse, kept_file
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.orders import Order
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id

router = APIRouter(tags=["calibration"])

MAX_NORMAL_HOURS: Final = 90 * 24.0

MAX_NUMBER: Final = 999_999_999

Minute = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="number of the minute, from `odd_minutes`")]


class CalibrationOrder(Order):
    """Learn what is normal for a machine from what it sounds like from now on."""

    from_machine: MachineId | None = Field(
        None, description="machine whose network is used; default: the machine's own, if it has a model"
    )
    plan: PlanKind | None = Field(
        None,
        description="`day`: five minutes at once, then one in each quarter of an hour of a day; `week`: the same over a"
        " week; `in_a_row`: without a break. Default: `in_a_row` where `minutes` are given, else `day`",
    )
    minutes: int | None = Field(
        None,
        ge=MIN_MINUTES,
        le=MAX_MINUTES,
        description=f"minutes of normal sound in a row, {DEFAULT_MINUTES} by default; each is one recording",
    )
    accept: Acceptance | None = Field(
        None,
        description="`automatic`: a version is used by itself within the period that is declared normal, never after"
        " it; `operator`: each waits for `calibration:accept`. Default: `operator` for `in_a_row`, else `automatic`",
    )
    normal_hours: float | None = Field(
        None,
        gt=0,
        le=MAX_NORMAL_HOURS,
        description="for how long the machine is declared to run normally from now on, hours: minutes are collected in"
        " its first part, limits are fitted to the rest. Default: 50 (24 + 26) for `day`, 252 (168 + 84) for `week`",
    )
    start_s: float | None = Field(
        None,
        allow_inf_nan=False,
        description="start of that period, seconds since 1970 (UTC), where recordings are sent with their times: the"
        " period then goes by in the time of the sound. Default: now; no sound from before is used",
    )
    warn_rate: float = Field(0.1, ge=MIN_RATE, lt=0.5, description="share of normal clips that may exceed `warn`")
    alarm_rate: float = Field(0.01, ge=MIN_RATE, lt=0.5, description="share of normal clips that may exceed `alarm`")
    score: ScoreKind | None = Field(None, description="which score; default: the one advised for so many minutes")

    @model_validator(mode="after")
    def _rates_are_ordered(self) -> Self:
        if self.alarm_rate > self.warn_rate:
            raise ValueError("alarm_rate is higher than warn_rate")
        return self

    @model_validator(mode="after")
    def _minutes_are_in_a_row(self) -> Self:
        if self.minutes is not None and self.plan not in (None, "in_a_row"):
            raise ValueError(f"minutes are in a row; the plan {self.plan} has a number of its own")
        return self

    @property
    def kind(self) -> PlanKind:
        """Plan that is asked for."""
        return self.plan or ("day" if self.minutes is None else "in_a_row")


class FinishOrder(Order):
    """Make the last version."""

    activate: bool = Field(True, description="use it from now on; a machine's first version is used at once anyway")


class MinuteOrder(Order):
    """Say what becomes of a minute."""

    number: int = Field(ge=1, le=MAX_NUMBER, description="number of the minute, from `odd_minutes`")


@router.post("/v1/machines/{machine_id}/calibration", status_code=201, responses=problems(404, 409, 422, 503))
async def start(request: Request, machine_id: MachinePath, order: CalibrationOrder) -> CalibrationProgress:
    """Collect normal sound of a machine from its stream. The machine may be new; it has to run normally meanwhile.

    From five minutes on a version watches it provisionally, and others follow as the plan goes on.
    """
    return await service_of(request).calibration.orders.start(
        checked_machine_id(machine_id),
        from_machine=order.from_machine,
        plan=order.kind,
        minutes=order.minutes or DEFAULT_MINUTES,
        normal_s=None if order.normal_hours is None else 3_600.0 * order.normal_hours,
        start_s=order.start_s,
        accept=order.accept,
        spec=CalibrationSpec(warn_rate=order.warn_rate, alarm_rate=order.alarm_rate),
        score=order.score,
        who=order.who,
        why=order.why,
    )


@router.get("/v1/machines/{machine_id}/calibration", responses=problems(404, 422, 503))
async def progress(request: Request, machine_id: MachinePath) -> CalibrationProgress:
    """How far the calibration of a machine is: its plan, its stages, what is odd, and what waits for whom."""
    return service_of(request).calibration.orders.progress(checked_machine_id(machine_id))


@router.get("/v1/machines/{machine_id}/calibration/report", responses=problems(404, 422, 503))
async def report(request: Request, machine_id: MachinePath) -> CalibrationReport:
    """What the last calibration of a machine made, also one that ended by itself."""
    return await service_of(request).calibration.orders.report(checked_machine_id(machine_id))


@router.get(
    "/v1/machines/{machine_id}/calibration/minutes/{number}.flac",
    response_class=KeptFileResponse,
    responses=problems(404, 422, 503),
)
async def minute_sound(request: Request, machine_id: MachinePath, number: Minute) -> KeptFileResponse:
    """The sound of a minute of a calibration that goes on, FLAC."""
    orders = service_of(request).calibration.orders
    return await kept_file(
        orders.minute_finder(checked_machine_id(machine_id), number),
        media_type="audio/flac",
        filename=f"{machine_id}-minute-{number}.flac",
    )


@router.post("/v1/machines/{machine_id}/calibration:finish", responses=problems(404, 409, 422, 503))
async def finish(request: Request, machine_id: MachinePath, order: FinishOrder) -> CalibrationReport:
    """Make the last version from the whole minutes so far, now, and use it."""
    return await service_of(request).calibration.orders.finish(
        checked_machine_id(machine_id), who=order.who, why=order.why, activate=order.activate
    )


@router.post("/v1/machines/{machine_id}/calibration:accept", responses=problems(404, 409, 422, 503))
async def accept(request: Request, machine_id: MachinePath, order: Order) -> CalibrationProgress | CalibrationReport:
    """Use the version that waits, or that scores beside the one in use; after the last one the answer is the report."""
    return await service_of(request).calibration.orders.accept(
        checked_machine_id(machine_id), who=order.who, why=order.why
    )


@router.post("/v1/machines/{machine_id}/calibration:keep-minute", responses=problems(404, 409, 422, 503))
async def keep_minute(request: Request, machine_id: MachinePath, order: MinuteOrder) -> CalibrationProgress:
    """Let a minute that is held back count as normal, from the next version on."""
    return await service_of(request).calibration.orders.keep_minute(
        checked_machine_id(machine_id), order.number, who=order.who, why=order.why
    )


@router.post("/v1/machines/{machine_id}/calibration:drop-minute", responses=problems(404, 409, 422, 503))
async def drop_minute(request: Request, machine_id: MachinePath, order: MinuteOrder) -> CalibrationProgress:
    """Throw a minute out, with its sound; the plan makes it up while it lasts."""
    return await service_of(request).calibration.orders.drop_minute(
        checked_machine_id(machine_id), order.number, who=order.who, why=order.why
    )


@router.post("/v1/machines/{machine_id}/calibration:cancel", responses=problems(404, 409, 422, 503))
async def cancel(request: Request, machine_id: MachinePath, order: Order) -> CalibrationProgress:
    """Give up a calibration; the answer is how far it was. Versions that it made stay, also the one in use."""
    return await service_of(request).calibration.orders.cancel(
        checked_machine_id(machine_id), who=order.who, why=order.why
    )
