"""Settings that determine a training run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets.recordings import SplitFractions
from humwatch_training.errors import FitConfigError
from humwatch_training.fit.schedule import Schedule
from humwatch_training.networks.attentive import AnpConfig
from humwatch_training.networks.kinds import NetworkConfig


class TrainingSpec(BaseModel):
    """Settings of the Trainer, without the place of the data.

    ``network.mean_db`` and ``network.std_db`` are not settings: they are measured on the train recordings and stand in
    the checkpoint's own network configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, lt=2**63)
    features: FeatureSpec = FeatureSpec()
    network: NetworkConfig = AnpConfig()
    batch_windows: int = Field(default=64, ge=1)
    steps: int | None = Field(default=None, ge=1, description="step budget; with `minutes`, whichever ends first")
    minutes: float | None = Field(default=None, gt=0, description="time budget of the steps, minutes")
    context_points: int | None = Field(
        default=None, ge=1, description="random subset of the context a window; None: the network's own choice"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="peak of the schedule")
    schedule: Schedule = "inverse_sqrt"
    warmup_steps: int | None = Field(default=None, ge=1, description="None: what the schedule has (`schedule.py`)")
    autoclip_percentile: float | None = Field(default=10.0, gt=0, le=100, description="None: no clipping")
    precision: Literal["float32", "bf16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; None leaves its choice")
    checkpoint_every_s: float = Field(default=60.0, gt=0)
    log_every_steps: int = Field(default=10, ge=1, description="steps that one line of the log averages")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps is None and self.minutes is None:
            raise ValueError("a budget is needed: steps, minutes or both")
        if self.network.n_mels != self.features.n_mels:
            raise ValueError(f"the network has {self.network.n_mels} bands, the features {self.features.n_mels}")
        return self

    def differences(self, other: TrainingSpec) -> list[str]:
        """Return the names of the settings that make another run, sorted.

        The place of the recordings (``data``) and the interval of checkpoints do not count: the recordings
        are compared by content.
        """
        mine, theirs = self.model_dump(), other.model_dump()
        return sorted(name for name in mine if name not in _FREE_TO_CHANGE and mine[name] != theirs.get(name))


class FitConfig(TrainingSpec):
    """Settings of one run on recordings; written to ``config.json`` and into every checkpoint."""

    data: tuple[str, ...] = Field(min_length=1, description="folders of normal recordings")
    channel: int | Literal["all"] = Field(default=0, description="0-based channel, or each as a clip of its own")
    split: SplitFractions = SplitFractions()

    @model_validator(mode="after")
    def _channels_count_from_zero(self) -> Self:
        if isinstance(self.channel, int) and self.channel < 0:
            raise ValueError("channels are counted from 0")
        return self


_FREE_TO_CHANGE = frozenset({"data", "checkpoint_every_s"})


def fit_config(settings: dict[str, object]) -> FitConfig:
    """Return the checked configuration; raise FitConfigError with every setting that is wrong."""
    try:
        return FitConfig.model_validate(settings)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise FitConfigError(problems) from error
