"""The sessions of browsers: a key is exchanged for a cookie, so that no page has to keep it where scripts read."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from humwatch_service.errors import TooManyAttempts

COOKIE: Final = "humwatch_session"
SESSION_S: Final = 12 * 3_600
MAX_SESSIONS: Final = 1_024
"""Beyond it the oldest is forgotten: its browser signs in again."""
MAX_CLIENTS: Final = 1_024
"""Clients whose failures are remembered; beyond it the one that failed longest ago is forgotten."""
FREE_FAILURES: Final = 5
LONGEST_WAIT_S: Final = 60.0
FORGOTTEN_S: Final = 600.0
"""Failures are forgotten after so long without another."""


class Sessions:
    """The browsers that are signed in, by digests of their tokens; gone with the process. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_s: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends_s)

    def begin(self) -> str:
        """Begin a session; return its token."""
        token = secrets.token_urlsafe(32)
        while len(self._ends_s) >= MAX_SESSIONS:
            self._ends_s.popitem(last=False)
        self._ends_s[_digest(token)] = self._clock() + SESSION_S
        return token

    def knows(self, token: str | None) -> bool:
        """Return whether a token is that of a session which is not over."""
        if token is None:
            return False
        ends_s = self._ends_s.get(_digest(token))
        if ends_s is not None and ends_s <= self._clock():
            del self._ends_s[_digest(token)]
            return False
        return ends_s is not None

    def end(self, token: str | None) -> None:
        """Forget a session."""
        if token is not None:
            self._ends_s.pop(_digest(token), None)


class Attempts:
    """The brake on guesses: after a few wrong keys a client waits, twice as long each time. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def check(self, address: str) -> None:
        """Raise :class:`TooManyAttempts` while a client has to wait."""
        count, last_s = self._failures.get(_client(address), (0, 0.0))
        passed_s = self._clock() - last_s
        if count >= FREE_FAILURES and passed_s < (wait_s := min(LONGEST_WAIT_S, 2.0 ** (count - FREE_FAILURES))):
            raise TooManyAttempts("too many wrong keys came from this address", retry_after_s=wait_s - passed_s)

    def failed(self, address: str) -> None:
        """Remember a wrong key."""
        client, now_s = _client(address), self._clock()
        count, last_s = self._failures.pop(client, (0, now_s))
        self._failures[client] = (1 if now_s - last_s > FORGOTTEN_S else min(count + 1, 1_000), now_s)
        while len(self._failures) > MAX_CLIENTS:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of a client."""
        self._failures.pop(_client(address), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _client(address: str) -> str:
    """Return the client that an address stands for: in IPv6 a whole network is one client's."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip), 64), strict=False))
