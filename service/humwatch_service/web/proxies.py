"""Proxies before the service: what those that are trusted say of a request, and the path that they show it under.

Redirects go out as relative references, which are right under any path, scheme and port, whoever asks whom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

PREFIX_KEY: Final = "humwatch_prefix"
"""Of the path, in the scope of a request, that the service is shown under."""

_PREFIX: Final = re.compile(r"(?:/[\w.~%!$&'()+=@-]+)+", re.ASCII)


def prefix_of(scope: Scope) -> str:
    """Return the path that the caller knows the service under: empty, or such as ``/humwatch``."""
    found = scope.get(PREFIX_KEY, "")
    return found if isinstance(found, str) else ""


class Proxies:
    """The outermost middleware: after it, a request looks as if its caller had come directly.

    Of proxies that are trusted, ``X-Forwarded-For``, ``-Proto`` and ``-Prefix`` count; whoever else sends them is not
    heard. Not ``-Host``: many proxies pass on what a stranger's page says there, and the host is what tells such pages.
    A path that a proxy has left on requests is taken off.
    """

    def __init__(
        self, app: ASGIApp, *, trusted: Iterable[IPv4Network | IPv6Network] = (), public_url: str | None = None
    ) -> None:
        """Take the networks of proxies that are trusted, and the URL that people know the service under."""
        self._app = app
        self._trusted = tuple(trusted)
        public = urlsplit(public_url or "")
        self._public_host, self._public_prefix = public.netloc.lower(), public.path.rstrip("/")
        self._forwarded = cast(
            "ASGIApp",
            ProxyHeadersMiddleware(cast("Any", self._behind), [str(network) for network in self._trusted]),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as its caller sent it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope["client"] = _plain(scope.get("client"))
        if self._trusts(scope):
            scope[PREFIX_KEY] = _forwarded_prefix(Headers(scope=scope))
            await self._forwarded(scope, receive, send)
        else:
            await self._behind(scope, receive, send)

    async def _behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = _raw_path(scope)
        prefixes = (prefix_of(scope), self._public_prefix)
        taken_off = next((prefix for prefix in prefixes if _is_under(scope["path"], unquote(prefix))), "")
        if taken_off:
            scope["path"] = scope["path"][len(unquote(taken_off)) :] or "/"
            inside = raw.split("/")[1 + taken_off.count("/") :]
            scope["raw_path"] = f"/{'/'.join(inside)}".encode("ascii", "backslashreplace")
            scope[PREFIX_KEY] = taken_off
        elif not prefix_of(scope) and self._public_host == Headers(scope=scope).get("host", "").lower():
            scope[PREFIX_KEY] = self._public_prefix
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            send = _RelativeRedirects(send, raw, taken_off, host).send
        await self._app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        try:
            client = ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(client in network for network in self._trusted)


class _RelativeRedirects:
    """The way of one answer, whose ``Location`` at this service goes out relative to what was asked for."""

    def __init__(self, send: Send, path: str, prefix: str, host: str) -> None:
        self._send = send
        self._path = path
        self._prefix = prefix
        self._host = host

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            headers = MutableHeaders(scope=message)
            location = headers.get("location")
            if location is not None:
                headers["location"] = self._relative(location)
        await self._send(message)

    def _relative(self, location: str) -> str:
        parts = urlsplit(location)
        if (parts.netloc and parts.netloc != self._host) or not parts.path.startswith("/"):
            return location
        found = relative_reference(self._path, self._prefix + parts.path)
        return found + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")


def relative_reference(base: str, target: str) -> str:
    """Return the reference (RFC 3986) that leads from one absolute path to another."""
    folders, (*onward, last) = base.split("/")[1:-1], target.split("/")[1:]
    shared = 0
    while shared < min(len(folders), len(onward)) and folders[shared] == onward[shared]:
        shared += 1
    found = "../" * (len(folders) - shared) + "/".join([*onward[shared:], last])
    # Nothing would be the base itself, a first slash the root, and what has a colon a scheme.
    return found if found and not found.startswith("/") and ":" not in found.partition("/")[0] else f"./{found}"


def _raw_path(scope: Scope) -> str:
    """Return the path as it was sent: an encoded slash is none."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")


def _is_under(path: str, prefix: str) -> bool:
    return bool(prefix) and (path == prefix or path.startswith(f"{prefix}/"))


def _forwarded_prefix(headers: Headers) -> str:
    """Return what a proxy took off, of several the outermost first; what is no path counts as none."""
    parts = [part.strip().rstrip("/") for part in ",".join(headers.getlist("x-forwarded-prefix")).split(",")]
    found = "".join(parts)
    return found if _PREFIX.fullmatch(found) and "/.." not in found else ""


def _plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return an address of IPv4 as such where a socket of IPv6 heard it."""
    if client is None or not client[0].startswith("::ffff:"):
        return client
    try:
        mapped = IPv6Address(client[0]).ipv4_mapped
    except ValueError:
        return client
    return client if mapped is None else (str(mapped), client[1])
