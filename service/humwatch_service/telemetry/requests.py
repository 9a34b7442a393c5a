"""Facts of a request for logs and traces: its id, its path, and the paths of probes."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

MAX_LOGGED_PATH: Final = 200
PROBES: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
REQUEST_ID_KEY: Final = "humwatch_request_id"
"""Of the id in the scope of a request."""


def request_id_of(scope: Scope) -> str | None:
    """Return the id of a request."""
    found = scope.get(REQUEST_ID_KEY)
    return found if isinstance(found, str) else None


def logged_path(scope: Scope) -> str:
    """Return the path as it was sent, still percent-encoded, so that it cannot write lines of its own."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "backslashreplace").encode("unicode_escape").decode()[:MAX_LOGGED_PATH]
