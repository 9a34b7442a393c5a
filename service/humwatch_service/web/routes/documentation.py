"""The part of the OpenAPI description about answers that are not an endpoint's own."""

from __future__ import annotations

from typing import Any, Final

from humwatch_service.problems import MEDIA_TYPE, Problem
from humwatch_service.web.sessions import COOKIE

_PROBLEMS: Final = {
    400: "The request cannot be parsed.",
    401: "No API key, or a wrong one.",
    403: "A host name or page that is not this service's own.",
    404: "No such machine or path.",
    405: "The path does not take this method.",
    408: "The body came too slowly.",
    409: "Not in the state that the machine, alarm or stream is in.",
    410: "It was there, and is not kept any more.",
    413: "The body is too large, or the recording too long.",
    415: "The content type or the recording's format is not read.",
    422: "A parameter or the recording cannot be used; `code` says why.",
    426: "A WebSocket is wanted, and `Upgrade` did not come: a proxy on the way may have dropped it.",
    429: "Too many wrong keys; `Retry-After` says when to try again.",
    500: "A fault of Humwatch's own.",
    503: "Not now: overloaded, loading, stopping, the machine's model was refused, or the database cannot be used.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for these statuses and for those that every endpoint has."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({400, 401, 403, 413, 500, *statuses})
    }


def add_problem_schema(openapi: dict[str, Any]) -> dict[str, Any]:
    """Put the shape of problems where the responses point to, and drop FastAPI's own error shape."""
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    openapi["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    openapi["security"] = [{}, {"bearer": []}, {"key": []}, {"session": []}]
    return openapi
