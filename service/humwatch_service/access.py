"""Who may ask: API keys, and on loopback without keys only this machine's own host names and pages."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from humwatch_service.errors import OriginRefused, RequestError, Unauthorised
from humwatch_service.problems import problem_response
from humwatch_service.request_context import request_id_of

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Probes carry no key."""

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ApiKeys:
    """Knows keys by their digests, and compares in a time that does not tell how much of a key was right."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Headers) -> None:
        """Raise :class:`Unauthorised` unless a known key came as bearer token or as ``X-API-Key``."""
        presented = _presented(headers)
        if presented is None:
            raise Unauthorised("send an API key: `Authorization: Bearer <key>` or `X-API-Key: <key>`")
        digest = hashlib.sha256(presented).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise Unauthorised("this API key is not known")


def _presented(headers: Headers) -> bytes | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode("latin-1")
    key = headers.get("x-api-key")
    return key.encode("latin-1") if key else None


class HostNames:
    """Which names the service may be called by.

    A page of a stranger can point a name of its own at 127.0.0.1 (DNS rebinding) and let the visitor's browser talk
    to a service that trusts everybody on this machine; it cannot send another Host or Origin than its own.
    """

    def __init__(self, *, host: str, allowed: Iterable[str], without_keys: bool) -> None:
        named = {name.lower() for name in allowed}
        self._names = named | LOOPBACK_NAMES | {host.lower()}
        self._enforced = without_keys or bool(named)
        self._check_origin = without_keys

    def check(self, headers: Headers) -> None:
        """Raise :class:`OriginRefused` for a host name or a page that is not this service's own."""
        if not self._enforced:
            return
        host = _name(headers.get("host", ""))
        if host not in self._names:
            raise OriginRefused("this host name is not served here; see the setting `allowed_hosts`")
        origin = headers.get("origin")
        if self._check_origin and origin is not None and _origin_name(origin) not in self._names:
            raise OriginRefused("pages of other sites may not use this service; see the setting `allowed_hosts`")


def _name(authority: str) -> str:
    """Host name of `name`, `name:port`, `[v6]` or `[v6]:port`, in small letters."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def _origin_name(origin: str) -> str:
    try:
        return _name(urlsplit(origin).netloc)
    except ValueError:
        return ""


class Access:
    """Middleware that turns strangers away before anything of a body is read."""

    def __init__(self, app: ASGIApp, *, keys: ApiKeys, hosts: HostNames) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it may."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_PATHS:
            headers = Headers(scope=scope)
            try:
                self._hosts.check(headers)
                if self._keys:
                    self._keys.check(headers)
            except RequestError as error:
                response = problem_response(error, request_id_of(scope))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
