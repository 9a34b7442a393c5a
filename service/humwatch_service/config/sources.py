"""Settings of the sources that the service opens itself, in the configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.bundle.manifest import MachineId


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SoundCardSource(_Table):
    """A microphone of the box that the service runs on."""

    kind: Literal["sound_card"]
    machine: MachineId
    device: str | int | None = Field(None, description="name (or a part of it) or number; default: the system's")
    rate_hz: int | None = Field(None, gt=0, description="sample rate, Hz; default: the device's own")
    channels: int = Field(1, ge=1, le=16, description="channels to open")
    bits: Literal[16, 24] = Field(16, description="resolution of a sample; 24 for what hears more than 96 dB")
    channel: int | None = Field(None, ge=0, description="channel to listen to, from 0; default: the model's")


class FolderSource(_Table):
    """A folder that another program writes recordings into; they are joined in order of their names."""

    kind: Literal["folder"]
    machine: MachineId
    folder: Path = Field(description="folder to watch; subfolders are not")
    channel: int | None = Field(None, ge=0, description="channel to listen to, from 0; default: the model's")
    settle_s: float = Field(
        2.0, ge=0, le=3_600, description="a file is read once it has not grown for so long, seconds"
    )
    every_s: float = Field(
        600.0, gt=0, le=86_400, description="a recording is due this often; without one the machine is unknown, seconds"
    )
    delete: bool = Field(False, description="delete files that were heard")


class LoopSource(_Table):
    """Recordings that are played again and again, in real time: for demonstrations."""

    kind: Literal["loop"]
    machine: MachineId
    files: tuple[Path, ...] = Field(min_length=1, description="recordings of one rate, in order; repeat one at will")
    channel: int | None = Field(None, ge=0, description="channel to listen to, from 0; default: the model's")


SourceSettings = Annotated[SoundCardSource | FolderSource | LoopSource, Field(discriminator="kind")]
"""A table ``[[sources]]``."""
