"""``/ui/``: the page. Its files are open to everybody: there are no data in them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from humwatch_service.errors import NotFound
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.web.application import service_of
from humwatch_service.web.page_files import HEADERS, INDEX

router = APIRouter(include_in_schema=False)


@router.api_route("/ui", methods=["GET", "HEAD"])
async def slash() -> Response:
    """Redirect to the address under which relative ones are right."""
    return RedirectResponse("/ui/", status_code=308, headers=HEADERS)


@router.api_route("/ui/{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """Return a file of the page."""
    found = await run_in_threadpool(service_of(request).page.get, name or INDEX)
    if found is None:
        error = NotFound("the page has no such file")
        return problem_response(error, request_id_of(request.scope), HEADERS)
    headers = {**HEADERS, "ETag": found.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
