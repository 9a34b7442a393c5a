"""Calibrations from live sound: normal minutes of a machine are collected and make the next version of its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from starlette.concurrency import run_in_threadpool

from humwatch.bundle.manifest import Manifest
from humwatch.calibration.calibration_buffer import most_bytes_a_minute
from humwatch.calibration.collector import MIN_MINUTES, NormalCollector
from humwatch.errors import CalibrationError, MachineNotFound, OperationRefused
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_service.calibration.cards import (
    CalibrationProgress,
    CalibrationReport,
    RunningCalibration,
    plan_of,
    progress_of,
    report_of,
)
from humwatch_service.errors import CalibrationNotFound, CalibrationRunning
from humwatch_service.models.recalibration import RecalibrationRequest, fit_bundle, pipeline_for
from humwatch_service.models.registry import LoadedModel, ModelRegistry
from humwatch_service.models.versions import AuditWriter, ModelVersions

DEFAULT_MINUTES: Final = 100
"""Enough to promise the default alarm rate of 1 %: 99 recordings are needed."""
MAX_HELD_BYTES: Final = 1 << 30
"""Evidence of all calibrations together; one of four hours takes 0.9 GB at most, usually a quarter of that."""


class SoundFeed(Protocol):
    """The source of the sound of machines."""

    def collect(self, machine_id: str, collector: NormalCollector | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more."""


class LiveCalibrations:
    """The calibrations that go on, at most one a machine. Its methods belong to the event loop.

    A calibration is held in memory: it is gone when the service stops.

    Args:
        registry: models in use.
        versions: versions of models, to which new ones are added.
        live: source of the sound.
        note: writer of the audit trail.
        clock: source of the time, seconds since 1970.
        max_held_bytes: most evidence of all calibrations together, bytes.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        versions: ModelVersions,
        live: SoundFeed,
        *,
        note: AuditWriter,
        clock: Callable[[], float] = time.time,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._live = live
        self._note = note
        self._clock = clock
        self._max_held_bytes = max_held_bytes
        self._running: dict[str, RunningCalibration] = {}
        self._finishing: set[str] = set()

    async def start(
        self,
        machine_id: str,
        *,
        from_machine: str | None = None,
        minutes: int = DEFAULT_MINUTES,
        spec: CalibrationSpec | None = None,
        score: ScoreKind | None = None,
        who: str,
        why: str = "",
    ) -> CalibrationProgress:
        """Collect normal sound of a machine from now on.

        Args:
            machine_id: id of the machine; it may have no model yet.
            from_machine: id of the machine with the network to use; None for the machine itself.
            minutes: number of minutes of clean sound.
            spec: rates and method of the thresholds.
            score: kind of score of the new version; None for the default of new bundles.
            who: person who starts it.
            why: reason for it.

        Raises:
            CalibrationRunning: the machine is being calibrated.
            CalibrationError: too few or too many minutes.
            OperationRefused: too much evidence would be held.
            MachineNotFound, MachineUnavailable, ModelsLoading: there is no such model.
            StateUnusable: it cannot be audited.
        """
        if machine_id in self._running:
            raise CalibrationRunning(f"{machine_id} is being calibrated; finish or cancel that first")
        running = self._planned(machine_id, from_machine, minutes, spec or CalibrationSpec(), score, who, why)
        self._running[machine_id] = running
        try:
            self._live.collect(machine_id, running.collector)
            await self._audit(running, "calibration_started", who, why)
        except BaseException:
            self._end(machine_id)
            raise
        return self.progress(machine_id)

    def progress(self, machine_id: str) -> CalibrationProgress:
        """Return the progress of a machine's calibration. Raises :class:`CalibrationNotFound`."""
        running = self._of(machine_id)
        return progress_of(running, running.collector.progress, finishing=machine_id in self._finishing)

    async def finish(self, machine_id: str, *, who: str, why: str = "", activate: bool = True) -> CalibrationReport:
        """Make the next version of the machine's model from the whole minutes so far, and use it.

        When it fails, the calibration goes on as if nothing had been asked.

        Raises:
            CalibrationNotFound: there is none.
            CalibrationRunning: it is being finished already.
            CalibrationError: less than three minutes, or sound that no threshold can be made of.
            RepositoryError, BundleError: the version cannot be written, or fails a check.
            StateUnusable: it cannot be audited.
        """
        running = self._of(machine_id)
        self._refuse_if_finishing(machine_id)
        self._finishing.add(machine_id)
        try:
            collected = running.collector.progress
            manifest, arrays = await run_in_threadpool(self._fit, running)
            await self._versions.add(
                manifest,
                running.model.bundle.graph,
                arrays,
                activate=activate,
                who=who,
                why=why,
                details=plan_of(running),
            )
        finally:
            self._finishing.discard(machine_id)
        self._end(machine_id)
        listed = await self._versions.list_of(machine_id)
        active = any(card.active for card in listed.versions if card.version == manifest.version)
        return report_of(running, manifest, collected, activated=active)

    async def cancel(self, machine_id: str, *, who: str, why: str = "") -> CalibrationProgress:
        """Give up a calibration; return its progress.

        Raises:
            CalibrationNotFound: there is none.
            CalibrationRunning: it is being finished.
            StateUnusable: it cannot be audited.
        """
        running = self._of(machine_id)
        self._refuse_if_finishing(machine_id)
        await self._audit(running, "calibration_cancelled", who, why)
        progress = self.progress(machine_id)
        self._end(machine_id)
        return progress

    def _of(self, machine_id: str) -> RunningCalibration:
        running = self._running.get(machine_id)
        if running is None:
            raise CalibrationNotFound(f"{machine_id[:80]} is not being calibrated")
        return running

    def _refuse_if_finishing(self, machine_id: str) -> None:
        if machine_id in self._finishing:
            raise CalibrationRunning(f"the calibration of {machine_id} is being finished")

    def _end(self, machine_id: str) -> None:
        if self._running.pop(machine_id, None) is not None:
            self._live.collect(machine_id, None)

    def _planned(
        self,
        machine_id: str,
        from_machine: str | None,
        minutes: int,
        spec: CalibrationSpec,
        score: ScoreKind | None,
        who: str,
        why: str,
    ) -> RunningCalibration:
        model = self._model(machine_id, from_machine)
        request = self._request(machine_id, spec, score)
        pipeline = pipeline_for(model.bundle, request)
        planned_bytes = minutes * most_bytes_a_minute(pipeline)
        collector = NormalCollector(pipeline, model.predictor, minutes=minutes)
        held_bytes = sum(running.planned_bytes for running in self._running.values())
        if held_bytes + planned_bytes > self._max_held_bytes:
            raise OperationRefused(
                f"{minutes} minutes may take {planned_bytes >> 20} MiB of memory, other calibrations"
                f" {held_bytes >> 20} MiB of {self._max_held_bytes >> 20}: take fewer minutes, or finish one of them"
            )
        request = replace(request, score=pipeline.scoring.kind)
        return RunningCalibration(machine_id, model, collector, request, planned_bytes, self._clock(), who, why)

    def _model(self, machine_id: str, from_machine: str | None) -> LoadedModel:
        try:
            return self._registry.get(from_machine or machine_id)
        except MachineNotFound as error:
            if from_machine is None:
                text = f"{machine_id} has no model yet: name the machine whose network is taken (`from_machine`)"
                raise MachineNotFound(text) from error
            raise

    def _request(self, machine_id: str, spec: CalibrationSpec, score: ScoreKind | None) -> RecalibrationRequest:
        """Return the request for the next version, which is numbered when it is made.

        A stream without a model is scored on channel 0.
        """
        own = self._registry.current.models.get(machine_id)
        channel = 0 if own is None else own.manifest.channel
        return RecalibrationRequest(
            machine_id, "1", channel=channel, score=score, spec=spec, made_by="calibrate from live sound"
        )

    def _fit(self, running: RunningCalibration) -> tuple[Manifest, bytes]:
        """Make the next version (blocking); return its manifest and arrays."""
        clips, digests = running.collector.collected()
        minutes = len({clip.recording for clip in clips})
        if minutes < MIN_MINUTES:
            raise CalibrationError(f"{minutes} whole minute(s) of normal sound; {MIN_MINUTES} at least are needed")
        version = self._registry.repository.next_version(running.machine_id)
        return fit_bundle(
            running.model.bundle,
            running.model.predictor,
            running.collector.spec,
            clips,
            digests,
            replace(running.request, version=version),
            relatives=[model.bundle for model in self._registry.current.models.values()],
        )

    async def _audit(self, running: RunningCalibration, kind: str, who: str, why: str) -> None:
        at_s, details = self._clock(), plan_of(running)
        await run_in_threadpool(
            lambda: self._note(running.machine_id, kind, at_s=at_s, who=who, why=why, details=details)
        )
