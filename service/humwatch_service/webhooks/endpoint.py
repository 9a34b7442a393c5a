"""One attempt: a notification posted to one webhook, signed, over httpx.

Signatures are those of the Standard Webhooks specification, version 1.0.0 (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal

import httpx

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.headers import retry_after_s
from humwatch_service.webhooks.addresses import Resolve, may_connect
from humwatch_service.webhooks.outbox import Notification
from humwatch_service.webhooks.policy import MAX_RETRY_AFTER_S

MAX_ADDRESSES: Final = 4
"""Number of addresses of one host that are tried in one attempt."""
MAX_REASON_CHARACTERS: Final = 200

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Attempt:
    """The result of an attempt.

    Attributes:
        outcome: result; ``gone`` when the receiver wants no more attempts of this notification (410).
        error: reason for which it was not delivered; empty if it was. Names no path, header or secret.
        retry_after_s: pause that the receiver asks for, seconds; 0 for none.
    """

    outcome: Literal["delivered", "failed", "gone"]
    error: str = ""
    retry_after_s: float = 0.0


class Endpoint:
    """A webhook that notifications are posted to.

    A host name is looked up once an attempt, its addresses are checked, and the connection goes to a checked address,
    with the name in the certificate check and the Host header: an answer that changes between check and connection (DNS
    rebinding) cannot lead elsewhere. httpx's transport is used without a client around it, because a client would log
    URLs, keep cookies, follow redirects when told to and go through proxies of the environment. Every attempt has a
    connection of its own, and of the answer nothing but the head is looked at.
    """

    def __init__(
        self, webhook: WebhookSettings, *, resolve: Resolve, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.webhook = webhook
        self._key = webhook.key()
        self._resolve = resolve
        self._transport = transport or httpx.AsyncHTTPTransport(verify=webhook.trust(), trust_env=False)

    async def post(self, notification: Notification, at_s: float) -> Attempt:
        """Make one attempt; every failure is a result.

        Args:
            notification: notification to deliver.
            at_s: time now, seconds since 1970 (UTC).
        """
        body = notification.body
        headers = self._headers(message_id(notification), body, at_s)
        try:
            async with asyncio.timeout(self.webhook.timeout_s):
                return await self._post(headers, body, at_s)
        except (TimeoutError, httpx.TimeoutException):
            return Attempt("failed", f"no answer within {self.webhook.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Attempt("failed", _reason(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, headers: Mapping[str, str], body: bytes, at_s: float) -> Attempt:
        found = await self._resolve(self.webhook.host, self.webhook.port)
        addresses = [address for address in found if may_connect(address)][:MAX_ADDRESSES]
        if not addresses:
            return Attempt("failed", f"{self.webhook.host} has no address that alarms may be sent to")
        connect_s = self.webhook.timeout_s / len(addresses)
        requests = [self._request(address, headers, body, connect_s) for address in addresses]
        return await self._first_reached(requests, at_s)

    async def _first_reached(self, requests: Sequence[httpx.Request], at_s: float) -> Attempt:
        """Ask at the first address that takes a connection; nothing was sent to those before it."""
        *others, last = requests
        for request in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._ask(request, at_s)
        return await self._ask(last, at_s)

    async def _ask(self, request: httpx.Request, at_s: float) -> Attempt:
        response = await self._transport.handle_async_request(request)
        try:
            return attempt_of(response.status_code, response.headers, at_s)
        finally:
            await response.aclose()

    def _headers(self, message: str, body: bytes, at_s: float) -> dict[str, str]:
        webhook = self.webhook
        host = f"[{webhook.host}]" if ":" in webhook.host else webhook.host
        default = webhook.port == _DEFAULT_PORTS[webhook.url.scheme]
        return {
            "Host": host if default else f"{host}:{webhook.port}",
            "User-Agent": f"Humwatch/{version('humwatch')}",
            "Content-Type": "application/json",
            "Connection": "close",
            **signed_headers(self._key, message, at_s, body),
        }

    def _request(self, address: str, headers: Mapping[str, str], body: bytes, connect_s: float) -> httpx.Request:
        url = self.webhook.url
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        there = httpx.URL(scheme=url.scheme, host=address, port=self.webhook.port, raw_path=target.encode("ascii"))
        timeout = httpx.Timeout(self.webhook.timeout_s, connect=connect_s)
        extensions = {"timeout": timeout.as_dict(), "sni_hostname": self.webhook.host}
        return httpx.Request("POST", there, headers=headers, content=body, extensions=extensions)


def attempt_of(status: int, headers: Mapping[str, str], at_s: float) -> Attempt:
    """Return the meaning of an HTTP answer at ``at_s``: 2xx is delivered, 410 the end, all else is tried again."""
    if 200 <= status < 300:
        return Attempt("delivered")
    if status == 410:
        return Attempt("gone", "answered 410: no more attempts are wanted")
    if 300 <= status < 400:
        return Attempt("failed", f"answered {status}: redirects are not followed")
    asked_s = retry_after_s(headers.get("retry-after"), at_s) if status in (429, 503) else None
    return Attempt("failed", f"answered {status}", min(asked_s or 0.0, MAX_RETRY_AFTER_S))


def message_id(notification: Notification) -> str:
    """Return the id of a notification, the same for every attempt and after a restart.

    The outbox numbers its rows from 1, and would again in a new database; the time and the webhook make it unique.
    """
    facts = f"{notification.webhook} {notification.id} {notification.created_s!r}"
    return f"msg_{notification.id}_{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def signed_headers(key: bytes, message: str, at_s: float, body: bytes) -> dict[str, str]:
    """Return the three headers that a receiver verifies.

    Args:
        key: key of the webhook.
        message: id of the message; holds no full stop.
        at_s: time of this attempt, seconds since 1970 (UTC); receivers refuse one that is minutes old.
        body: bytes as they are sent.
    """
    timestamp = str(int(at_s))
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text[:MAX_REASON_CHARACTERS]
