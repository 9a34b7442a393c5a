"""The limits of size and time of a request's body; the size is checked by the header where it is there."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humwatch.errors import HumwatchError
from humwatch_service.errors import BodyTimedOut, BodyTooLarge, RequestMalformed
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.requests import request_id_of

_UNENDING: Final = re.compile(r"/v1/machines/[^/]+/stream")
"""A stream's body has no end; its route bounds what waits and how long nothing may come."""


class BodyLimit:
    """The middleware that bounds every request's body, but for streams.

    Args:
        app: application behind it.
        max_bytes: largest size of a body, bytes.
        timeout_s: longest time for a body to come, seconds.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

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
        body = _Body(receive, self._max_bytes, self._timeout_s)
        await self._app(scope, body.receive, send)

    def _check_length(self, claimed: str | None) -> None:
        if claimed is None:
            return
        if not (claimed.isascii() and claimed.isdigit()):
            raise RequestMalformed("Content-Length is not a number")
        if len(claimed) > 18 or int(claimed) > self._max_bytes:
            raise _too_large(self._max_bytes)


class _Body:
    """One body, counted and timed while it is read; after its end, waiting for the caller to hang up is free."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._deadline_s: float | None = None
        self._bytes = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        if self._deadline_s is None:
            self._deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTimedOut(f"the body was not there within {self._timeout_s:g} s") from error
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._whole = not message.get("more_body", False)
        return message


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"at most {max_bytes} bytes are taken")
