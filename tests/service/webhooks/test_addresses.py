from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from humwatch_service.webhooks.addresses import HostLookup, may_connect


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.7",
        "172.16.3.4",
        "192.168.1.1",
        "fd12::7",
        "93.184.216.34",
        "2606:2800::1",
        "::ffff:10.0.0.7",
    ],
)
def test_private_networks_loopback_and_the_rest_may_be_reached(address: str) -> None:
    assert may_connect(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "not an address",
    ],
)
def test_metadata_link_local_and_multicast_may_not(address: str) -> None:
    assert not may_connect(address)


def test_addresses_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up"))
    assert asyncio.run(HostLookup()("10.0.0.7", 80)) == ("10.0.0.7",)


def test_localhost_is_loopback() -> None:
    assert "127.0.0.1" in asyncio.run(HostLookup()("localhost", 80))


def test_a_name_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(OSError, match=r"cannot be looked up: .*not known"):
        asyncio.run(HostLookup()("nothing.example", 80))


def test_a_resolver_that_hangs_holds_one_thread_and_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    release = threading.Event()

    def hang(host: str, *_: object, **__: object) -> Any:
        calls.append(host)
        release.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    lookup = HostLookup()

    async def scenario() -> tuple[str, ...]:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lookup("slow.example", 80), 0.02)
        assert calls == ["slow.example"]
        waiting = asyncio.create_task(lookup("slow.example", 80))
        await asyncio.sleep(0)
        release.set()
        return await waiting

    assert asyncio.run(scenario()) == ("10.0.0.7",)
    assert calls == ["slow.example"]


def test_the_event_loop_ends_while_a_resolver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object, **__: object) -> Any:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(HostLookup()("slow.example", 80), 0.02)

    started_s = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started_s < 2
    release.set()
    for thread in threading.enumerate():
        if thread.name == "humwatch-lookup":
            thread.join(5)
