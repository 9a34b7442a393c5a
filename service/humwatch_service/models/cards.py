"""The facts about machines and their models, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.bundle.manifest import Manifest
from humwatch.detectors.detector_set import SHARES, DetectorLevels, DetectorName
from humwatch.scoring.calibration import ScaleThresholds
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.registry import LoadedModel, ModelSet


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True)


class CalibrationFacts(_Card):
    """What a machine's thresholds rest on."""

    method: str = Field(description="how the alarm level was fitted")
    recordings: int = Field(description="independent normal recordings")
    clips: int = Field(description="normal clips; several may come from one recording")
    level_dbfs_low: float = Field(description="level of the quietest of them, dBFS")
    level_dbfs_high: float = Field(description="level of the loudest of them, dBFS")
    warnings: list[str] = Field(description="what the thresholds cannot promise")

    @staticmethod
    def of(manifest: Manifest) -> CalibrationFacts:
        """Return the facts of a bundle's calibration."""
        card = manifest.calibration
        return CalibrationFacts(
            method=manifest.clip.alarm.method,
            recordings=card.recordings,
            clips=card.clips,
            level_dbfs_low=card.level_dbfs_low,
            level_dbfs_high=card.level_dbfs_high,
            warnings=card.warnings,
        )


class DetectorFacts(_Card):
    """One of the detectors that share the false alarms of a machine."""

    detector: DetectorName = Field(description="`profile`, `rhythm` or `lines`")
    share: float = Field(description="share of the false alarms that it may raise, 0 to 1")
    alarm_rate: float = Field(description="the same as a share of normal clips")
    alarm_level: float = Field(description="its alarm level, in spreads above the middle of normal clips")


class MachineSummary(_Card):
    """A machine that can be scored."""

    machine_id: str = Field(description="id of the machine")
    machine_type: str = Field(description="what kind of machine it is")
    model_version: str = Field(description="version of the model in use")
    model_sha256: str = Field(description="SHA-256 of the whole bundle, hexadecimal")


class MachineCard(MachineSummary):
    """Everything about a machine's model that is not an array."""

    created_at: str = Field(description="when the bundle was made, UTC, ISO 8601")
    created_by: str = Field(description="program and version that made it")
    licence: str = Field(description="of the model, as its training data asks")
    attribution: str = Field(description="whom to name")
    channel: int = Field(description="channel that is scored when a recording has several, counted from 0")
    strategy: str = Field(description="what the predictor masks and predicts")
    thresholds: Levels = Field(description="levels of a clip on the normalised scale; `alarm` is 1")
    raw_thresholds: Levels = Field(description="the same on the raw scale")
    raw_median: float = Field(description="raw score of the median normal clip: normalised score 0")
    expected_false_alarms_a_day: FalseAlarms = Field(description="what the alarm level costs on normal sound")
    calibration: CalibrationFacts = Field(description="what the thresholds rest on")
    features: FeatureSpec = Field(description="what a log-mel frame is")
    windows: WindowSpec = Field(description="how frames become windows, steps and clips")
    scoring: ScoringSpec = Field(description="which score is used")
    schema_version: int = Field(description="of the bundle; 2 and below have no detectors")
    detectors: list[DetectorFacts] = Field(
        description="detectors that share the false alarms, on the scale of clips; empty where one score decides alone"
    )
    detector_levels: DetectorLevels | None = Field(
        description="everything that was fitted for them; null where one score decides alone"
    )


class ModelState(_Card):
    """A bundle in use, or one that was refused."""

    machine_id: str = Field(description="id of the machine")
    version: str | None = Field(description="version in question; null where not even that could be read")
    state: Literal["in_use", "refused"] = Field(description="`refused`: it failed a check")
    model_sha256: str | None = Field(description="SHA-256 of the whole bundle; null where it was refused")
    score: ScoreKind | None = Field(description="which score it uses; null where it was refused")
    schema_version: int | None = Field(description="of its bundle; null where it was refused")
    code: str | None = Field(description="which check failed; null where it is in use")
    reason: str | None = Field(description="why it was refused; null where it is in use")
    instead: str | None = Field(description="version that stays in use instead of a refused one, if any")


class ModelStates(_Card):
    """All models."""

    models: list[ModelState] = Field(description="one entry for each model in use and each refused one")


def summary_of(model: LoadedModel) -> MachineSummary:
    """Return the short form."""
    manifest = model.manifest
    return MachineSummary(
        machine_id=manifest.machine_id,
        machine_type=manifest.machine_type,
        model_version=manifest.version,
        model_sha256=model.digest,
    )


def card_of(model: LoadedModel) -> MachineCard:
    """Return the long form."""
    manifest = model.manifest
    clip = manifest.clip
    return MachineCard(
        **summary_of(model).model_dump(),
        created_at=manifest.created_at,
        created_by=manifest.created_by,
        licence=manifest.licence,
        attribution=manifest.attribution,
        channel=manifest.channel,
        strategy=manifest.predictor.strategy,
        thresholds=Levels.of(clip),
        raw_thresholds=Levels.raw(clip),
        raw_median=clip.median,
        expected_false_alarms_a_day=FalseAlarms.of(clip),
        calibration=CalibrationFacts.of(manifest),
        features=manifest.features,
        windows=manifest.windows,
        scoring=manifest.scoring,
        schema_version=manifest.schema_version,
        detectors=detector_facts(clip),
        detector_levels=clip.detectors,
    )


def detector_facts(clip: ScaleThresholds) -> list[DetectorFacts]:
    """Return the detectors that are in use on a time scale; none where one score decides alone."""
    levels = clip.detectors
    if levels is None:
        return []
    alarm_levels: dict[DetectorName, float | None] = {
        "profile": levels.profile_alarm,
        "rhythm": levels.rhythm_alarm,
        "lines": levels.lines_alarm,
    }
    return [
        DetectorFacts(
            detector=detector,
            share=SHARES[detector],
            alarm_rate=SHARES[detector] * clip.alarm.target_rate,
            alarm_level=alarm_level,
        )
        for detector, alarm_level in alarm_levels.items()
        if alarm_level is not None
    ]


def model_states(current: ModelSet) -> ModelStates:
    """Return all models in use, and all that were refused."""
    used = [
        ModelState(
            machine_id=machine_id,
            version=model.manifest.version,
            state="in_use",
            model_sha256=model.digest,
            score=model.manifest.scoring.kind,
            schema_version=model.manifest.schema_version,
            code=None,
            reason=None,
            instead=None,
        )
        for machine_id, model in current.models.items()
    ]
    refused = [
        ModelState(
            machine_id=refusal.machine_id,
            version=refusal.version,
            state="refused",
            model_sha256=None,
            score=None,
            schema_version=None,
            code=refusal.code,
            reason=refusal.reason,
            instead=refusal.in_use,
        )
        for refusal in current.refusals.values()
    ]
    return ModelStates(models=sorted(used + refused, key=lambda state: (state.machine_id, state.state)))
