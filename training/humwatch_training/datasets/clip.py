"""One clip of a data set: its labels, and the place of its sound."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PartName = Literal["train", "test"]
Label = Literal["normal", "anomalous"]
Domain = Literal["source", "target"]
Group = Literal["dev", "eval"]


class FileSource(BaseModel):
    """Source of a clip that is a recording of its own, WAV or FLAC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path


class ArraySource(BaseModel):
    """Source of a clip among the log-mel arrays of an ``.npz`` file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    index: int = Field(ge=0, description="row of the file's arrays")


class DataClip(BaseModel):
    """One clip with the labels of its data set; the sound is read with ``read_log_mel``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="unique in the data set: path from its root, or array file/clip")
    machine_type: str = Field(min_length=1, description="ToyCar, fan, ...")
    machine_id: str = Field(min_length=1, description="id_01, section_00, ...")
    split: PartName
    label: Label | None = Field(description="None: not published")
    source: FileSource | ArraySource
    domain: Domain | None = None
    group: Group = Field(default="dev", description="development machines, or those of the evaluation set")
    attributes: dict[str, str] = Field(default_factory=dict, description="what the data set tells of its recording")

    @property
    def machine(self) -> tuple[str, str]:
        """Type and id."""
        return (self.machine_type, self.machine_id)

    def __hash__(self) -> int:
        return hash(self.name)  # unique in a data set; the attributes cannot be hashed
