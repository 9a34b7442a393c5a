"""Sources of the settings: what watched folders hold, and what became of it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from humwatch_service.sources.folder.folder_state import FolderState
from humwatch_service.web.application import service_of

router = APIRouter(tags=["live"])


class SourcesAnswer(BaseModel):
    """State of the sources that the service fetches sound from itself."""

    model_config = ConfigDict(frozen=True)

    folders: list[FolderState] = Field(description="watched folders, in the order of the settings")


@router.get("/v1/sources")
async def sources(request: Request) -> SourcesAnswer:
    """What watched folders hold, and what became of it."""
    return SourcesAnswer(folders=await run_in_threadpool(service_of(request).sources.folders))
