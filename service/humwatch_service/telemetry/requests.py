"""What logs and traces say of a request: its id, its path, and whether it is a probe."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

MAX_LOGGED_PATH: Final = 200
PROBES: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
REQUEST_ID_KEY: Final = "humwatch_request_id"
"""Of the id in the scope of a request."""


def request_id_of(scope: Scope) -> str | None:
    """The id of a request."""
    found = scope.get(REQUEST_ID_KEY)
    return found if isinstance(found, str) else None


def logged_path(scope: Scope) -> str:
    """The path as it was sent, still percent-encoded, so that it cannot write lines of its own."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "backslashreplace").encode("unicode_escape").decode()[:MAX_LOGGED_PATH]
