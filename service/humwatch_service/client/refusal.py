"""Why the service does not take a stream, and whether it may later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from humwatch_service.errors import ServiceRefused, ServiceUnreachable
from humwatch_service.protocol.messages import Failure

UNREACHABLE: Final = ServiceUnreachable.code

_PASSING_STATUSES: Final = frozenset({408, 425, 429})
_FINAL_CLOSES: Final = frozenset({1002, 1003, 1007, 1008, 1009})


@dataclass(frozen=True)
class Refusal:
    """What came instead of an answer.

    Attributes:
        code: the service's stable code, or ``service_unreachable`` where it said none.
        detail: in words.
        retry: whether trying again may help.
        retry_after_s: how long the service asks to wait; None: as long as the client likes.
    """

    code: str
    detail: str
    retry: bool
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def error(self) -> ServiceRefused | ServiceUnreachable:
        """The refusal as an error."""
        return ServiceUnreachable(self.detail) if self.code == UNREACHABLE else ServiceRefused(str(self))


def unreachable(error: BaseException | str) -> Refusal:
    """Nobody answered, or the connection broke."""
    return Refusal(UNREACHABLE, str(error) or type(error).__name__, retry=True)


def of_failure(message: Failure) -> Refusal:
    """The service said why it closes the stream."""
    return Refusal(message.code, message.detail, message.retry, message.retry_after_s)


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """The service answered over HTTP: a problem (RFC 9457), or whatever stands between says something else."""
    retry = status >= 500 or status in _PASSING_STATUSES
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = f"http_{status}", f"the answer was HTTP status {status}"
    return Refusal(code, detail, retry, _seconds(headers.get("Retry-After")))


def of_close(code: int | None, reason: str | None) -> Refusal:
    """The connection ended without a word, or with a close code alone."""
    detail = f"the connection ended ({code or 1006}{': ' + reason if reason else ''})"
    return Refusal(f"close_{code}", detail, retry=False) if code in _FINAL_CLOSES else unreachable(detail)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a ``Retry-After``; its other form, a date, is taken for none."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
