"""Settings of the sources that the service opens itself, in the configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from humwatch.bundle.manifest import MachineId

TimeSource = Literal["auto", "name", "file", "now"]
"""Sources of the time of a recording: ``auto`` takes name, `bext` chunk and file, the first of them that can be."""


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
    """A folder that another program writes recordings into; they are joined in the order in which they were taken."""

    kind: Literal["folder"]
    machine: MachineId
    folder: Path = Field(description="folder to watch")
    subfolders: bool = Field(True, description="watch the folders in it, and those that links in it lead to, too")
    existing: Literal["pass_over", "hear"] | None = Field(
        None,
        description="recordings that are there before the folder is watched for the first time; default: `pass_over`,"
        " with `delete` `hear`",
    )
    since: datetime | date | None = Field(None, description="of these, hear those that were taken from then on")
    time: TimeSource = Field(
        "auto", description="what says when a recording was taken; `auto`: its name, its bext chunk, the file's time"
    )
    time_zone: str | None = Field(
        None, description="zone of times in names, such as `Europe/Zurich` or `UTC`; default: local time"
    )
    channel: int | None = Field(None, ge=0, description="channel to listen to, from 0; default: the model's")
    settle_s: float = Field(
        2.0, ge=0, le=3_600, description="a file is read once it has not grown for so long, seconds"
    )
    every_s: float = Field(
        600.0, gt=0, le=86_400, description="a recording is due this often; without one the machine is unknown, seconds"
    )
    delete: bool = Field(False, description="delete files that were heard")

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, name: str | None) -> str | None:
        try:
            ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone that this machine knows") from error
        return name


class LoopSource(_Table):
    """Recordings that are played again and again, in real time: for demonstrations."""

    kind: Literal["loop"]
    machine: MachineId
    files: tuple[Path, ...] = Field(min_length=1, description="recordings of one rate, in order; repeat one at will")
    channel: int | None = Field(None, ge=0, description="channel to listen to, from 0; default: the model's")


SourceSettings = Annotated[SoundCardSource | FolderSource | LoopSource, Field(discriminator="kind")]
"""A table ``[[sources]]``."""


def check_folders(sources: Sequence[SourceSettings]) -> None:
    """Raise :class:`ValueError` for watched folders that are in each other's way."""
    folders = [source for source in sources if isinstance(source, FolderSource)]
    for number, source in enumerate(folders):
        for other in folders[:number]:
            if source.machine == other.machine:
                raise ValueError(
                    f"two watched folders are of {source.machine}, which is heard by one stream at a time:"
                    " watch one folder that holds both, or links to them"
                )
            same = source.folder.absolute() == other.folder.absolute()
            if same and (source.delete or other.delete):
                raise ValueError(
                    f"{source.folder} is watched for {other.machine} and {source.machine}: with `delete` one of them"
                    " would delete what the other has not heard"
                )
