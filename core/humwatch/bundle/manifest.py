"""Manifest of a bundle: everything that is not an array. Unknown keys are refused."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypedDict

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.false_alarms.decision import Decision
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import ScaleThresholds
from humwatch.scoring.spec import ScoringSpec

MANIFEST: Final = "manifest.json"
PREDICTOR: Final = "predictor.onnx"
CALIBRATION: Final = "calibration.npz"

MACHINE_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Pattern of a machine's id; match it whole."""

MachineId = Annotated[str, StringConstraints(pattern=rf"^{MACHINE_ID.pattern}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictorCard(_Record):
    """Origin of the predictor: its training and its export."""

    strategy: str = Field(description="what is masked and predicted, e.g. `anp-idnn`")
    parameters: int = Field(ge=0, description="trained parameters")
    steps: int = Field(ge=0, description="training steps")
    train_recordings: int = Field(ge=0)
    train_digest: str = Field(description="SHA-256 over the sorted digests of the training recordings")
    config: dict[str, object] = Field(description="the training run's whole configuration")
    parity: dict[str, float] = Field(description="largest differences of torch and ONNX Runtime at export")


class CalibrationCard(_Record):
    """Normal recordings that the thresholds rest on."""

    recordings: int = Field(ge=1, description="independent normal recordings")
    clips: int = Field(ge=1, description="normal clips; several may come from one recording")
    digest: str = Field(description="SHA-256 over the sorted digests of these recordings")
    level_dbfs_low: float
    level_dbfs_high: float
    sample_bits: int = Field(ge=8, description="lowest resolution of a sample among these recordings, bits")
    warnings: list[str]
    prior_recordings: int = Field(0, ge=0, description="of other machines of the type, for the spread")
    quietest_dbfs: float | None = Field(
        None, description="level of the quietest whole second among these recordings; absent where nobody measured it"
    )
    float_scale: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="factor that brings float samples in a unit of their own (Pa, g, V) to levels that the network"
        " knows; levels are after it; absent where it is 1",
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_nobody_measured(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write an older bundle's card as it was: its digest is on record with every score that it gave."""
        card: dict[str, object] = write(self)
        if self.quietest_dbfs is None:
            del card["quietest_dbfs"]
        if self.float_scale == 1.0:
            del card["float_scale"]
        return card


class CommissioningCard(_Record):
    """Stage of a commissioning that made the version."""

    stage: int = Field(ge=1, description="number of the stage, from 1")
    minutes: int = Field(ge=1, description="minutes of normal sound that it rests on")
    planned_minutes: int = Field(ge=1, description="minutes of the whole plan")
    provisional: bool = Field(description="whether the plan goes on: the machine is watched, with a wider level")


class Manifest(_Record):
    """Everything about a bundle that is not an array."""

    schema_version: Literal[2, 3] = 3
    machine_id: MachineId
    machine_type: str
    version: Version
    created_at: str = Field(description="UTC, ISO 8601")
    created_by: str = Field(description="program and version")
    licence: str = Field(description="of the model, as its training data asks")
    attribution: str
    channel: int = Field(0, ge=0, description="channel that is scored when a recording has several")
    features: FeatureSpec
    windows: WindowSpec
    scoring: ScoringSpec
    clip: ScaleThresholds
    step: ScaleThresholds
    calibration: CalibrationCard
    predictor: PredictorCard
    files: dict[Literal["predictor.onnx", "calibration.npz"], Sha256]
    decision: Decision | None = Field(
        None, description="limits of the sequential rule; absent where scores alone are known, and the on-delay decides"
    )
    commissioning: CommissioningCard | None = Field(
        None, description="stage of the commissioning that made it; absent where none did"
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write an older bundle as it was: its digest is on record with every score that it gave."""
        manifest: dict[str, object] = write(self)
        for name in ("decision", "commissioning"):
            if manifest[name] is None:
                del manifest[name]
        return manifest

    @model_validator(mode="after")
    def _files_are_named(self) -> Manifest:
        if set(self.files) != {PREDICTOR, CALIBRATION}:
            raise ValueError(f"files has to name {PREDICTOR} and {CALIBRATION}")
        return self

    @model_validator(mode="after")
    def _consensus_has_detectors(self) -> Manifest:
        detectors = [scale.detectors is not None for scale in (self.clip, self.step)]
        if detectors != [self.scoring.kind == "consensus"] * 2:
            raise ValueError("levels of detectors belong to the score `consensus`, and to no other")
        if self.schema_version == 2 and any(detectors):
            raise ValueError("schema 2 has no detectors")
        return self

    @property
    def pipeline(self) -> PipelineSpec:
        """Front end, windows and score of the model."""
        return PipelineSpec(self.features, self.windows, self.scoring)


class BundleFacts(TypedDict):
    """Entries of a manifest that cannot be computed from the model and its calibration."""

    machine_id: str
    machine_type: str
    version: str
    created_at: str
    created_by: str
    licence: str
    attribution: str
    channel: int
    predictor: PredictorCard
