"""Parts of the calibration from live sound, put together.

Normal minutes of a machine are collected by a plan and make versions of its model. Each calibration is one
commissioning, in stages: from five minutes on a version watches the machine provisionally, later ones rest on more, and
the last one has limits that its own live scores gave. What is known of it is on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from humwatch_service.calibration.candidates import AlarmsWanted, CandidateRunner, DecisionFit
from humwatch_service.calibration.limits import LiveLimits
from humwatch_service.calibration.orders import CalibrationOrders
from humwatch_service.calibration.running import RunningCommissionings
from humwatch_service.calibration.sound_feed import SoundFeed
from humwatch_service.calibration.stage_candidates import StageCandidates
from humwatch_service.calibration.stage_maker import StageMaker
from humwatch_service.calibration.starting import MAX_FIT_BYTES, CommissioningStarter
from humwatch_service.calibration.steps import CommissioningSteps
from humwatch_service.calibration.upkeep import CommissioningUpkeep
from humwatch_service.calibration.version_use import VersionUse
from humwatch_service.models.registry import ModelRegistry
from humwatch_service.models.versions import AuditWriter, ModelVersions
from humwatch_service.storage.commissionings import CommissioningFolder


class CalibrationParts(NamedTuple):
    """What others see of it: orders of operators, and what happens by itself."""

    orders: CalibrationOrders
    upkeep: CommissioningUpkeep


def make_calibrations(
    registry: ModelRegistry,
    versions: ModelVersions,
    live: SoundFeed,
    folder: CommissioningFolder,
    *,
    note: AuditWriter,
    candidates: CandidateRunner | None = None,
    fit_decision: DecisionFit | None = None,
    wanted_a_week: AlarmsWanted = lambda machine_id: 1.0,
    follows_level: Callable[[str], bool] = lambda machine_id: True,
    clock: Callable[[], float] = time.time,
    max_fit_bytes: int = MAX_FIT_BYTES,
) -> CalibrationParts:
    """Return the parts, of which nothing goes on yet.

    Args:
        registry: models in use.
        versions: versions of models, to which new ones are added.
        live: source of the sound.
        folder: what is known of commissionings, and their minutes.
        note: writer of the audit trail.
        candidates: those who watch a version beside the one in use; None: a version is used without.
        fit_decision: fit of limits to the scores of a version; None: there are none to fit.
        wanted_a_week: false alarms a week that the rule of a machine asks for.
        follows_level: whether a machine counts as off by its level.
        clock: source of the time, seconds since 1970.
        max_fit_bytes: most evidence of one fit, bytes.
    """
    beside = StageCandidates(candidates)
    limits = LiveLimits(candidates, fit_decision, wanted_a_week=wanted_a_week)
    use = VersionUse(registry, versions, beside, follows_level=follows_level)
    maker = StageMaker(registry, versions, folder, limits)
    steps = CommissioningSteps(live, maker, limits, beside, use)
    starter = CommissioningStarter(registry, folder, use, clock=clock, max_fit_bytes=max_fit_bytes)
    running = RunningCommissionings(live, folder, registry.repository, beside)
    upkeep = CommissioningUpkeep(running, starter, steps, registry, live, folder)
    orders = CalibrationOrders(running, upkeep, starter, maker, use, folder, note=note, clock=clock)
    return CalibrationParts(orders, upkeep)
