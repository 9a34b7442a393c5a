"""Reasons for which the service does not take a stream, and which of them may pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from humwatch_service.errors import ServiceRefused, ServiceUnreachable
from humwatch_service.headers import retry_after_s
from humwatch_service.protocol.messages import Failure

UNREACHABLE: Final = ServiceUnreachable.code

_PASSING_STATUSES: Final = frozenset({408, 425, 429})
_FINAL_CLOSES: Final = frozenset({1002, 1003, 1007, 1008, 1009})


@dataclass(frozen=True)
class Refusal:
    """Reply that came instead of an answer.

    Attributes:
        code: the service's stable code, or ``service_unreachable`` where it said none.
        detail: reason in words.
        retry: whether trying again may help.
        retry_after_s: seconds that the service asks to wait; None: as long as the client likes.
    """

    code: str
    detail: str
    retry: bool
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def error(self) -> ServiceRefused | ServiceUnreachable:
        """Return the refusal as an error."""
        return ServiceUnreachable(self.detail) if self.code == UNREACHABLE else ServiceRefused(str(self))


def unreachable(error: BaseException | str) -> Refusal:
    """Return the refusal for no answer or a broken connection."""
    return Refusal(UNREACHABLE, str(error) or type(error).__name__, retry=True)


def of_failure(message: Failure) -> Refusal:
    """Return the refusal of a message that says why the service closes the stream."""
    return Refusal(message.code, message.detail, message.retry, message.retry_after_s)


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Return the refusal of an HTTP answer: a problem (RFC 9457), or what a proxy says instead."""
    retry = status >= 500 or status in _PASSING_STATUSES
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = f"http_{status}", f"the answer was HTTP status {status}"
        if not retry and status not in (401, 403, 404):
            detail += (
                " and no WebSocket: no service is at this address, or a proxy on the way does not pass `Upgrade` on"
            )
    return Refusal(code, detail, retry, retry_after_s(headers.get("Retry-After")))


def of_close(code: int | None, reason: str | None) -> Refusal:
    """Return the refusal of a connection that ended without a message, or with a close code alone."""
    detail = f"the connection ended ({code or 1006}{': ' + reason if reason else ''})"
    return Refusal(f"close_{code}", detail, retry=False) if code in _FINAL_CLOSES else unreachable(detail)
