"""Versions from the minutes of a commissioning: which of them count, and what is made of them. All of it blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from humwatch.bundle.bundle import digest_of
from humwatch.bundle.manifest import CALIBRATION, PREDICTOR, CommissioningCard, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.minute_file import shared, unpack_minute
from humwatch.calibration.odd_minutes import find_odd_minutes
from humwatch.calibration.plan import MIN_MINUTES
from humwatch.calibration.type_prior import TypePrior
from humwatch.errors import CalibrationError
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.scores import NormalScores
from humwatch.pipeline import PipelineSpec, network_response
from humwatch_service.calibration.candidates import DecisionFit
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


def read_minutes(
    folder: CommissioningFolder, record: CommissioningRecord
) -> tuple[list[CollectedMinute], list[LostMinute]]:
    """Return the minutes that can be read, and drop those that cannot.

    Raises:
        StateUnusable: the disk cannot be read.
    """
    lost: list[LostMinute] = []

    def read() -> list[CollectedMinute]:
        found = []
        for number in folder.minutes(record.machine_id):
            try:
                minute = unpack_minute(folder.evidence(record.machine_id, number), source=record.source)
                if minute.number != number:
                    raise CalibrationError(f"it is of minute {minute.number}")
                found.append(minute)
            except CalibrationError as error:
                lost.append(LostMinute(number=number, reason=f"its file is damaged: {error}"))
        return found

    minutes = shared(read())
    for one in lost:
        folder.drop_minute(record.machine_id, one.number)
    return minutes, lost


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
) -> Fitted:
    """Fit a version to the minutes that there are, without those that are odd.

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
            [minute for minute in minutes if minute.number not in _alarmed(record)],
            known=record.kept,
            pipeline=pipeline,
            spec=record.spec,
            prior=prior,
            response=response,
        )
    ]
    odd += [alarm_card(record, folder, minute) for minute in minutes if minute.number in _alarmed(record)]
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
    return Fitted(manifest.model_copy(update={"commissioning": card}), arrays, numbers, odd, lost)


def alarm_card(record: CommissioningRecord, folder: CommissioningFolder, minute: CollectedMinute) -> OddMinuteCard:
    """Return the card of a minute that is held back because an alarm was in force."""
    return OddMinuteCard(
        number=minute.number,
        at_s=minute.at_s,
        why="alarm",
        score=None,
        detector=None,
        bands=[],
        sound=folder.has_sound(record.machine_id, minute.number),
    )


def with_limits(
    repository: ModelRepository, machine_id: str, made: str, *, version: str, stage: int, decision: Decision | None
) -> tuple[Manifest, bytes, bytes]:
    """Return the last version of a commissioning: arrays and graph of another, and limits; manifest, graph, arrays.

    Raises:
        RepositoryError, BundleError: the other version cannot be read.
        OSError: its arrays cannot be read.
    """
    bundle = repository.read(machine_id, made)
    arrays = (repository.folder(machine_id, made) / CALIBRATION).read_bytes()
    card = bundle.manifest.commissioning
    assert card is not None  # a stage made it
    manifest = bundle.manifest.model_copy(
        update={
            "version": version,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "decision": decision,
            "commissioning": card.model_copy(update={"stage": stage, "provisional": False}),
        }
    )
    return manifest, bundle.graph, arrays


def limits_of(
    fit: DecisionFit, scores: NormalScores, *, until_s: float | None, wanted_a_week: float
) -> tuple[Decision | None, str | None]:
    """Fit limits to the scores from within the period that was declared normal; return them, or why there are none."""
    if until_s is not None:
        scores = _before(scores, until_s)
    try:
        decision = fit(scores, wanted_a_week=wanted_a_week)
    except CalibrationError as error:
        return None, str(error)
    return decision, decision.rate.reason


def _before(scores: NormalScores, until_s: float) -> NormalScores:
    segments = []
    for segment in scores.segments:
        count = int(min(len(segment.scores), max(0.0, (until_s - segment.start_s) // scores.step_s)))
        if count:
            segments.append(replace(segment, scores=segment.scores[:count]))
    return replace(scores, segments=segments)


def _alarmed(record: CommissioningRecord) -> set[int]:
    return set(record.alarmed) - set(record.kept)


def _at(minutes: Sequence[CollectedMinute], number: int) -> float:
    return next(minute.at_s for minute in minutes if minute.number == number)
