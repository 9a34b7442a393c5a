"""Versions of a machine's model: which there are, and which one is used; a change that fails is taken back."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.concurrency import run_in_threadpool

from humwatch.bundle.bundle import write_bundle
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.bundle.repository import ACTIVE, ModelRepository
from humwatch.durable import replace_durably, sync_folder
from humwatch.errors import BundleError, RepositoryError
from humwatch.scoring.calibration import ScaleThresholds
from humwatch.scoring.evidence import ScoreKind
from humwatch_service.models.cards import CalibrationFacts, DetectorFacts, detector_facts
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.registry import Fleet, Machines, load_machine
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.models")


class Note(Protocol):
    """Writes a line of the audit trail (blocking)."""

    def __call__(
        self, machine_id: str, kind: str, *, at_s: float, who: str, why: str, details: Mapping[str, JsonValue]
    ) -> None:
        """Write it; raises what the database raises."""


class VersionFacts(BaseModel):
    """What a version's bundle says of itself."""

    model_config = ConfigDict(frozen=True)

    created_at: str = Field(description="when the bundle was made, UTC, ISO 8601")
    created_by: str = Field(description="program and version that made it, and from which network")
    schema_version: int = Field(description="of the bundle; 2 and below have no detectors")
    score: ScoreKind = Field(description="which score it uses")
    detectors: list[DetectorFacts] = Field(
        description="detectors that share the false alarms, on the scale of clips; empty where one score decides alone"
    )
    thresholds: Levels = Field(description="levels of a clip on the normalised scale; `alarm` is 1")
    raw_thresholds: Levels = Field(description="the same on the raw scale")
    expected_false_alarms_a_day: FalseAlarms = Field(description="what the alarm level costs on normal sound")
    calibration: CalibrationFacts = Field(description="what the thresholds rest on")


class VersionCard(BaseModel):
    """A version of a machine's model."""

    model_config = ConfigDict(frozen=True)

    version: str = Field(description="its number")
    active: bool = Field(description="whether it is the one to be used")
    facts: VersionFacts | None = Field(description="what it says of itself; null where its manifest cannot be read")
    reason: str | None = Field(description="why the manifest cannot be read; null where it can")


class VersionList(BaseModel):
    """All versions of a machine's model."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="id of the machine")
    in_use: str | None = Field(
        description="version that judges now; another than the active one where that failed a check, null: none"
    )
    versions: list[VersionCard] = Field(description="the oldest first")


class ModelVersions:
    """Changes which version is used, one change at a time. Its coroutines belong to the event loop."""

    def __init__(
        self,
        machines: Machines,
        *,
        reload: Callable[[], Awaitable[Fleet]],
        note: Note,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``reload`` reads the folder of models again and lets all follow."""
        self._machines = machines
        self._repository: ModelRepository = machines.repository
        self._reload = reload
        self._note = note
        self._clock = clock
        self._changing = asyncio.Lock()

    async def listed(self, machine_id: str) -> VersionList:
        """All versions of a machine.

        Raises:
            RepositoryError, BundleInvalid: there is no such machine, or its folder cannot be read.
        """
        return await run_in_threadpool(self._listed, machine_id)

    async def activate(self, machine_id: str, version: str, *, who: str, why: str) -> VersionList:
        """Use a version from now on.

        Raises:
            RepositoryError, BundleError, PredictorError: there is none, or it fails a check; nothing has changed.
            StateUnusable: it cannot be audited; nothing has changed.
        """
        async with self._changing:
            await self._use(
                machine_id, lambda: self._repository.activate(machine_id, version), "activated", {}, who=who, why=why
            )
        return await self.listed(machine_id)

    async def rollback(self, machine_id: str, *, who: str, why: str) -> VersionList:
        """Use the version again that was used before. Raises as :meth:`activate`."""
        async with self._changing:
            await self._use(
                machine_id, lambda: self._repository.rollback(machine_id), "rolled_back", {}, who=who, why=why
            )
        return await self.listed(machine_id)

    async def add(
        self,
        manifest: Manifest,
        graph: bytes,
        arrays: bytes,
        *,
        activate: bool,
        who: str,
        why: str,
        details: Mapping[str, JsonValue],
    ) -> None:
        """Write a new version, and use it if that is wanted; the first version of a machine is used at once.

        Raises:
            RepositoryError, BundleError, PredictorError: it cannot be written, or fails a check.
            StateUnusable: it cannot be audited.
            In each case the version is gone again, and everything is as it was.
        """
        machine_id, version = manifest.machine_id, manifest.version
        async with self._changing:
            await run_in_threadpool(self._write, manifest, graph, arrays)
            chosen = version if activate else await run_in_threadpool(self._repository.active_version, machine_id)
            try:
                await self._use(
                    machine_id,
                    lambda: self._repository.activate(machine_id, chosen),
                    "calibrated",
                    {"made": version, **details},
                    who=who,
                    why=why,
                )
            except BaseException:
                await run_in_threadpool(shutil.rmtree, self._repository.root / machine_id / version, ignore_errors=True)
                raise

    def _listed(self, machine_id: str) -> VersionList:
        versions = self._repository.versions(machine_id)
        active = self._repository.active_version(machine_id)
        machine = self._machines.fleet.machines.get(machine_id)
        return VersionList(
            machine_id=machine_id,
            in_use=None if machine is None else machine.manifest.version,
            versions=[self._card(machine_id, version, active=version == active) for version in versions],
        )

    def _card(self, machine_id: str, version: str, *, active: bool) -> VersionCard:
        try:
            facts = _facts(self._repository.manifest(machine_id, version))
        except (BundleError, RepositoryError) as error:
            return VersionCard(version=version, active=active, facts=None, reason=str(error))
        return VersionCard(version=version, active=active, facts=facts, reason=None)

    def _write(self, manifest: Manifest, graph: bytes, arrays: bytes) -> None:
        machine_id, repository = manifest.machine_id, self._repository
        folder = repository.root / machine_id / manifest.version
        try:
            if machine_id in repository.machine_ids():
                # Without this the highest version is the active one, and a new one would be used once it is there.
                repository.activate(machine_id, repository.active_version(machine_id))
            write_bundle(folder, manifest, graph, arrays)
        except OSError as error:
            raise RepositoryError(f"{folder} cannot be written: {error.strerror}") from error

    async def _use(
        self,
        machine_id: str,
        change: Callable[[], object],
        kind: str,
        details: Mapping[str, JsonValue],
        *,
        who: str,
        why: str,
    ) -> None:
        """Change what is active, check it, audit it, and let all follow; or leave everything as it was."""
        async with self._taken_back_on_failure(machine_id):
            before, after = await run_in_threadpool(self._change, machine_id, change)
            said: dict[str, JsonValue] = {"before": before, "version": after, **details}
            await run_in_threadpool(
                lambda: self._note(machine_id, kind, at_s=self._clock(), who=who, why=why, details=said)
            )
            await self._reload()
        _log.info("model changed", machine_id=machine_id, kind=kind, version_before=before, version=after, who=who)

    def _change(self, machine_id: str, change: Callable[[], object]) -> tuple[str, str]:
        """Versions before and after, of which the second passed every check."""
        before = self._repository.active_version(machine_id)
        try:
            change()
        except OSError as error:
            raise RepositoryError(f"{ACTIVE} of {machine_id} cannot be written: {error.strerror}") from error
        loaded = {machine.manifest.files[PREDICTOR]: machine.predictor for machine in self._fleet.machines.values()}
        return before, load_machine(self._repository, machine_id, shared=loaded).manifest.version

    @property
    def _fleet(self) -> Fleet:
        return self._machines.fleet

    @asynccontextmanager
    async def _taken_back_on_failure(self, machine_id: str) -> AsyncIterator[None]:
        path = await run_in_threadpool(self._active_path, machine_id)
        before = await run_in_threadpool(_content, path)
        try:
            yield
        except BaseException:
            await run_in_threadpool(_restore, path, before)
            raise

    def _active_path(self, machine_id: str) -> Path:
        newest = self._repository.versions(machine_id)[-1]
        return self._repository.folder(machine_id, newest).parent / ACTIVE


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _restore(path: Path, content: bytes | None) -> None:
    if content == _content(path):
        return
    if content is None:
        path.unlink()
        sync_folder(path.parent)
    else:
        replace_durably(path, lambda file: file.write(content))


def _facts(manifest: Manifest) -> VersionFacts:
    clip = manifest.clip
    return VersionFacts(
        created_at=manifest.created_at,
        created_by=manifest.created_by,
        schema_version=manifest.schema_version,
        score=manifest.scoring.kind,
        detectors=detector_facts(clip),
        thresholds=levels_of(clip),
        raw_thresholds=raw_levels_of(clip),
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        calibration=calibration_facts(manifest),
    )


def levels_of(clip: ScaleThresholds) -> Levels:
    """Levels on the normalised scale."""
    return Levels(warn=clip.normalise(clip.warn.level), alarm=1.0)


def raw_levels_of(clip: ScaleThresholds) -> Levels:
    """Levels on the raw scale."""
    return Levels(warn=clip.warn.level, alarm=clip.alarm.level)


def calibration_facts(manifest: Manifest) -> CalibrationFacts:
    """What the thresholds of a bundle rest on."""
    card = manifest.calibration
    return CalibrationFacts(
        method=manifest.clip.alarm.method,
        recordings=card.recordings,
        clips=card.clips,
        level_dbfs_low=card.level_dbfs_low,
        level_dbfs_high=card.level_dbfs_high,
        warnings=card.warnings,
    )
