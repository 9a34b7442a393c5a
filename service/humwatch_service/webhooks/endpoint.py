"""One attempt: a notification posted to one webhook, over httpx."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Final, Literal

import httpx

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.webhooks.addresses import Resolve, may_connect
from humwatch_service.webhooks.policy import MAX_RETRY_AFTER_S
from humwatch_service.webhooks.signature import signed_headers

MAX_ADDRESSES: Final = 4
"""Of one host, that are tried in one attempt."""
MAX_REASON_CHARACTERS: Final = 200

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """What came of an attempt.

    Attributes:
        outcome: ``gone`` when the receiver wants no more attempts of this notification (410).
        error: why it was not delivered; empty if it was. Names no path, header or secret.
        retry_after_s: pause that the receiver asks for, seconds; 0 for none.
    """

    outcome: Literal["delivered", "failed", "gone"]
    error: str = ""
    retry_after_s: float = 0.0


class Endpoint:
    """Posts to one webhook.

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

    async def post(self, message: str, body: bytes, at_s: float) -> Answer:
        """Make one attempt; every failure is an answer.

        Args:
            message: id of the message, the same for each attempt.
            body: JSON.
            at_s: now, seconds since 1970 (UTC).
        """
        headers = self._headers(message, body, at_s)
        try:
            async with asyncio.timeout(self.webhook.timeout_s):
                return await self._post(headers, body, at_s)
        except (TimeoutError, httpx.TimeoutException):
            return Answer("failed", f"no answer within {self.webhook.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Answer("failed", _reason(error))

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.aclose()

    async def _post(self, headers: Mapping[str, str], body: bytes, at_s: float) -> Answer:
        found = await self._resolve(self.webhook.host, self.webhook.port)
        addresses = [address for address in found if may_connect(address)][:MAX_ADDRESSES]
        if not addresses:
            return Answer("failed", f"{self.webhook.host} has no address that alarms may be sent to")
        connect_s = self.webhook.timeout_s / len(addresses)
        requests = [self._request(address, headers, body, connect_s) for address in addresses]
        return await self._first_reached(requests, at_s)

    async def _first_reached(self, requests: Sequence[httpx.Request], at_s: float) -> Answer:
        """Ask at the first address that takes a connection; nothing was sent to those before it."""
        *others, last = requests
        for request in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._ask(request, at_s)
        return await self._ask(last, at_s)

    async def _ask(self, request: httpx.Request, at_s: float) -> Answer:
        response = await self._transport.handle_async_request(request)
        try:
            return answer_of(response.status_code, response.headers, at_s)
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


def answer_of(status: int, headers: Mapping[str, str], at_s: float) -> Answer:
    """What an HTTP answer at ``at_s`` means: 2xx is delivered, 410 the end, everything else is tried again."""
    if 200 <= status < 300:
        return Answer("delivered")
    if status == 410:
        return Answer("gone", "answered 410: no more attempts are wanted")
    if 300 <= status < 400:
        return Answer("failed", f"answered {status}: redirects are not followed")
    asked = headers.get("retry-after") if status in (429, 503) else None
    return Answer("failed", f"answered {status}", 0.0 if asked is None else _seconds(asked, at_s))


def _seconds(retry_after: str, at_s: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110: a number or a date), within bounds; 0 if it is neither."""
    try:
        wait_s = (
            float(retry_after) if retry_after.isdecimal() else parsedate_to_datetime(retry_after).timestamp() - at_s
        )
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(wait_s) else MAX_RETRY_AFTER_S


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text[:MAX_REASON_CHARACTERS]
