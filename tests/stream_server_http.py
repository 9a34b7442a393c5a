"""The live protocol by HTTP, with uvicorn, on top of the same streams."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from humwatch_service.protocol.messages import Hello
from tests.stream_server import MACHINE, Session, StreamServer

FORMATS = {"S16LE": "s16le", "F32LE": "f32le"}


class HttpApp:
    """The same by HTTP: an ASGI application that answers while the body still comes."""

    def __init__(self, server: StreamServer) -> None:
        self.server = server
        self.stop_after_samples: int | None = None
        self.vanish = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != f"/v1/machines/{MACHINE}/stream":
            await self._problem(send, 404, "machine_not_found")
            return
        session = Session(self.server)
        session.start(self._hello(scope))
        head = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await self._flush(session, send)
        rest = b""
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body = rest + event.get("body", b"")
            whole = len(body) - len(body) % session.stream.frame_bytes
            session.data(body[:whole])
            rest = body[whole:]
            if self.stop_after_samples is not None and session.stream.samples >= self.stop_after_samples:
                session.out.append({"type": "error", "code": "shutting_down", "detail": "it stops", "retry": True})
                session.ended = True
            elif not event.get("more_body"):
                session.end()
            if self.vanish and session.ended:
                session.out.clear()
            await self._flush(session, send)
            if session.ended:
                await send({"type": "http.response.body", "body": b""})
                return

    def _hello(self, scope: Any) -> Hello:
        kind, *parts = dict(scope["headers"])[b"content-type"].decode().split(";")
        fields = dict(part.split("=") for part in parts)
        asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        sample_format = "s16be" if kind == "audio/L16" else FORMATS[fields["format"]]
        return Hello(rate_hz=fields["rate"], channels=fields["channels"], format=sample_format, **asked)

    async def _flush(self, session: Session, send: Any) -> None:
        while session.out:
            line = json.dumps(session.out.popleft(), ensure_ascii=False).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})

    async def _problem(self, send: Any, status: int, code: str) -> None:
        head = [(b"content-type", b"application/problem+json")]
        await send({"type": "http.response.start", "status": status, "headers": head})
        body = json.dumps({"code": code, "detail": "no such thing"}).encode()
        await send({"type": "http.response.body", "body": body})


@contextmanager
def serving_http(app: HttpApp) -> Iterator[str]:
    """Serve with uvicorn from a thread; gives the URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
