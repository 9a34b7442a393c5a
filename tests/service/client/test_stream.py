"""The reference client against a service of its own, with everything that goes wrong in years."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from humwatch_service.client import (
    Backlog,
    Connected,
    LinkEvent,
    Patience,
    ServiceAddress,
    StreamClient,
    Times,
    Waiting,
    read_message,
)
from humwatch_service.errors import ServiceRefused, ServiceUnreachable
from humwatch_service.protocol.messages import Bye, Clock, Hello, Ready, Score, ServerMessage
from tests.stream_server import MACHINE, Refused, StreamServer, serving

RATE_HZ = 8_000
SOUND = np.random.default_rng(3).integers(-30_000, 30_000, 60 * RATE_HZ, np.int16).astype("<i2").tobytes()
QUICK = Patience(base_s=0.02, cap_s=0.05)
CALM = Times(close_s=0.5)
HASTY = Times(ping_s=0.2, pong_s=0.2, close_s=0.2)


class Sender:
    """A client with all that it is told."""

    def __init__(
        self,
        url: str,
        hello: Hello | None = None,
        *,
        buffer_s: float = 60.0,
        patience: Patience = QUICK,
        key: str | None = None,
        machine: str = MACHINE,
        times: Times = CALM,
    ) -> None:
        self.backlog = Backlog(hello or Hello(rate_hz=RATE_HZ), buffer_s=buffer_s)
        self.messages: list[ServerMessage] = []
        self.events: list[LinkEvent] = []
        self.client = StreamClient(
            ServiceAddress(url, key),
            machine,
            self.backlog,
            patience=patience,
            times=times,
            on_message=self.messages.append,
            on_link=self.events.append,
        )

    def add(self, start_s: float, stop_s: float) -> None:
        self.backlog.append(SOUND[2 * round(start_s * RATE_HZ) : 2 * round(stop_s * RATE_HZ)])

    async def finished(self) -> Bye:
        self.backlog.finish()
        return await asyncio.wait_for(self.client.run(), 30)

    @property
    def connections(self) -> list[Connected]:
        return [event for event in self.events if isinstance(event, Connected)]

    @property
    def waits(self) -> list[Waiting]:
        return [event for event in self.events if isinstance(event, Waiting)]


def scenario(play: Callable[[StreamServer], Awaitable[None]], **server: Any) -> None:
    async def work() -> None:
        async with serving(StreamServer(**server)) as service:
            await play(service)

    asyncio.run(work())


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_every_sample_arrives_once_in_order_and_the_messages_come_back() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url)
        sender.add(0, 60)
        bye = await sender.finished()
        assert (bye.samples, bye.gap_samples, bye.steps) == (60 * RATE_HZ, 0, 60)
        service.stream.check(SOUND)
        assert isinstance(sender.messages[0], Ready)
        assert sender.messages[-1] == bye
        assert [m.end_sample for m in sender.messages if isinstance(m, Score)] == [n * RATE_HZ for n in range(1, 61)]

    scenario(play)


def test_a_connection_that_is_torn_off_again_and_again_loses_nothing() -> None:
    async def play(service: StreamServer) -> None:
        chance = random.Random(11)
        service.drops.extend(chance.randrange(1, 6 * RATE_HZ) for _ in range(12))
        service.rewinds.extend(chance.randrange(0, 10 * RATE_HZ) for _ in range(12))
        sender = Sender(service.url)
        sender.add(0, 60)
        bye = await sender.finished()
        assert (bye.samples, bye.gap_samples) == (60 * RATE_HZ, 0)
        service.stream.check(SOUND)
        assert len(sender.connections) == 13
        assert [c.ready.resumed for c in sender.connections] == [False] + 12 * [True]

    scenario(play)


def test_a_source_goes_on_while_the_service_is_gone_for_a_minute() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url)
        sender.add(0, 2)
        running = asyncio.create_task(sender.client.run())
        await until(lambda: service.streams and service.stream.next_sample == 2 * RATE_HZ)
        await service.stop()
        sender.add(2, 50)
        await until(lambda: len(sender.waits) >= 3)
        service.rewinds.append(RATE_HZ)
        await service.start()
        sender.add(50, 60)
        sender.backlog.finish()
        bye = await asyncio.wait_for(running, 20)
        assert (bye.samples, bye.gap_samples) == (60 * RATE_HZ, 0)
        service.stream.check(SOUND)
        assert sender.waits[0].refusal.code == "service_unreachable"

    scenario(play)


def test_what_the_buffer_did_not_hold_is_a_gap_of_exactly_that_size() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url, buffer_s=20)
        sender.add(0, 2)
        running = asyncio.create_task(sender.client.run())
        await until(lambda: service.streams and service.stream.next_sample == 2 * RATE_HZ)
        await service.stop()
        sender.add(2, 2.5)
        sender.add(2.5, 60)
        await service.start()
        sender.backlog.finish()
        bye = await asyncio.wait_for(running, 20)
        assert service.stream.gaps == [(2 * RATE_HZ, 40 * RATE_HZ)]
        assert (bye.samples, bye.gap_samples) == (22 * RATE_HZ, 38 * RATE_HZ)
        service.stream.check(SOUND)
        assert sender.connections[-1].gap_samples == sender.backlog.dropped_samples == 38 * RATE_HZ

    scenario(play)


def test_gaps_of_the_source_are_marked_the_last_one_too() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url)
        sender.add(0, 5)
        sender.backlog.skip(3 * RATE_HZ)
        sender.add(8, 9)
        sender.backlog.skip(17)
        bye = await sender.finished()
        assert service.stream.gaps == [(5 * RATE_HZ, 8 * RATE_HZ), (9 * RATE_HZ, 9 * RATE_HZ + 17)]
        assert (bye.samples, bye.gap_samples) == (6 * RATE_HZ, 3 * RATE_HZ + 17)
        service.stream.check(SOUND)

    scenario(play)


def test_a_service_that_knows_nothing_any_more_is_told_where_the_samples_start() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url, buffer_s=60)
        sender.add(0, 50)
        running = asyncio.create_task(sender.client.run())
        await until(lambda: service.streams and service.stream.next_sample == 50 * RATE_HZ)
        await until(lambda: sender.backlog.start_sample == 20 * RATE_HZ)
        await service.stop()
        service.streams.clear()
        await service.start()
        sender.add(50, 60)
        sender.backlog.finish()
        await asyncio.wait_for(running, 20)
        assert service.hellos[-1].start_sample == 20 * RATE_HZ
        service.stream.check(SOUND, first=20 * RATE_HZ)
        assert service.stream.gaps == []

    scenario(play)


def test_a_stream_that_the_service_knows_already_goes_on_where_it_stood() -> None:
    async def play(service: StreamServer) -> None:
        for stop_s in (25, 60):
            sender = Sender(service.url, Hello(rate_hz=RATE_HZ, stream_id="night", realtime=False))
            sender.add(0, stop_s)
            bye = await sender.finished()
        assert bye.samples == 60 * RATE_HZ
        assert [start for start, _ in service.stream.runs][:1] == [0]
        service.stream.check(SOUND)

    scenario(play)


def test_messages_are_no_larger_than_the_service_takes() -> None:
    async def play(service: StreamServer) -> None:
        service.max_message_bytes = 1_001
        sender = Sender(service.url)
        sender.add(0, 3)
        await sender.finished()
        assert max(len(data) for _, data in service.stream.runs) == 1_000
        service.stream.check(SOUND)

    scenario(play)


def test_clocks_and_overflows_arrive_where_they_belong_also_after_a_break() -> None:
    async def play(service: StreamServer) -> None:
        service.drops.append(RATE_HZ)
        sender = Sender(service.url)
        for second in range(20):
            sender.backlog.append(SOUND[2 * second * RATE_HZ : 2 * (second + 1) * RATE_HZ], time_s=100.0 + second)
        sender.backlog.overflowed(3)
        sender.add(20, 21)
        await sender.finished()
        clocks = {m.sample: m.time_s for m in service.stream.messages if isinstance(m, Clock)}
        assert clocks == {(second + 1) * RATE_HZ: 100.0 + second for second in range(20)}
        assert [m.overflows for m in service.stream.messages if m.type == "dropped"] == [3]

    scenario(play)


def test_with_nothing_to_send_the_position_keeps_the_stream() -> None:
    async def play(service: StreamServer) -> None:
        service.idle_s = 0.15
        sender = Sender(service.url)
        sender.add(0, 1)
        running = asyncio.create_task(sender.client.run())
        await until(lambda: service.streams and len(service.stream.messages) >= 3)
        assert {(m.type, m.sample) for m in service.stream.messages} == {("position", RATE_HZ)}
        sender.backlog.finish()
        assert (await asyncio.wait_for(running, 5)).gap_samples == 0

    scenario(play)


def test_a_service_that_reads_nothing_is_left_and_found_again() -> None:
    async def play(service: StreamServer) -> None:
        service.deaf = True
        sender = Sender(service.url, times=HASTY)
        sender.add(0, 60)
        running = asyncio.create_task(sender.client.run())
        await until(lambda: sender.waits)
        assert "not even a pong" in sender.waits[0].refusal.detail
        service.deaf = False
        sender.backlog.finish()
        assert (await asyncio.wait_for(running, 10)).samples == 60 * RATE_HZ
        service.stream.check(SOUND)

    scenario(play)


def test_a_half_open_connection_is_noticed() -> None:
    async def work() -> None:
        held: list[asyncio.StreamWriter] = []

        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        sender = Sender(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            times=Times(open_s=0.2, ready_s=0.2, close_s=0.1),
            patience=Patience(base_s=0.01, first_s=0.5),
        )
        with pytest.raises(ServiceUnreachable, match="does not take the stream"):
            await asyncio.wait_for(sender.client.run(), 5)
        assert len(held) >= 2
        for writer in held:
            writer.close()
        server.close()

    asyncio.run(work())


def test_a_stuck_service_does_not_keep_the_client_from_ending() -> None:
    async def play(service: StreamServer) -> None:
        service.deaf = True
        sender = Sender(service.url, buffer_s=1_000, times=Times(close_s=0.2))
        sender.backlog.append(16 * SOUND)  # more than all buffers on the way take
        running = asyncio.create_task(sender.client.run())
        await until(lambda: sender.connections)
        await asyncio.sleep(0.2)
        running.cancel()
        started_s = time.monotonic()
        await asyncio.gather(running, return_exceptions=True)
        assert time.monotonic() - started_s < 2

    scenario(play)


@pytest.mark.parametrize(("key", "machine", "code"), [("wrong", MACHINE, "unauthorised"), ("right", "x", "not_found")])
def test_what_is_refused_for_good_ends_it(key: str, machine: str, code: str) -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url, key=key, machine=machine)
        with pytest.raises(ServiceRefused, match=code):
            await sender.finished()
        assert service.attempts == 1

    scenario(play, key="right")


def test_the_right_key_opens() -> None:
    async def play(service: StreamServer) -> None:
        sender = Sender(service.url, key="right")
        sender.add(0, 1)
        assert (await sender.finished()).samples == RATE_HZ

    scenario(play, key="right")


def test_who_is_patient_tries_a_final_refusal_again() -> None:
    async def play(service: StreamServer) -> None:
        service.errors.append(Refused("stream_owned", "another one listens"))
        slow = Patience(base_s=0.01, slow_codes=frozenset({"stream_owned"}), slow_s=0.1)
        sender = Sender(service.url, patience=slow)
        sender.add(0, 1)
        assert (await sender.finished()).samples == RATE_HZ
        assert [(wait.refusal.code, 0.08 <= wait.delay_s <= 0.12) for wait in sender.waits] == [("stream_owned", True)]

    scenario(play)


def test_retry_after_is_honoured() -> None:
    async def play(service: StreamServer) -> None:
        body = json.dumps({"code": "streams_full", "detail": "eight are live"}).encode()
        service.refusals.append((503, {"Retry-After": "1"}, body))
        service.refusals.append((502, {}, b"<html>bad gateway</html>"))
        sender = Sender(service.url)
        sender.add(0, 1)
        assert (await sender.finished()).samples == RATE_HZ
        first, second = sender.waits
        assert (first.refusal.code, first.refusal.retry_after_s) == ("streams_full", 1.0)
        assert 1.0 <= first.delay_s < 1.1
        assert (second.refusal.code, second.delay_s < 0.1) == ("http_502", True)

    scenario(play)


def test_a_service_that_fails_each_time_anew_is_asked_less_and_less() -> None:
    """It takes a second of sound and breaks: connecting is no success."""

    async def play(service: StreamServer) -> None:
        service.drops.extend([RATE_HZ] * 1_000)
        service.rewinds.extend([2 * RATE_HZ] * 1_000)
        service.max_message_bytes = 2 * RATE_HZ
        sender = Sender(service.url, patience=Patience(base_s=0.01, cap_s=30.0, lost_s=1.0))
        sender.add(0, 60)
        with pytest.raises(ServiceUnreachable):
            await sender.finished()
        assert 6 <= len(sender.connections) < 40
        assert max(wait.delay_s for wait in sender.waits) > 0.1

    scenario(play)


def test_a_connection_that_lasted_is_a_success() -> None:
    async def play(service: StreamServer) -> None:
        service.drops.extend([RATE_HZ] * 40)
        service.max_message_bytes = 2 * RATE_HZ
        sender = Sender(service.url, patience=Patience(base_s=0.01, cap_s=30.0, settled_s=0.0, lost_s=1.0))
        sender.add(0, 60)
        assert (await sender.finished()).samples == 60 * RATE_HZ
        assert (len(sender.connections), max(wait.delay_s for wait in sender.waits) <= 0.01) == (41, True)

    scenario(play)


def test_it_says_when_the_service_stops_taking_the_stream() -> None:
    async def play(service: StreamServer) -> None:
        service.errors.append(Refused("overloaded", "too much", retry=True, close=1013))
        service.errors.append(Refused("stream_invalid", "no such rate", close=1008))
        sender = Sender(service.url)
        with pytest.raises(ServiceRefused, match="stream_invalid: no such rate"):
            await sender.finished()
        assert [wait.refusal.code for wait in sender.waits] == ["overloaded"]

    scenario(play)


def test_a_client_that_may_give_up_does() -> None:
    sender = Sender("http://127.0.0.1:9", patience=Patience(base_s=0.05, cap_s=0.05, first_s=0.2))
    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"):
        asyncio.run(sender.finished())


def test_messages_of_a_later_service_are_passed_over() -> None:
    async def play(service: StreamServer) -> None:
        service.extra = ['{"type": "weather", "rain": true}', "no json", b"\x00\x01", "[1]"]
        sender = Sender(service.url)
        sender.add(0, 2)
        assert (await sender.finished()).samples == 2 * RATE_HZ
        assert {type(message).__name__ for message in sender.messages} == {"Ready", "Score", "Received", "Bye"}

    scenario(play)


def test_fields_of_a_later_service_are_left_out() -> None:
    message = read_message('{"type": "warn", "code": "silent", "message": "m", "active": true, "since_s": 3}')
    assert message is not None
    assert message.model_dump() == {"type": "warn", "code": "silent", "message": "m", "active": True}


def test_two_clients_of_one_loop_do_not_disturb_each_other() -> None:
    async def play(service: StreamServer) -> None:
        senders = [Sender(service.url) for _ in range(2)]
        for sender in senders:
            sender.add(0, 20)
        await asyncio.gather(*(sender.finished() for sender in senders))
        assert len(service.streams) == 2
        for stream in service.streams.values():
            stream.check(SOUND)
            assert stream.samples == 20 * RATE_HZ

    scenario(play)


def test_a_clock_that_is_set_is_said_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    true_s, set_by_s = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: true_s() + set_by_s[0])

    async def play(service: StreamServer) -> None:
        sender = Sender(service.url, times=Times(close_s=0.2, clock_s=0.02))
        sending = asyncio.create_task(sender.client.run())
        sender.backlog.append(SOUND[: 2 * RATE_HZ], time_s=time.monotonic())
        await until(lambda: len(service.hellos) == 1 and service.streams and service.stream.samples == RATE_HZ)
        set_by_s[0] = 3 * 86_400.0
        sender.backlog.append(SOUND[2 * RATE_HZ : 4 * RATE_HZ], time_s=time.monotonic())
        await until(lambda: len(service.hellos) == 2)
        said = service.hellos[1].start_time_s
        assert said == pytest.approx(time.time() - 2.0, abs=5.0)
        sender.backlog.finish()
        await asyncio.wait_for(sending, 30)
        service.stream.check(SOUND[: 4 * RATE_HZ])
        assert len(service.hellos) == 2

    scenario(play)
