"""The limits of a request's body: of its size, by the header where it is there, and of the time that it may take."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humwatch.errors import HumwatchError
from humwatch_service.errors import BodyTimedOut, BodyTooLarge, RequestMalformed
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.web.progress import SenderProgress

_UNENDING: Final = re.compile(r"/v1/machines/[^/]+/stream")
"""A stream's body has no end; its route bounds what waits and how long nothing may come."""


@dataclass(frozen=True)
class BodyLimits:
    """What is taken of one body.

    Attributes:
        max_bytes: largest size, bytes.
        timeout_s: longest time for the next ``min_bytes``, or for the rest, seconds.
        min_bytes: bytes after which the time begins anew.
        total_s: longest time for all of it, however steadily it comes, seconds.
    """

    max_bytes: int
    timeout_s: float
    min_bytes: int
    total_s: float


class BodyLimit:
    """The middleware that bounds every request's body, but for streams."""

    def __init__(self, app: ASGIApp, *, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a body that raises where it exceeds a limit while it is read."""
        if scope["type"] != "http" or _UNENDING.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            self._check_length(Headers(scope=scope).get("content-length"))
        except HumwatchError as error:
            response = problem_response(error, request_id_of(scope))
            await response(scope, receive, send)
            return
        body = _Body(receive, self._limits)
        await self._app(scope, body.receive, send)

    def _check_length(self, claimed: str | None) -> None:
        if claimed is None:
            return
        if not (claimed.isascii() and claimed.isdigit()):
            raise RequestMalformed("Content-Length is not a number")
        if len(claimed) > 18 or int(claimed) > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)


class _Body:
    """One body, counted and timed while it is read; after its end, waiting for the caller to hang up is free."""

    def __init__(self, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._progress = SenderProgress(timeout_s=limits.timeout_s, min_bytes=limits.min_bytes, total_s=limits.total_s)
        self._bytes = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            async with asyncio.timeout(self._progress.left_s):
                message = await self._receive()
        except TimeoutError as error:
            raise self._timed_out() from error
        size = len(message.get("body", b""))
        self._bytes += size
        if self._bytes > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)
        self._progress.came(size, loop.time() - asked_s)
        return message

    def _timed_out(self) -> BodyTimedOut:
        limits = self._limits
        if self._progress.is_total:
            return BodyTimedOut(
                f"the body was not whole within {limits.total_s:g} s, of which {self._bytes} bytes came"
                " (setting body_total_timeout_s)"
            )
        return BodyTimedOut(
            f"the body stopped, or came too slowly: neither its end nor {limits.min_bytes} bytes more within"
            f" {limits.timeout_s:g} s; {self._bytes} bytes came (settings body_timeout_s, body_min_bytes)"
        )


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"at most {max_bytes} bytes are taken")
