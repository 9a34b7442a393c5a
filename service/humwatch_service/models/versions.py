"""The versions of a machine's model, and the change from one to another: one that fails is taken back."""

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
from humwatch.bundle.manifest import PREDICTOR, CommissioningCard, Manifest
from humwatch.bundle.repository import ACTIVE, ModelRepository
from humwatch.durable import replace_durably, sync_folder
from humwatch.errors import BundleError, RepositoryError
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch.scoring.spec import ScoreKind
from humwatch_service.models.cards import CalibrationFacts, DetectorFacts, detector_facts
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.registry import ModelRegistry, ModelSet, load_model
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.models")


class AuditWriter(Protocol):
    """The way to write a line of the audit trail (blocking)."""

    def __call__(
        self, machine_id: str, kind: str, *, at_s: float, who: str, why: str, details: Mapping[str, JsonValue]
    ) -> None:
        """Write a line. Exceptions of the database are passed on."""


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
    false_alarms_a_week: FalseAlarmRate | None = Field(
        description="false alarms a week that its limits are expected to cost; null where it has none"
    )
    commissioning: CommissioningCard | None = Field(
        description="stage of the commissioning that made it; null: another way made it"
    )
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
    """The versions of all models, changed one at a time. Its coroutines belong to the event loop.

    Args:
        registry: models in use.
        reload: function that reads the folder of models again, and lets all parts of the service follow.
        note: writer of the audit trail.
        clock: source of the time, seconds since 1970.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        reload: Callable[[], Awaitable[ModelSet]],
        note: AuditWriter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._repository: ModelRepository = registry.repository
        self._reload = reload
        self._note = note
        self._clock = clock
        self._changing = asyncio.Lock()

    async def list_of(self, machine_id: str) -> VersionList:
        """Return all versions of a machine.

        Raises:
            RepositoryError, BundleInvalid: there is no such machine, or its folder cannot be read.
        """
        return await run_in_threadpool(self._list_of, machine_id)

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
        return await self.list_of(machine_id)

    async def rollback(self, machine_id: str, *, who: str, why: str) -> VersionList:
        """Use the version again that was used before. Raises as :meth:`activate`."""
        async with self._changing:
            await self._use(
                machine_id, lambda: self._repository.rollback(machine_id), "rolled_back", {}, who=who, why=why
            )
        return await self.list_of(machine_id)

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
        kind: str = "calibrated",
    ) -> None:
        """Write a new version, and use it if that is wanted; the first version of a machine is used at once.

        ``kind`` is that of the line in the audit trail.

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
                    kind,
                    {"made": version, **details},
                    who=who,
                    why=why,
                )
            except BaseException:
                await run_in_threadpool(shutil.rmtree, self._repository.root / machine_id / version, ignore_errors=True)
                raise

    def _list_of(self, machine_id: str) -> VersionList:
        versions = self._repository.versions(machine_id)
        active = self._repository.active_version(machine_id)
        model = self._registry.current.models.get(machine_id)
        return VersionList(
            machine_id=machine_id,
            in_use=None if model is None else model.manifest.version,
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
        """Change what is active, and check it; return the versions before and after."""
        before = self._repository.active_version(machine_id)
        try:
            change()
        except OSError as error:
            raise RepositoryError(f"{ACTIVE} of {machine_id} cannot be written: {error.strerror}") from error
        loaded = {m.manifest.files[PREDICTOR]: m.predictor for m in self._registry.current.models.values()}
        return before, load_model(self._repository, machine_id, shared=loaded).manifest.version

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
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        false_alarms_a_week=None if manifest.decision is None else manifest.decision.rate,
        commissioning=manifest.commissioning,
        calibration=CalibrationFacts.of(manifest),
    )
