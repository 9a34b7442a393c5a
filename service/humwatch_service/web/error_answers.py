"""Answers to requests that raise: problem+json for errors with names, and for those of the framework."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from humwatch.errors import HumwatchError
from humwatch_service.errors import MethodNotAllowed, NotFound, RequestError, RequestInvalid, RequestMalformed
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.requests import request_id_of


async def _on_named(request: Request, error: Exception) -> Response:
    named = error if isinstance(error, HumwatchError) else RequestError(str(error))
    return problem_response(named, request_id_of(request.scope))


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer what the router and the form parser raise."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = error.headers if isinstance(error, HTTPException) else None
    if status == 404:
        named: RequestError = NotFound("there is nothing at this path; GET / says what there is")
    elif status == 405:
        named = MethodNotAllowed(f"this path does not take {request.method}")
    else:
        named = RequestMalformed(detail)
    return problem_response(named, request_id_of(request.scope), headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Answer parameters that FastAPI refused: which one and why, without what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in problems)
    return problem_response(RequestInvalid(detail), request_id_of(request.scope))


EXCEPTION_HANDLERS: Final[dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    HumwatchError: _on_named,
    HTTPException: _on_http,
    RequestValidationError: _on_invalid,
}
"""Handlers by the class of what is raised."""
