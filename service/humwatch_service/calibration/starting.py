"""Commissionings as they begin: by an order, within what memory and disk hold, or from before a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from humwatch.bundle.manifest import PREDICTOR
from humwatch.calibration.calibration_buffer import most_bytes_a_minute
from humwatch.calibration.plan import CollectionPlan, PlanKind
from humwatch.errors import CalibrationError, MachineNotFound, OperationRefused
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.fitting import MADE_BY, source_of
from humwatch_service.calibration.record import Acceptance, CommissioningRecord
from humwatch_service.calibration.version_use import VersionUse
from humwatch_service.models.recalibration import RecalibrationRequest, pipeline_for
from humwatch_service.models.registry import LoadedModel, ModelRegistry, load_model
from humwatch_service.protocol.limits import EARLIEST_S
from humwatch_service.storage.commissionings import CommissioningFolder

MAX_FIT_BYTES: Final = 3 << 29
"""Evidence that one fit holds in memory; there is one fit at a time. 240 minutes of small hops take 1.3 GB."""
MAX_EVIDENCE_BYTES: Final = 16 << 30
"""Evidence of all commissionings on the disk, as planned."""


class CommissioningStarter:
    """Maker of commissionings.

    Args:
        registry: models in use.
        folder: what is known of commissionings, and their minutes.
        use: versions in use.
        clock: source of the time, seconds since 1970.
        max_fit_bytes: most evidence of one fit, bytes.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        folder: CommissioningFolder,
        use: VersionUse,
        *,
        clock: Callable[[], float],
        max_fit_bytes: int,
    ) -> None:
        self._registry = registry
        self._folder = folder
        self._use = use
        self._clock = clock
        self._max_fit_bytes = max_fit_bytes

    def model(self, machine_id: str, from_machine: str | None) -> LoadedModel:
        """Return the model whose network a machine takes; None for its own.

        Raises:
            MachineNotFound, MachineUnavailable, ModelsLoading: there is no such model.
        """
        try:
            return self._registry.get(from_machine or machine_id)
        except MachineNotFound as error:
            if from_machine is None:
                text = f"{machine_id} has no model yet: name the machine whose network is taken (`from_machine`)"
                raise MachineNotFound(text) from error
            raise

    def plan(
        self, kind: PlanKind, minutes: int, normal_s: float | None, start_s: float | None = None
    ) -> CollectionPlan:
        """Return a plan from now on, or from a time in the past on, seconds since 1970.

        Raises:
            CalibrationError: the minutes do not fit into it, or no sound was recorded then.
        """
        now_s = self._clock()
        if start_s is not None and not EARLIEST_S <= start_s <= now_s:
            raise CalibrationError(f"start_s is {start_s:.0f}: it has to be a time between 1990 and now")
        begins_s = now_s if start_s is None else start_s
        if kind == "in_a_row":
            return CollectionPlan.in_a_row(minutes, begins_s, normal_s=normal_s)
        return CollectionPlan.over(kind, begins_s, normal_s=normal_s)

    def planned(
        self,
        machine_id: str,
        model: LoadedModel,
        plan: CollectionPlan,
        *,
        beside: Iterable[Commissioning],
        accept: Acceptance | None,
        spec: CalibrationSpec,
        score: ScoreKind | None,
        who: str,
        why: str,
    ) -> Commissioning:
        """Return a commissioning by a plan, of which nothing is on the disk yet.

        Raises:
            OperationRefused: too much evidence would be held, with that of those that go on ``beside``.
        """
        request = self._request(machine_id, spec, score)
        pipeline = pipeline_for(model.bundle, request)
        minute_bytes = most_bytes_a_minute(pipeline)
        planned_bytes = plan.minutes * minute_bytes
        if planned_bytes > self._max_fit_bytes:
            raise OperationRefused(
                f"{plan.minutes} minutes may take {planned_bytes >> 20} MiB of memory when a version is made, of"
                f" {self._max_fit_bytes >> 20}: take fewer minutes"
            )
        others = sum(one.record.plan.minutes * most_bytes_a_minute(one.pipeline) for one in beside)
        if others + planned_bytes > MAX_EVIDENCE_BYTES:
            raise OperationRefused(
                f"{plan.minutes} minutes may take {planned_bytes >> 20} MiB of the disk, other calibrations"
                f" {others >> 20} MiB of {MAX_EVIDENCE_BYTES >> 20}: take fewer minutes, or finish one of them"
            )
        watched = self._use.in_use(machine_id) is not None
        record = CommissioningRecord(
            machine_id=machine_id,
            from_machine=model.manifest.machine_id,
            from_version=model.manifest.version,
            source=source_of(model, pipeline),
            score=pipeline.scoring.kind,
            channel=request.channel or 0,
            spec=spec,
            plan=plan,
            accept=accept or ("operator" if plan.kind == "in_a_row" else "automatic"),
            stage_minutes=plan.stages(watched=watched),
            who=who,
            why=why,
            started_s=self._clock(),
        )
        running = Commissioning(record, model, pipeline, self._folder, clock=self._clock)
        self._use.follow_level(running)
        return running

    def resumed(self, record: CommissioningRecord) -> Commissioning:
        """Take a commissioning up where it was before a restart (blocking).

        Raises:
            RepositoryError, BundleError, PredictorError: its model cannot be read.
            CalibrationError: its model is another than it was.
            StateUnusable: the disk cannot be read or written.
        """
        shared = {one.manifest.files[PREDICTOR]: one.predictor for one in self._registry.current.models.values()}
        model = load_model(self._registry.repository, record.from_machine, record.from_version, shared=shared)
        pipeline = pipeline_for(model.bundle, self._request(record.machine_id, record.spec, record.score))
        if source_of(model, pipeline) != record.source:
            raise CalibrationError(f"{record.from_machine}@{record.from_version} is another model than it was")
        running = Commissioning.resumed(record, model, pipeline, self._folder, clock=self._clock)
        self._use.follow_level(running)
        return running

    def _request(self, machine_id: str, spec: CalibrationSpec, score: ScoreKind | None) -> RecalibrationRequest:
        """Return the request for a version, which is numbered when it is made.

        A stream without a model is scored on channel 0.
        """
        own = self._use.in_use(machine_id)
        channel = 0 if own is None else own.manifest.channel
        return RecalibrationRequest(machine_id, "1", channel=channel, score=score, spec=spec, made_by=MADE_BY)
