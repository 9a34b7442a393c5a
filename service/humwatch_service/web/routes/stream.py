"""``/v1/machines/{machine_id}/stream``: live sound by WebSocket or by chunked HTTP; ``docs/protocol.md`` says how."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, WebSocket
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from humwatch.errors import HumwatchError
from humwatch_service.errors import (
    RequestInvalid,
    UpgradeRequired,
)
from humwatch_service.live.session import StreamSession, failure_of
from humwatch_service.problems import problem_response
from humwatch_service.protocol.limits import MAX_MESSAGE_BYTES
from humwatch_service.protocol.messages import MAX_JOIN_S, MAX_SAMPLE, SAMPLE_BYTES, Failure, Hello
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.web.application import service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.parameters import MachinePath, checked_machine_id
from humwatch_service.web.sound_body import SoundBody
from humwatch_service.web.stream_socket import CLOSE_TIMEOUT_S, StreamSocket

NDJSON: Final = "application/x-ndjson"
WITHOUT_UPGRADE: Final = (
    "a WebSocket is wanted here, and the request came without `Upgrade: websocket`; if the client sent it, a proxy on"
    " the way dropped it: in nginx set `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
    ' proxy_set_header Connection "upgrade";` (docs/deployment.md). POST takes sound over HTTP without it'
)

router = APIRouter(tags=["live"])
_log = event_logger("humwatch.stream")


@router.websocket("/v1/machines/{machine_id}/stream")
async def stream_websocket(websocket: WebSocket, machine_id: str) -> None:
    """Take a live stream over a WebSocket."""
    service = service_of(websocket)
    try:
        service.live.admission.refuse_if_full(service.live.machines.get(checked_machine_id(machine_id)))
        session = service.live.session(machine_id)
        session.join_by_default(service.settings.machine(machine_id).join_s)
    except HumwatchError as error:
        await problem_response(error, request_id_of(websocket.scope))(
            websocket.scope, websocket.receive, websocket.send
        )
        return
    await websocket.accept()
    settings = service.settings
    await StreamSocket(
        websocket, session, hello_s=settings.header_timeout_s, idle_s=settings.stream_idle_timeout_s
    ).run()


@router.get("/v1/machines/{machine_id}/stream", status_code=426, response_class=Response, responses=problems(422, 426))
async def without_upgrade(request: Request, machine_id: MachinePath) -> Response:
    """The WebSocket of the live protocol; a request without `Upgrade` is told what is missing."""
    checked_machine_id(machine_id)
    return problem_response(
        UpgradeRequired(WITHOUT_UPGRADE),
        request_id_of(request.scope),
        {"Upgrade": "websocket", "Connection": "Upgrade"},
    )


_AUDIO: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": dict.fromkeys(("audio/L16", "audio/L24", "audio/x-raw", "audio/wav"), _AUDIO),
    }
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {NDJSON: {"schema": {"type": "string"}}},
        "description": "The stream protocol's messages, one JSON object a line, while the body is still being sent.",
    },
    **problems(404, 409, 415, 422, 503),
}


@router.put("/v1/machines/{machine_id}/stream", responses=_RESPONSES, openapi_extra=_BODY, response_model=None)
@router.post("/v1/machines/{machine_id}/stream", responses=_RESPONSES, openapi_extra=_BODY, response_model=None)
async def stream_http(
    request: Request,
    machine_id: MachinePath,
    channel: Annotated[int | None, Query(ge=0, description="channel to listen to, from 0")] = None,
    stream_id: Annotated[str | None, Query(description="names the count of samples, to resume it")] = None,
    start_sample: Annotated[int, Query(ge=0, le=MAX_SAMPLE, description="index of the first sample")] = 0,
    start_time_s: Annotated[float | None, Query(description="when sample 0 was taken, seconds since 1970")] = None,
    realtime: Annotated[bool, Query(description="false: a recording, sent at any speed")] = True,
    join_s: Annotated[
        float | None, Query(gt=0, le=MAX_JOIN_S, description="longest pause to the burst before that it is joined to")
    ] = None,
) -> Response:
    """Take a live stream as an HTTP body; the answer comes meanwhile, a JSON object a line."""
    service = service_of(request)
    session = service.live.session(checked_machine_id(machine_id))
    session.join_by_default(service.settings.machine(machine_id).join_s)
    sound = SoundBody(request.stream(), service.settings.stream_idle_timeout_s)
    announced = await sound.announced(request.headers.get("content-type", ""))
    try:
        hello = Hello(
            rate_hz=announced.rate_hz,
            format=announced.format,
            channels=announced.channels,
            channel=channel,
            stream_id=stream_id,
            start_sample=start_sample,
            start_time_s=start_time_s,
            realtime=realtime,
            join_s=join_s,
        )
        await session.hello(hello, length_s=_length_s(request.headers.get("content-length"), hello))
    except ValidationError as error:
        sound.close()
        raise RequestInvalid(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
    except HumwatchError:
        sound.close()
        raise
    return _HttpStream(session, sound)


class _HttpStream(Response):
    """Response that reads the body and writes the answer at once."""

    media_type = NDJSON

    def __init__(self, session: StreamSession, sound: SoundBody) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})  # nginx would collect the lines
        del self.headers["content-length"]
        self._session = session
        self._sound = sound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the body ends, or pauses for too long."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write(send))
        try:
            ends: set[asyncio.Future[Any]] = {reading, self._session.evicted}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failure = reading.result() if reading.done() else failure_of(self._session.evicted.result())
            if failure is not None:
                self._session.outgoing.put(failure)
        except ClientDisconnect:
            pass
        finally:
            reading.cancel()
            self._sound.close()
            self._session.close()
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await writing
            writing.cancel()
        with suppress(Exception):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self) -> Failure | None:
        try:
            async for data in self._sound.chunks():
                for start in range(0, len(data), MAX_MESSAGE_BYTES):
                    await self._session.data(data[start : start + MAX_MESSAGE_BYTES])
            await self._session.finish()
        except HumwatchError as error:
            return failure_of(error)
        return None

    async def _write(self, send: Send) -> None:
        outgoing = self._session.outgoing
        while await outgoing.due():
            lines = b"".join(message.model_dump_json().encode() + b"\n" for message in outgoing.take())
            await send({"type": "http.response.body", "body": lines, "more_body": True})


def _length_s(content_length: str | None, hello: Hello) -> float | None:
    """Return how long the sound of a body is, seconds; None where its length is not said."""
    if content_length is None or not content_length.isdecimal():
        return None
    frame_bytes = SAMPLE_BYTES[hello.format] * hello.channels
    return int(content_length[:18]) // frame_bytes / hello.rate_hz
