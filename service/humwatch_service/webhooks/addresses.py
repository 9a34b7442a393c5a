"""Addresses that a webhook may be sent to, and the lookup of host names."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses; raises OSError."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "169.254.0.0/16",  # link-local; the instance metadata of most clouds
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "100.100.100.200/32",  # further addresses of instance metadata, among those of providers and private networks
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "::/128",  # this host
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def may_connect(address: str) -> bool:
    """Return whether an address may be sent to: private networks and loopback may; metadata, multicast and such not.

    IPv4 addresses are found inside IPv6 ones (mapped, 6to4, NAT64).
    """
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(form in network for form in _forms(given) for network in _REFUSED)


def _forms(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inside = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [address, *(form for form in inside if form is not None)]


class HostLookup:
    """Lookup by the system's resolver, in daemon threads.

    A resolver that does not answer blocks for many seconds and cannot be stopped: in the event loop's own pool it would
    keep other work waiting, and the service from ending. One thread a host name at a time.
    """

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], asyncio.Future[tuple[str, ...]]] = {}

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        """Return the addresses of a host, in the system's order of preference. Raises OSError when there is none."""
        if _is_address(host):
            return (host,)
        found = self._pending.get((host, port)) or self._start(host, port)
        return await asyncio.shield(found)

    def _start(self, host: str, port: int) -> asyncio.Future[tuple[str, ...]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()
        self._pending[host, port] = found
        found.add_done_callback(partial(self._finish, (host, port)))
        threading.Thread(target=_look_up, args=(host, port, loop, found), name="humwatch-lookup", daemon=True).start()
        return found

    def _finish(self, key: tuple[str, int], found: asyncio.Future[tuple[str, ...]]) -> None:
        del self._pending[key]
        found.exception()  # nobody may be waiting for it any more


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int, loop: asyncio.AbstractEventLoop, found: asyncio.Future[tuple[str, ...]]) -> None:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        settle = partial(found.set_exception, OSError(f"the host name cannot be looked up: {error}"))
    else:
        settle = partial(found.set_result, tuple(dict.fromkeys(str(answer[4][0]) for answer in answers)))
    with suppress(RuntimeError):  # the event loop has ended, and nobody waits
        loop.call_soon_threadsafe(settle)
