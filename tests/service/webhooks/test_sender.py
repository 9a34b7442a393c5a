from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.errors import StateUnusable
from humwatch_service.webhooks.endpoint import attempt_of, message_id, signed_headers
from humwatch_service.webhooks.outbox import Notification
from humwatch_service.webhooks.policy import DeliveryPolicy, EndpointBackoff
from humwatch_service.webhooks.sender import WebhookSender
from humwatch_service.webhooks.worker import WebhookStatus

SECRET = "whsec_c2VjcmV0LW9mLXRoZS1jb250cm9sLXJvb20="
PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text("utf-8")
FAST = DeliveryPolicy(delays_s=(0.02, 0.03, 0.05, 0.2), jitter=0.0, breaker_open_s=0.15, poll_s=0.01)

Step = int | bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Heard:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server on loopback; each request is answered by the next step, and when there is none left by 204."""

    steps: list[Step] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    port: int = 0
    connections: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            try:
                yield self
            finally:
                for task, writer in self.connections:
                    task.cancel()
                    writer.transport.abort()
                await asyncio.gather(*(task for task, _ in self.connections), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.append((task, writer))
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.heard.append(Heard(head[0].split(" ")[1], headers, body))
            await self.answer(self.steps.pop(0) if self.steps else 204, reader, writer)
        writer.close()

    async def answer(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, int):
            writer.write(f"HTTP/1.1 {step} X\r\nContent-Length: 2\r\n\r\nno".encode())
        elif isinstance(step, bytes):
            writer.write(step)
        else:
            await step(reader, writer)
            return
        await writer.drain()

    @property
    def bodies(self) -> list[str]:
        return [heard.body.decode() for heard in self.heard]

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/in/very-private?k=hidden"


@asynccontextmanager
async def receiving(*steps: Step, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    async with Receiver(list(steps)).listening(tls) as receiver:
        yield receiver


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@dataclass(frozen=True)
class Row(Notification):
    due_s: float = 0.0


class MemoryOutbox:
    """An outbox that can be made to fail; ``settled`` tells what became of which row."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: dict[int, Row] = {}
        self.settled: list[tuple[int, str]] = []
        self.errors: list[str] = []
        self.next_tries: list[float | None] = []
        self.broken: set[str] = set()
        self.count = 0

    def add(self, body: str, webhook: str = "desk", created_s: float | None = None) -> Row:
        self.count += 1
        created_s = time.time() if created_s is None else created_s
        row = Row(self.count, webhook, body.encode(), created_s)
        with self.lock:
            self.rows[row.id] = row
        return row

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Row]:
        self._check("due")
        with self.lock:
            waiting = [row for row in self.rows.values() if row.webhook == webhook and row.due_s <= now_s]
        return sorted(waiting, key=lambda row: row.id)[:limit]

    def delivered(self, notification_id: int, at_s: float) -> None:
        self._check("delivered")
        with self.lock:
            del self.rows[notification_id]
            self.settled.append((notification_id, "delivered"))

    def failed(self, notification_id: int, error: str, next_try_s: float | None) -> None:
        self._check("failed")
        with self.lock:
            row = self.rows.pop(notification_id)
            self.errors.append(error)
            self.next_tries.append(next_try_s)
            if next_try_s is None:
                self.settled.append((notification_id, "given up"))
            else:
                self.rows[row.id] = replace(row, attempts=row.attempts + 1, due_s=next_try_s)

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise StateUnusable("the disk is full")


class QueuePerMachine(MemoryOutbox):
    """Hands out the first row alone, as an outbox may that keeps the order by itself."""

    def due(self, now_s: float, limit: int, webhook: str) -> Sequence[Row]:
        return [row for row in super().due(float("inf"), 1, webhook) if row.due_s <= now_s]


def webhook(url: str, **changes: Any) -> WebhookSettings:
    return WebhookSettings(**{"name": "desk", "url": url, "secret": SECRET, "timeout_s": 5.0} | changes)


async def named(host: str, port: int) -> list[str]:
    names = {
        "metadata.test": ["169.254.169.254"],
        "both.test": ["fe80::1", "::1", "127.0.0.1"],
        "hooks.test": ["127.0.0.1"],
    }
    return names.get(host, [host])


@asynccontextmanager
async def sending(
    webhooks: list[WebhookSettings], outbox: MemoryOutbox, policy: DeliveryPolicy = FAST, **parts: Any
) -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(webhooks, outbox, policy=policy, resolve=named, **parts)
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        started_s = time.monotonic()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - started_s < 1


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen")
        await asyncio.sleep(0.005)


def only(sender: WebhookSender) -> WebhookStatus:
    (status,) = sender.status()
    return status


def test_a_notification_is_posted_signed_and_recorded() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox) as sender:
            row = outbox.add('{"a": "ü"}')
            await until(lambda: outbox.settled)
            (heard,) = receiver.heard
            assert heard.path == "/in/very-private?k=hidden"
            assert heard.body == row.body
            assert heard.headers["host"] == f"127.0.0.1:{receiver.port}"
            assert heard.headers["content-type"] == "application/json"
            sent_s = int(heard.headers["webhook-timestamp"])
            assert abs(sent_s - time.time()) < 5
            expected = signed_headers(b"secret-of-the-control-room", message_id(row), sent_s, heard.body)
            assert {name: heard.headers[name] for name in expected} == expected
            status = only(sender)
            assert (status.circuit, status.delivered, status.failed, status.last_error) == ("closed", 1, 0, None)
            assert status.last_delivered_s is not None

    asyncio.run(scenario())
    assert outbox.settled == [(1, "delivered")]


def test_failures_are_repeated_under_one_id_and_in_order() -> None:
    outbox = MemoryOutbox()
    told: list[tuple[str, str]] = []

    def on_outcome(name: str, outcome: str) -> None:
        told.append((name, outcome))

    async def scenario() -> None:
        async with (
            receiving(500, 503) as receiver,
            sending([webhook(receiver.url())], outbox, on_outcome=on_outcome) as sender,
        ):
            outbox.add("1")
            outbox.add("2")
            await until(lambda: len(outbox.settled) == 2)
            assert receiver.bodies == ["1", "1", "1", "2"]
            ids = [heard.headers["webhook-id"] for heard in receiver.heard]
            assert len(set(ids[:3])) == 1
            assert ids[3] != ids[0]
            assert (only(sender).failed, only(sender).last_error) == (2, "answered 503")
            assert told == [("desk", outcome) for outcome in ("failed", "failed", "delivered", "delivered")]

    asyncio.run(scenario())
    assert outbox.errors == ["answered 500", "answered 503"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (404, "answered 404"),
        (304, "redirects are not followed"),
        (hang_up, "disconnected"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "too large|not allowed|exceed|illegal|disconnected|long"),
    ],
)
def test_everything_but_2xx_is_a_failure(step: Step, error: str) -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(step) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)

    asyncio.run(scenario())
    assert len(outbox.errors) == 1
    assert re.search(error, outbox.errors[0])
    assert len(outbox.errors[0]) <= 200


def test_a_receiver_that_never_answers_is_timed_out() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(never) as receiver, sending([webhook(receiver.url(), timeout_s=0.1)], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)

    asyncio.run(scenario())
    assert outbox.errors == ["no answer within 0.1 s"]


def test_drops_of_an_answer_do_not_prolong_the_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(drip) as receiver, sending([webhook(receiver.url(), timeout_s=0.2)], outbox):
            outbox.add("1")
            await until(lambda: outbox.errors)

    started_s = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started_s < 3
    assert outbox.errors == ["no answer within 0.2 s"]


def test_an_endless_answer_is_not_read() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(endless) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)
            await asyncio.sleep(0.05)
            after = sent
            await asyncio.sleep(0.05)
            assert sent == after  # the connection is gone

    asyncio.run(scenario())
    assert outbox.settled == [(1, "delivered")]
    assert sent < 16 << 20  # what fits into the buffers of two sockets


def test_a_redirect_is_not_followed() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as elsewhere:
            redirect = f"HTTP/1.1 307 X\r\nLocation: {elsewhere.url()}\r\nContent-Length: 0\r\n\r\n".encode()
            async with receiving(redirect) as receiver, sending([webhook(receiver.url())], outbox):
                outbox.add("1")
                await until(lambda: outbox.settled)
                assert len(receiver.heard) == 2
            assert elsewhere.heard == []

    asyncio.run(scenario())
    assert outbox.errors == ["answered 307: redirects are not followed"]


def test_cookies_are_not_kept() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        cookie = b"HTTP/1.1 500 X\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        async with receiving(cookie) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)
            assert "cookie" not in receiver.heard[1].headers

    asyncio.run(scenario())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)

    asyncio.run(scenario())
    assert outbox.errors == []


def test_gone_is_given_up_at_once() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(410) as receiver, sending([webhook(receiver.url())], outbox) as sender:
            outbox.add("1")
            outbox.add("2")
            await until(lambda: len(outbox.settled) == 2)
            assert receiver.bodies == ["1", "2"]
            assert (only(sender).given_up, only(sender).failed) == (1, 1)

    asyncio.run(scenario())
    assert outbox.settled == [(1, "given up"), (2, "delivered")]


def test_an_old_notification_is_given_up_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(*[500] * FAST.least_attempts) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1", created_s=time.time() - FAST.give_up_s)
            await until(lambda: outbox.settled)
            assert len(receiver.heard) == FAST.least_attempts  # its age is wrong where the clock was set

    with caplog.at_level(logging.INFO, "humwatch.webhooks"):
        asyncio.run(scenario())
    assert outbox.settled == [(1, "given up")]
    assert any("given up" in str(record.msg) and record.levelname == "ERROR" for record in caplog.records)


@pytest.mark.parametrize("holding", [0, 3])
def test_a_pause_that_the_receiver_asks_for_is_kept(holding: int) -> None:
    outbox = MemoryOutbox()
    policy = FAST.model_copy(update={"holding_attempts": holding})

    async def scenario() -> None:
        busy = b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        async with receiving(busy) as receiver, sending([webhook(receiver.url())], outbox, policy):
            outbox.add("1")
            await until(lambda: outbox.errors)
            failed_s = time.monotonic()
            outbox.add("2")
            await until(lambda: len(outbox.settled) == 2)
            assert time.monotonic() - failed_s > 0.9
            assert receiver.bodies == ["1", "1", "2"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "17", 17.0),
        (503, formatdate(1_000_020, usegmt=True), 20.0),
        (503, formatdate(999_000, usegmt=True), 0.0),
        (503, "9" * 400, 3600.0),
        (503, "soon", 0.0),
        (503, "-5", 0.0),
        (500, "17", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(status: int, value: str, seconds: float) -> None:
    assert attempt_of(status, {"retry-after": value}, 1_000_000.0).retry_after_s == seconds


def test_a_payload_that_the_receiver_chokes_on_is_passed_by_the_others() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(500, 500, 500) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("bad")
            outbox.add("1")
            outbox.add("2")
            await until(lambda: len(outbox.settled) >= 2)
            assert receiver.bodies[:4] == ["bad", "bad", "bad", "1"]

    asyncio.run(scenario())


def test_after_an_outage_what_waited_goes_first() -> None:
    patient = FAST.model_copy(update={"delays_s": (0.01, 0.01, 3000.0), "breaker_failures": 50})
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with (
            receiving(204, 500, 500, 500) as receiver,
            sending([webhook(receiver.url())], outbox, patient) as sender,
        ):
            outbox.add("before")
            await until(lambda: outbox.settled)
            outbox.add("raised")
            await until(lambda: len(outbox.errors) == 3)
            outbox.add("cleared")
            sender.wake()
            await until(lambda: len(outbox.settled) == 3)
            assert receiver.bodies[4:] == ["raised", "cleared"]

    asyncio.run(scenario())


def test_the_circuit_opens_after_five_failures_and_closes_on_success() -> None:
    outbox = MemoryOutbox()
    steps: list[Step] = [500] * 6

    async def scenario() -> None:
        policy = FAST.model_copy(update={"breaker_open_s": 0.3, "delays_s": (0.01,)})
        async with receiving(*steps) as receiver, sending([webhook(receiver.url())], outbox, policy) as sender:
            outbox.add("1")
            await until(lambda: only(sender).circuit == "open")
            assert len(receiver.heard) == 5
            opened_s = time.monotonic()
            await asyncio.sleep(0.15)
            sender.wake()
            await asyncio.sleep(0.05)
            assert len(receiver.heard) == 5
            await until(lambda: len(receiver.heard) == 6)  # half-open: one attempt, which fails
            assert time.monotonic() - opened_s > 0.25
            await until(lambda: only(sender).failed == 6)
            assert only(sender).circuit == "open"
            await until(lambda: only(sender).circuit == "closed")
            assert only(sender).delivered == 1

    asyncio.run(scenario())
    assert outbox.settled == [(1, "delivered")]


def test_at_half_open_a_bad_payload_does_not_keep_the_circuit_open() -> None:
    outbox = MemoryOutbox()

    class Choosy(Receiver):
        async def answer(self, step: Step, *streams: Any) -> None:
            await super().answer(500 if self.heard[-1].body == b"bad" else 204, *streams)

    async def scenario() -> None:
        policy = FAST.model_copy(update={"delays_s": (0.01,), "breaker_open_s": 0.05})
        async with Choosy().listening() as receiver, sending([webhook(receiver.url())], outbox, policy) as sender:
            outbox.add("bad")
            await until(lambda: only(sender).failed >= 6)
            outbox.add("good")
            await until(lambda: outbox.settled)

    asyncio.run(scenario())
    assert outbox.settled[0] == (2, "delivered")


def test_a_breaker_counts_failures_in_a_row() -> None:
    breaker = EndpointBackoff(failures=2, open_s=60.0)
    breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(1.0)
    assert breaker.circuit(1.0) == "closed"
    breaker.failed(2.0)
    assert (breaker.circuit(2.0), breaker.wait_s(12.0)) == ("open", 50.0)
    assert (breaker.circuit(62.0), breaker.wait_s(62.0)) == ("half_open", 0.0)
    breaker.failed(63.0)
    assert breaker.circuit(122.0) == "open"
    breaker.succeeded()
    assert breaker.circuit(122.0) == "closed"


def test_the_documented_delays_are_the_policy() -> None:
    policy, chance = DeliveryPolicy(), random.Random(1)
    plain = policy.model_copy(update={"jitter": 0.0})
    assert [plain.backoff(chance).delay_s(failures) for failures in range(1, 8)] == [5, 30, 120, 600, 3600, 3600, 3600]
    assert "After 5 s, 30 s, 2 min, 10 min, 1 h and then every hour, each give or take a fifth" in PAGE
    delays = [policy.backoff(chance).delay_s(1) for _ in range(1000)]
    assert 4.0 <= min(delays) < 4.1
    assert 5.9 < max(delays) <= 6.0
    assert (policy.give_up_s, policy.breaker_failures, policy.breaker_open_s, policy.holding_attempts) == (
        3 * 86_400,
        5,
        60,
        3,
    )
    for promise in (
        "After 3 days it is given",
        "After 5 failures in a row it is left alone for 60 s",
        "it failed 3 times",
    ):
        assert promise in PAGE


def test_next_tries_follow_the_clock_that_is_given() -> None:
    outbox = MemoryOutbox()
    policy = DeliveryPolicy(jitter=0.0, poll_s=0.01)

    async def scenario() -> None:
        now_s = 1_000_000.0
        outbox.add("1", created_s=now_s)
        clocks = {"clock": lambda: now_s, "monotonic": lambda: now_s}
        async with receiving(*([500] * 7)) as receiver, sending([webhook(receiver.url())], outbox, policy, **clocks):
            for failures in range(1, 8):
                await until(lambda failures=failures: len(outbox.next_tries) == failures)
                now_s = outbox.next_tries[-1] or 0.0
            await until(lambda: outbox.settled)

    asyncio.run(scenario())
    after = [round(next_s - 1_000_000.0) for next_s in outbox.next_tries if next_s is not None]
    assert after == [5, 35, 155, 755, 4355, 7955, 11555]


def test_a_dead_webhook_holds_up_no_other() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(*([never] * 50)) as dead, receiving() as alive:
            webhooks = [webhook(dead.url(), timeout_s=30.0), webhook(alive.url(), name="live")]
            async with sending(webhooks, outbox):
                for number in range(300):
                    outbox.add(str(number), "desk")
                outbox.add("first", "live")
                started_s = time.monotonic()
                await until(lambda: len(alive.heard) == 1)
                for number in range(300):
                    outbox.add(str(number), "live")
                await until(lambda: len(alive.heard) == 301)
                assert time.monotonic() - started_s < 10
                assert alive.bodies == ["first", *map(str, range(300))]
                assert len(dead.heard) == 1

    asyncio.run(scenario())


def test_an_outbox_that_gives_one_at_a_time_is_emptied_without_waiting() -> None:
    outbox = QueuePerMachine()
    slow = FAST.model_copy(update={"poll_s": 30.0})

    async def scenario() -> None:
        for number in range(20):
            outbox.add(str(number))
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox, slow):
            await until(lambda: len(outbox.settled) == 20)
            assert receiver.bodies == list(map(str, range(20)))

    asyncio.run(scenario())


def test_waking_from_another_thread_is_heard_at_once() -> None:
    outbox = MemoryOutbox()
    slow = FAST.model_copy(update={"poll_s": 30.0})

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox, slow) as sender:
            await asyncio.sleep(0.05)
            outbox.add("1")
            thread = threading.Thread(target=sender.wake)
            thread.start()
            await until(lambda: receiver.heard)
            thread.join()
        sender.wake()  # after the end: nobody is there

    asyncio.run(scenario())


def test_stopping_leaves_what_is_not_confirmed() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(never) as receiver:
            async with sending([webhook(receiver.url(), timeout_s=60.0)], outbox):
                outbox.add("1")
                await until(lambda: receiver.heard)
            assert list(outbox.rows) == [1]
            async with sending([webhook(receiver.url())], outbox):
                await until(lambda: outbox.settled)
            ids = [heard.headers["webhook-id"] for heard in receiver.heard]
            assert len(ids) == 2
            assert ids[0] == ids[1]

    asyncio.run(scenario())


def test_what_was_delivered_and_not_recorded_comes_again_under_the_same_id() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as receiver:
            outbox.broken = {"delivered"}
            async with sending([webhook(receiver.url())], outbox):
                outbox.add("1")
                await until(lambda: receiver.heard)
            outbox.broken = set()
            async with sending([webhook(receiver.url())], outbox):
                await until(lambda: outbox.settled)
            assert receiver.bodies == ["1", "1"]
            assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1

    asyncio.run(scenario())


def test_a_delivery_that_cannot_be_recorded_is_not_sent_on_and_on(caplog: pytest.LogCaptureFixture) -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox):
            outbox.broken = {"delivered"}
            outbox.add("1")
            outbox.add("2")
            await until(lambda: receiver.heard)
            await asyncio.sleep(0.1)
            assert receiver.bodies == ["1"]
            outbox.broken = set()
            await until(lambda: len(outbox.settled) == 2)
            assert receiver.bodies == ["1", "2"]

    with caplog.at_level(logging.INFO, "humwatch.webhooks"):
        asyncio.run(scenario())
    assert sum("outbox not usable" in str(record.msg) for record in caplog.records) == 1


@pytest.mark.parametrize("method", ["due", "failed"])
def test_an_outbox_that_fails_is_asked_again(method: str) -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        outbox.broken = {method}
        async with receiving(500) as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await asyncio.sleep(0.1)
            assert len(receiver.heard) == (0 if method == "due" else 1)
            outbox.broken = set()
            await until(lambda: outbox.settled)

    asyncio.run(scenario())


def test_a_fault_of_humwatchs_own_is_logged_and_does_not_end_the_sender(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = MemoryOutbox()
    due = outbox.due
    monkeypatch.setattr(outbox, "due", lambda *_: 1 / 0)

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url())], outbox):
            outbox.add("1")
            await asyncio.sleep(0.05)
            monkeypatch.setattr(outbox, "due", due)
            await until(lambda: outbox.settled)

    with caplog.at_level(logging.INFO, "humwatch.webhooks"):
        asyncio.run(scenario())
    assert any("ZeroDivisionError" in str(record.msg) for record in caplog.records)


def test_the_connection_goes_to_an_address_that_was_checked() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving() as receiver, sending([webhook(receiver.url("both.test"), allow_http=True)], outbox):
            outbox.add("1")
            await until(lambda: outbox.settled)  # fe80::1 is refused, nobody listens on ::1
            assert receiver.heard[0].headers["host"] == f"both.test:{receiver.port}"

    asyncio.run(scenario())
    assert outbox.errors == []


def test_metadata_addresses_are_refused_after_the_lookup() -> None:
    outbox = MemoryOutbox()

    async def scenario() -> None:
        there = webhook("http://metadata.test/latest", allow_http=True)
        async with sending([there], outbox):
            outbox.add("1")
            await until(lambda: outbox.errors)

    asyncio.run(scenario())
    assert outbox.errors[0] == "metadata.test has no address that alarms may be sent to"


def test_nobody_listens() -> None:
    outbox = MemoryOutbox()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"

        async def scenario() -> None:
            async with sending([webhook(url)], outbox):
                outbox.add("1")
                await until(lambda: outbox.errors)

        asyncio.run(scenario())
    assert "connection" in outbox.errors[0].lower()


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    cert, key = folder / f"{host}.pem", folder / f"{host}.key"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={host}"
    words += f" -addext subjectAltName=DNS:{host} -out {cert} -keyout {key}"
    subprocess.run([program, *words.split(" ")], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize("host", ["hooks.test", "other.test"])
def test_a_certificate_is_checked_against_the_host_name(tmp_path: Path, host: str) -> None:
    cert, key = certificate(tmp_path, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    outbox = MemoryOutbox()

    async def scenario() -> None:
        async with receiving(tls=context) as receiver:
            url = receiver.url("hooks.test").replace("http:", "https:")
            async with sending([webhook(url, ca_file=cert)], outbox):
                outbox.add("1")
                await until(lambda: outbox.settled or outbox.errors)

    asyncio.run(scenario())
    if host == "hooks.test":
        assert outbox.settled == [(1, "delivered")]
    else:
        assert "Hostname mismatch" in outbox.errors[0]


def test_secrets_and_paths_are_in_no_log_and_no_status(caplog: pytest.LogCaptureFixture) -> None:
    outbox = MemoryOutbox()
    shown: list[str] = []

    async def scenario() -> None:
        async with receiving(500, hang_up, b"bad\r\n\r\n") as receiver:
            webhooks = [webhook(receiver.url()), webhook("http://127.0.0.1:9/in/very-private?k=hidden", name="dead")]
            async with sending(webhooks, outbox) as sender:
                outbox.add("1")
                outbox.add("2", "dead")
                await until(lambda: outbox.settled and any(status.last_error for status in sender.status()))
                shown.append(repr(sender.status()) + repr(vars(sender)) + repr(webhooks))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert len(caplog.records) > 5
    logged = [record.getMessage() + repr(record.args) + repr(record.msg) for record in caplog.records]
    for text in [*shown, *logged, *outbox.errors]:
        for secret in (SECRET, SECRET[6:], "secret-of-the-control-room", "very-private", "hidden"):
            assert secret not in text


@pytest.mark.process
def test_the_receiver_of_the_documentation_takes_what_is_sent_and_nothing_else() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outbox = MemoryOutbox()
    url = f"http://127.0.0.1:{port}/"
    code = example[1].replace("9000", str(port))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        try:
            sent = asyncio.run(deliver_three(url, port, outbox))
        finally:
            program.terminate()
        printed, _ = program.communicate(timeout=10)
    assert [json.loads(line) for line in printed.splitlines()] == [{"n": 1}]
    assert sent == [("desk", "delivered"), ("again", "delivered"), ("forged", "answered 401")]


async def deliver_three(url: str, port: int, outbox: MemoryOutbox) -> list[tuple[str, str]]:
    """A notification, the same again after a loss of memory, and one signed by another secret."""
    await until(lambda: _listens(port))
    row = outbox.add('{"n": 1}')
    async with sending([webhook(url)], outbox):
        await until(lambda: outbox.settled)
    outbox.rows[row.id] = row
    async with sending([webhook(url)], outbox):
        await until(lambda: len(outbox.settled) == 2)
    outbox.add('{"n": 2}')
    async with sending([webhook(url, secret="x" * 24)], outbox):
        await until(lambda: outbox.errors)
    return [("desk", outbox.settled[0][1]), ("again", outbox.settled[1][1]), ("forged", outbox.errors[0])]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
