"""``/runbooks``: the instructions for each alert, also on a site without a way to the internet."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from humwatch_service.errors import RunbookNotFound
from humwatch_service.web.routes.documentation import problems

PACKAGE: Final = "humwatch_runbooks"
SUFFIX: Final = ".md"

_TEXT: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

router = APIRouter(prefix="/runbooks", tags=["runbooks"])


class RunbookList(BaseModel):
    """What there is."""

    model_config = ConfigDict(frozen=True)

    runbooks: list[str] = Field(description="names; the text of one is at `/runbooks/{name}`")


@router.get("", responses=problems())
def runbooks() -> RunbookList:
    """Names of the runbooks. They hold no secrets, and need no API key."""
    return RunbookList(runbooks=sorted(_pages()))


@router.get("/{name}", response_class=PlainTextResponse, responses={**_TEXT, **problems(404, 422)})
def runbook(name: Annotated[str, Path(description="name of the runbook, as in an alert's `runbook_url`")]) -> str:
    """What an alert means and what to do about it: Markdown, as plain text so that a browser shows it."""
    page = _pages().get(name)
    if page is None:
        raise RunbookNotFound(f"there is no runbook {name[:80]!r}; GET /runbooks lists them")
    return page.read_text("utf-8")


def _pages() -> dict[str, Traversable]:
    """Return the pages that are installed, by name: a requested name is looked up, never joined to a path."""
    return {page.name.removesuffix(SUFFIX): page for page in files(PACKAGE).iterdir() if page.name.endswith(SUFFIX)}
