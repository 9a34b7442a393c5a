"""The context of every request: an id, a line in the log, a count in the metrics, a problem instead of a crash."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humwatch_service.errors import InternalError
from humwatch_service.metrics.registry import Metrics
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.requests import PROBES, REQUEST_ID_KEY, logged_path

_REQUEST_ID = re.compile(r"[!-~]{1,128}")


def _request_id(scope: Scope) -> str:
    """Return the caller's id where it is short and printable, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class RequestContext:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = event_logger("humwatch.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its outcome."""
        if scope["type"] == "websocket":
            await self._conversation(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID_KEY] = _request_id(scope)
        answer = _AnswerSender(request_id, send)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer.send)
            except Exception:
                self._log.exception("unhandled error", path=logged_path(scope))
                if answer.status:
                    raise  # the answer has begun: the server can only cut it off
                response = problem_response(InternalError("see the log for this request id"), request_id)
                await response(scope, receive, answer.send)
            finally:
                self._note(scope, answer)

    async def _conversation(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a WebSocket on, and log one line when it is over."""
        request_id = scope[REQUEST_ID_KEY] = _request_id(scope)
        started_s = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send)
            except Exception:
                self._log.exception("unhandled error", path=logged_path(scope))
                raise
            finally:
                self._log.info(
                    "websocket closed",
                    path=logged_path(scope),
                    duration_s=round(time.perf_counter() - started_s, 4),
                    client=(scope.get("client") or ("",))[0],
                )

    def _note(self, scope: Scope, answer: _AnswerSender) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.responded(route, scope["method"], answer.status or 499)
        # Asked every few seconds: at `debug` unless the answer is news.
        write = self._log.debug if route in PROBES and answer.status == 200 else self._log.info
        write(
            "request",
            method=scope["method"],
            route=route,
            path=logged_path(scope),
            status=answer.status or 499,
            duration_s=round(time.perf_counter() - answer.started_s, 4),
            client=(scope.get("client") or ("",))[0],
        )


class _AnswerSender:
    """The way of one request's answer, with the headers of every answer."""

    def __init__(self, request_id: str, send: Send) -> None:
        self._request_id = request_id
        self._send = send
        self.status = 0
        self.started_s = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
