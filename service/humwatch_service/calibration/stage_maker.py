"""Versions that a commissioning makes: fitted to its minutes, or of levels that there are and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch.bundle.manifest import CommissioningCard, Manifest
from humwatch.errors import BundleError, RepositoryError
from humwatch_service.calibration.commissioning import ITSELF, Commissioning
from humwatch_service.calibration.fitting import fit_version
from humwatch_service.calibration.limits import LiveLimits
from humwatch_service.calibration.record import StageCard
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.registry import ModelRegistry
from humwatch_service.models.revision import revised
from humwatch_service.models.versions import ModelVersions
from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.telemetry.logs import event_logger

NO_LIMITS: Final = "limits are fitted to live scores of a version; it has none yet"

_log = event_logger("humwatch.calibration")


@dataclass(frozen=True)
class MakeOrder:
    """Order to make a version.

    Attributes:
        activate: whether it is used at once; a machine's first version is anyway.
        who: who orders it.
        why: the reason.
    """

    activate: bool = False
    who: str = ITSELF
    why: str = ""


class StageMaker:
    """Maker of the stages of commissionings. Belongs to the event loop.

    Args:
        registry: models in use.
        versions: versions of models, to which new ones are added.
        folder: minutes of commissionings.
        limits: limits of alarms.
    """

    def __init__(
        self, registry: ModelRegistry, versions: ModelVersions, folder: CommissioningFolder, limits: LiveLimits
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._folder = folder
        self._limits = limits

    async def adopt(self, running: Commissioning) -> None:
        """Count a version that was being made when the service was killed, if it was written whole.

        Raises:
            StateUnusable: that cannot be kept.
        """
        making = running.record.making
        if making is None:
            return
        stages = running.record.stages
        if await run_in_threadpool(self._is_there, running.machine_id, making):
            stages = [*stages, making]
            _log.info("version of a commissioning found", machine_id=running.machine_id, version=making.version)
        await run_in_threadpool(lambda: running.keep_record(making=None, stages=stages))

    async def make_provisional(self, running: Commissioning, *, whole_plan: bool) -> None:
        """Make a version that others follow, of levels that are fitted now. Raises as :meth:`make_last`."""
        await self._make_fitted(running, provisional=True, whole_plan=whole_plan, order=MakeOrder())

    async def make_last(self, running: Commissioning, order: MakeOrder) -> StageCard:
        """Make the last version: of the levels that there are, with limits, or of levels that are fitted now.

        Raises:
            CalibrationError: less than three minutes, or sound that no threshold can be made of.
            RepositoryError, BundleError: the version cannot be written, or fails a check.
            StateUnusable: it cannot be kept or audited.
            OSError: the disk cannot be read or written.
        """
        last, machine_id = running.last_stage, running.machine_id
        if last is None or not running.is_current(last) or not self._limits.can_fit:
            return await self._make_fitted(running, provisional=False, whole_plan=True, order=order)
        until_s = running.record.plan.until_s
        decision = await run_in_threadpool(lambda: self._limits.fit(machine_id, last.version, until_s=until_s))
        repository = self._registry.repository
        version = await run_in_threadpool(repository.next_version, machine_id)
        stage = CommissioningCard(
            stage=last.stage + 1,
            minutes=last.minutes,
            planned_minutes=running.record.plan.minutes,
            provisional=False,
        )
        manifest, graph, arrays = await run_in_threadpool(
            lambda: revised(
                repository, machine_id, last.version, new_version=version, decision=decision, commissioning=stage
            )
        )
        card = _stage_card(running, manifest, last.minute_numbers, decision.rate.reason, whole_plan=True)
        await self._write(running, card, manifest, graph, arrays, order)
        return card

    async def _make_fitted(
        self, running: Commissioning, *, provisional: bool, whole_plan: bool, order: MakeOrder
    ) -> StageCard:
        """Make a version of levels that are fitted now."""
        machine_id, last = running.machine_id, running.last_stage
        version = await run_in_threadpool(self._registry.repository.next_version, machine_id)
        reason = "limits follow at the end of the period" if provisional and whole_plan else NO_LIMITS
        fitted = await run_in_threadpool(
            lambda: fit_version(
                running.record,
                running.model,
                running.pipeline,
                self._folder,
                self._registry,
                version=version,
                stage=1 if last is None else last.stage + 1,
                provisional=provisional,
                decision=self._limits.wide(machine_id, reason=reason) if provisional else None,
            )
        )
        lost = [*running.record.lost, *fitted.lost]
        await run_in_threadpool(lambda: running.keep_record(odd=fitted.odd, lost=lost))
        running.lose(fitted.lost)
        card = _stage_card(running, fitted.manifest, fitted.minute_numbers, reason, whole_plan=whole_plan)
        await self._write(running, card, fitted.manifest, running.model.bundle.graph, fitted.arrays, order)
        return card

    async def _write(
        self, running: Commissioning, card: StageCard, manifest: Manifest, graph: bytes, arrays: bytes, order: MakeOrder
    ) -> None:
        """Write a version and count it; one that was written by a service that is killed meanwhile is found again."""
        await run_in_threadpool(lambda: running.keep_record(making=card))
        try:
            await self._versions.add(
                manifest,
                graph,
                arrays,
                activate=order.activate,
                who=order.who,
                why=order.why,
                details={**running.details, "stage": card.stage, "used_minutes": card.minutes},
                kind="calibration_stage" if card.provisional else "calibrated",
            )
        except BaseException:
            running.record = running.record.model_copy(update={"making": None})
            raise
        await run_in_threadpool(lambda: running.keep_record(making=None, stages=[*running.record.stages, card]))

    def _is_there(self, machine_id: str, making: StageCard) -> bool:
        try:
            card = self._registry.repository.manifest(machine_id, making.version).commissioning
        except (BundleError, RepositoryError):
            return False
        return card is not None and (card.stage, card.minutes) == (making.stage, making.minutes)


def _stage_card(
    running: Commissioning,
    manifest: Manifest,
    minute_numbers: list[int],
    decision_reason: str | None,
    *,
    whole_plan: bool,
) -> StageCard:
    card, clip, decision, now_s = manifest.commissioning, manifest.clip, manifest.decision, running.now_s
    assert card is not None  # a commissioning made it
    return StageCard(
        stage=card.stage,
        minutes=card.minutes,
        collected=len(running.times),
        minute_numbers=minute_numbers,
        whole_plan=whole_plan,
        version=manifest.version,
        provisional=card.provisional,
        state="candidate",
        reason="it was made",
        made_s=now_s,
        since_s=now_s,
        used_s=None,
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        false_alarms_a_week=None if decision is None else decision.rate.expected_a_week,
        promised=decision is not None and decision.rate.promised,
        decision_reason=decision_reason,
    )
