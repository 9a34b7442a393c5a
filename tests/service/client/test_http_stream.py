"""Samples as a chunked body, messages as the lines of its answer, both at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from humwatch_service.client import ServiceAddress, send_recording
from humwatch_service.client.http_stream import content_type, query
from humwatch_service.errors import RequestInvalid, ServiceRefused, ServiceUnreachable
from humwatch_service.protocol.messages import Bye, Hello, Ready, Score, ServerMessage
from tests.stream_server import MACHINE, StreamServer
from tests.stream_server_http import HttpApp, serving_http

RATE_HZ = 8_000
SOUND = np.random.default_rng(4).integers(-30_000, 30_000, 60 * RATE_HZ, np.int16).astype("<i2").tobytes()


async def pieces(size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(SOUND), size):
        yield SOUND[at : at + size]


async def collected(url: str, hello: Hello, body: AsyncIterator[bytes], machine: str = MACHINE) -> list[ServerMessage]:
    return [message async for message in send_recording(ServiceAddress(url), machine, hello, body)]


def test_all_of_it_arrives_and_every_message_comes_back() -> None:
    app = HttpApp(StreamServer())
    hello = Hello(rate_hz=RATE_HZ, stream_id="tape", realtime=False, channel=0, start_time_s=12.5)
    with serving_http(app) as url:
        messages = asyncio.run(collected(url, hello, pieces(3_001)))
    app.server.streams["tape"].check(SOUND)
    assert app.server.hellos == [hello]
    assert isinstance(messages[0], Ready)
    assert [m.end_sample for m in messages if isinstance(m, Score)] == [n * RATE_HZ for n in range(1, 61)]
    bye = messages[-1]
    assert isinstance(bye, Bye)
    assert (bye.samples, bye.gap_samples) == (60 * RATE_HZ, 0)


def test_the_answer_is_read_while_the_body_is_still_sent() -> None:
    """The body goes on only once the score of its first second is there."""
    heard = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield SOUND[: 2 * RATE_HZ]
        await asyncio.wait_for(heard.wait(), 5)
        yield SOUND[2 * RATE_HZ : 4 * RATE_HZ]

    async def work(url: str) -> list[str]:
        kinds = []
        async for message in send_recording(ServiceAddress(url), MACHINE, Hello(rate_hz=RATE_HZ), waiting()):
            kinds.append(message.type)
            if message.type == "score":
                heard.set()
        return kinds

    app = HttpApp(StreamServer())
    with serving_http(app) as url:
        kinds = asyncio.run(work(url))
    assert kinds == ["ready", "score", "received", "score", "received", "bye"]


def test_what_the_service_refuses_is_named() -> None:
    with serving_http(HttpApp(StreamServer())) as url, pytest.raises(ServiceRefused, match="machine_not_found"):
        asyncio.run(collected(url, Hello(rate_hz=RATE_HZ), pieces(3_000), machine="nobody"))


def test_a_service_that_stops_says_so_although_the_body_goes_on() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield SOUND[:8_000]
            await asyncio.sleep(0)

    app = HttpApp(StreamServer())
    app.stop_after_samples = 3 * RATE_HZ
    with serving_http(app) as url, pytest.raises(ServiceRefused, match="shutting_down: it stops"):
        asyncio.run(collected(url, Hello(rate_hz=RATE_HZ), endless()))


def test_an_answer_that_ends_without_a_bye_is_no_success() -> None:
    app = HttpApp(StreamServer())
    app.vanish = True
    with serving_http(app) as url, pytest.raises(ServiceUnreachable, match="without a bye"):
        asyncio.run(collected(url, Hello(rate_hz=RATE_HZ), pieces(9_000)))


def test_a_body_that_fails_ends_the_request_with_its_own_error() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield SOUND[:8_000]
        raise LookupError("the file is damaged")

    app = HttpApp(StreamServer())
    with serving_http(app) as url, pytest.raises(LookupError, match="damaged"):
        asyncio.run(collected(url, Hello(rate_hz=RATE_HZ), broken()))
    assert app.server.stream.samples <= 4_000


def test_nobody_there() -> None:
    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"):
        asyncio.run(collected("http://127.0.0.1:9", Hello(rate_hz=RATE_HZ), pieces(3_000)))


@pytest.mark.parametrize(
    ("sample_format", "expected"),
    [
        ("s16be", "audio/L16;rate=8000;channels=2"),
        ("s16le", "audio/x-raw;format=S16LE;rate=8000;channels=2"),
        ("f32le", "audio/x-raw;format=F32LE;rate=8000;channels=2"),
    ],
)
def test_the_content_type_says_what_the_samples_are(sample_format: str, expected: str) -> None:
    assert content_type(Hello(rate_hz=8_000, channels=2, format=sample_format)) == expected


def test_the_rest_of_hello_is_in_the_query() -> None:
    assert query(Hello(rate_hz=1)) == {"realtime": "true", "start_sample": "0"}
    full = Hello(rate_hz=1, channel=1, stream_id="a", start_sample=7, start_time_s=1.5, realtime=False)
    assert query(full) == {
        "realtime": "false",
        "channel": "1",
        "stream_id": "a",
        "start_sample": "7",
        "start_time_s": "1.5",
    }


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "http://", "http://h:99999", "http://u:p@h", "http://h?x=1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid, match="no address"):
        ServiceAddress(url)


def test_an_address_knows_both_of_its_ways_and_hides_its_key() -> None:
    address = ServiceAddress("https://plant.example/hum/", "k-1")
    assert address.stream_url("a b") == "wss://plant.example/hum/v1/machines/a%20b/stream"
    assert address.post_url("m") == "https://plant.example/hum/v1/machines/m/stream"
    assert address.headers == {"Authorization": "Bearer k-1"}
    assert "k-1" not in repr(address)
    assert not address.shows_its_key
    assert ServiceAddress("http://plant.example", "k").shows_its_key
    assert not ServiceAddress("http://127.0.0.1:1", "k").shows_its_key
