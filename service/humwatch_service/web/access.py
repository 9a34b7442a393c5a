"""The access to the service: by API keys, and on loopback without keys by this machine's own host names and pages."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from humwatch_service.errors import OriginRefused, RequestError, Unauthorised
from humwatch_service.headers import quality_values
from humwatch_service.problems import problem_response
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.web.sessions import COOKIE, Sessions

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Probes carry no key."""

SESSION_PATH: Final = "/v1/session"
PAGE_PATH: Final = "/ui"
RUNBOOKS_PATH: Final = "/runbooks"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ApiKeys:
    """The API keys by their digests, compared in a time that does not depend on how much of a key is right."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Headers) -> None:
        """Raise :class:`Unauthorised` unless a known key came as bearer token or as ``X-API-Key``."""
        presented = _presented(headers)
        if presented is None:
            raise Unauthorised("send an API key: `Authorization: Bearer <key>` or `X-API-Key: <key>`")
        if not self.know(presented):
            raise Unauthorised("this API key is not known")

    def know(self, key: bytes) -> bool:
        """Return whether a key is one of them."""
        digest = hashlib.sha256(key).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)


def _presented(headers: Headers) -> bytes | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode("latin-1")
    key = headers.get("x-api-key")
    return key.encode("latin-1") if key else None


class HostNames:
    """The host names of the service.

    A page of a stranger can point a name of its own at 127.0.0.1 (DNS rebinding) and let the visitor's browser talk
    to a service that trusts everybody on this machine; it cannot send another Host or Origin than its own.
    """

    def __init__(self, *, host: str, allowed: Iterable[str], public_url: str | None = None, without_keys: bool) -> None:
        named = {name.lower() for name in allowed}
        public = {_name(urlsplit(public_url).netloc)} if public_url is not None else set()
        self._names = named | public | LOOPBACK_NAMES | {host.lower()}
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
    """Return the host name of `name`, `name:port`, `[v6]` or `[v6]:port`, in small letters."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def _origin_name(origin: str) -> str:
    try:
        return _name(urlsplit(origin).netloc)
    except ValueError:
        return ""


def is_keyless(path: str, method: str, headers: Headers) -> bool:
    """Return whether a request needs no key: the page's files and runbooks, which hold no data, and signing in."""
    if path == "/":
        return method in SAFE_METHODS and prefers_html(headers)
    open_paths = (PAGE_PATH, RUNBOOKS_PATH)
    return path in (SESSION_PATH, *open_paths) or path.startswith(tuple(f"{open_path}/" for open_path in open_paths))


def prefers_html(headers: Headers) -> bool:
    """Whether a browser asks, for something to look at."""
    qualities = quality_values(headers.get("accept", ""))
    return qualities.get("text/html", 0.0) > qualities.get("application/json", 0.0)


def check_own_page(headers: Headers, public_url: str | None) -> None:
    """Raise :class:`OriginRefused` unless the service's own page sent the request: a cookie says only whose browser.

    Browsers say where a request comes from, and no page can make them say something else: ``Sec-Fetch-Site``, or,
    where the service is reached without TLS, ``Origin``: of the host that was asked for, or of ``public_url``.
    """
    site, origin = headers.get("sec-fetch-site"), _authority(headers.get("origin", ""))
    if site is not None:
        own = site == "same-origin"
    else:
        own = origin == headers.get("host") or (public_url is not None and origin == _authority(public_url) != "")
    if not own:
        raise OriginRefused("with a session, only the service's own page may do this; a program sends its key")


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class Access:
    """The middleware that refuses requests without access before anything of their body is read."""

    def __init__(
        self, app: ASGIApp, *, keys: ApiKeys, hosts: HostNames, sessions: Sessions, public_url: str | None
    ) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts
        self._sessions = sessions
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it has access, else answer with the problem."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_PATHS:
            headers = Headers(scope=scope)
            method = scope.get("method", "")
            try:
                self._hosts.check(headers)
                if self._keys and not is_keyless(scope["path"], method, headers):
                    self._check(headers, method)
            except RequestError as error:
                response = problem_response(error, request_id_of(scope))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers, method: str) -> None:
        """Raise :class:`Unauthorised` without a key or, but for WebSockets (which have no method), a session."""
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if method and _presented(headers) is None and self._sessions.knows(token):
            if method not in SAFE_METHODS:
                check_own_page(headers, self._public_url)
            return
        self._keys.check(headers)
