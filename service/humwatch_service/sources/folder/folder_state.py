"""State of a watched folder, as JSON."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def shown(name: str) -> str:
    """Return a name as JSON can hold it: bytes of another encoding than UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


ShownName = Annotated[str, AfterValidator(shown)]


class FolderState(BaseModel):
    """State of a watched folder: recordings by what became of them, and what is no recording."""

    model_config = ConfigDict(frozen=True)

    machine_id: str = Field(description="machine whose sound it is")
    folder: ShownName = Field(description="the folder, as the settings name it")
    recordings: dict[str, int] = Field(
        description="recordings that are done with: `heard`, or passed over as `existing` (there before the folder was"
        " watched), `empty`, `unreadable`, `unsupported` or `gone`"
    )
    late: int = Field(description="of those that were heard since the start, how many came after a newer one")
    waiting: int = Field(description="recordings that wait")
    written: int = Field(description="of these, how many are still written")
    unreadable_now: int = Field(description="of these, how many could not be opened and are tried again")
    others: int = Field(description="files that are no recordings, by their names")
    other_names: list[ShownName] = Field(description="a few of them")
    unreadable_folders: dict[ShownName, str] = Field(description="folders in it that cannot be read, and why")
    newest_recorded_s: float | None = Field(
        description="when the newest recording that was heard was taken, seconds since 1970 (UTC); null before any"
    )
