"""Versions from the minutes of a commissioning: which of them count, and what is made of them. All of it blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from humwatch.bundle.bundle import digest_of
from humwatch.bundle.manifest import PREDICTOR, CommissioningCard, Manifest
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.odd_minutes import find_odd_minutes
from humwatch.calibration.plan import MIN_MINUTES
from humwatch.calibration.type_prior import TypePrior
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision
from humwatch.pipeline import PipelineSpec, network_response
from humwatch_service.calibration.minutes import alarm_card, read_minutes
from humwatch_service.calibration.record import CommissioningRecord, LostMinute, MinuteBand, OddMinuteCard
from humwatch_service.models.recalibration import RecalibrationRequest, fit_bundle
from humwatch_service.models.registry import LoadedModel, ModelRegistry
from humwatch_service.storage.commissionings import CommissioningFolder

MADE_BY: Final = "calibrate from live sound"


@dataclass(frozen=True)
class Fitted:
    """A version that was fitted.

    Attributes:
        manifest: manifest of the version.
        arrays: arrays of its bundle.
        minute_numbers: numbers of the minutes that it rests on.
        odd: minutes that were held back.
        lost: minutes whose files are damaged.
    """

    manifest: Manifest
    arrays: bytes
    minute_numbers: list[int]
    odd: list[OddMinuteCard]
    lost: list[LostMinute]


def source_of(model: LoadedModel, pipeline: PipelineSpec) -> str:
    """Return the name of the network and the front end that evidence is from."""
    front = hashlib.sha256(f"{pipeline.features!r} {pipeline.windows!r} {pipeline.scoring!r}".encode()).hexdigest()
    return f"{model.manifest.files[PREDICTOR]}:{front}"


def fit_version(
    record: CommissioningRecord,
    model: LoadedModel,
    pipeline: PipelineSpec,
    folder: CommissioningFolder,
    registry: ModelRegistry,
    *,
    version: str,
    stage: int,
    provisional: bool,
    decision: Decision | None,
) -> Fitted:
    """Fit a version to the minutes that there are, without those that are odd, with limits that do not rest on them.

    Raises:
        CalibrationError: fewer than three minutes, or sound that no threshold can be made of.
        StateUnusable: the disk cannot be read.
    """
    minutes, lost = read_minutes(folder, record)
    relatives = [one.bundle for one in registry.current.models.values()]
    old = model.manifest
    prior = TypePrior.of(
        [*relatives, model.bundle],
        pipeline,
        machine_id=record.machine_id,
        machine_type=old.machine_type,
        network=old.files[PREDICTOR],
        calibration_digest=digest_of([digest for minute in minutes for digest in minute.digests]),
    )
    response = network_response(pipeline, model.predictor, model.bundle.golden.windows)
    odd = [
        OddMinuteCard(
            number=found.number,
            at_s=_at(minutes, found.number),
            why="score",
            score=found.score,
            detector=found.detector,
            bands=[MinuteBand(low_hz=band.low_hz, high_hz=band.high_hz, share=band.share) for band in found.bands],
            sound=folder.has_sound(record.machine_id, found.number),
        )
        for found in find_odd_minutes(
            [minute for minute in minutes if minute.number not in record.in_alarm],
            known=record.kept,
            pipeline=pipeline,
            spec=record.spec,
            prior=prior,
            response=response,
        )
    ]
    odd += [alarm_card(record, folder, minute) for minute in minutes if minute.number in record.in_alarm]
    held = {card.number for card in odd}
    used = [minute for minute in minutes if minute.number not in held]
    if len(used) < MIN_MINUTES:
        raise CalibrationError(f"{len(used)} whole minute(s) of normal sound; {MIN_MINUTES} at least are needed")
    request = RecalibrationRequest(
        record.machine_id,
        version,
        channel=record.channel,
        score=record.score,
        spec=record.spec,
        made_by=MADE_BY,
        float_scale=record.float_scale or 1.0,
    )
    manifest, arrays = fit_bundle(
        model.bundle,
        model.predictor,
        pipeline,
        [clip for minute in used for clip in minute.clips],
        [digest for minute in used for digest in minute.digests],
        request,
        relatives=relatives,
    )
    card = CommissioningCard(
        stage=stage, minutes=len(used), planned_minutes=record.plan.minutes, provisional=provisional
    )
    numbers = [minute.number for minute in used]
    manifest = manifest.model_copy(update={"commissioning": card, "decision": decision})
    return Fitted(manifest, arrays, numbers, odd, lost)


def _at(minutes: Sequence[CollectedMinute], number: int) -> float:
    return next(minute.at_s for minute in minutes if minute.number == number)
