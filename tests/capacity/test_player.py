"""The player against a service of the test's own, which answers as it is told."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from humwatch_capacity.microphone import EndedConnection, SimulatedMicrophone
from humwatch_capacity.playback import Playback
from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.player import Player, microphones
from humwatch_capacity.score_ledger import ScoreLedger, StepGrid, Tally

RATE_HZ = 4_000
CHUNK = 400
GRID = StepGrid(first_end=2 * CHUNK, step_samples=CHUNK)
PATIENCE_S = 60.0

Handler = Callable[[ServerConnection], None]


def noise(rate_hz: int = RATE_HZ, seconds: float = 2.5) -> PlayedSound:
    rng = np.random.default_rng(1)
    return PlayedSound(rng.uniform(-0.5, 0.5, round(rate_hz * seconds)).astype(np.float32), rate_hz)


@contextmanager
def service(handler: Handler, refusals: int = 0) -> Iterator[Server]:
    """A WebSocket server of loopback that answers the first connections with 503."""
    left = [refusals]

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if not left[0]:
            return None
        left[0] -= 1
        response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, '{"code": "overloaded", "detail": "later"}')
        response.headers["Retry-After"] = "0"
        return response

    with serve(handler, "127.0.0.1", 0, process_request=answer, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(20)


@contextmanager
def playing(
    server: Server, sound: PlayedSound, *, offset: int = 0
) -> Iterator[tuple[Player, SimulatedMicrophone, Tally]]:
    tally, player = Tally(), Player()
    microphone = SimulatedMicrophone(
        server.socket.getsockname()[1],
        "fan-1",
        Playback(sound, offset, 0.1),
        ScoreLedger(GRID, tally, rate_hz=sound.rate_hz, chunk_samples=sound.rate_hz // 10),
        start_s=time.monotonic(),
        chance=random.Random(4),
    )
    player.add([microphone])
    try:
        yield player, microphone, tally
    finally:
        player.close()


def say(connection: ServerConnection, kind: str, **fields: object) -> None:
    connection.send(json.dumps({"type": kind, **fields}))


def greet(connection: ServerConnection, *, next_sample: int | None = None) -> dict[str, object]:
    hello: dict[str, object] = json.loads(connection.recv())
    known = next_sample is not None
    say(
        connection, "ready", next_sample=next_sample if known else hello["start_sample"], resumed=known, state="unknown"
    )
    return hello


def sound_of(connection: ServerConnection, samples: int) -> bytes:
    """So many samples; clocks between them are passed over."""
    data = b""
    while len(data) < 2 * samples:
        message = connection.recv()
        data += message if isinstance(message, bytes) else b""
    return data


def test_sound_comes_in_chunks_from_its_own_moment_on_and_is_timed_once_a_second() -> None:
    heard: list[bytes] = []
    texts: list[dict[str, object]] = []

    def handler(connection: ServerConnection) -> None:
        texts.append(greet(connection))
        for message in connection:
            if isinstance(message, bytes):
                heard.append(message)
            else:
                texts.append(json.loads(message))
                if texts[-1]["type"] == "eof":
                    say(connection, "bye", state="normal")

    sound = noise(seconds=1.25)
    with service(handler) as server, playing(server, sound, offset=4_500) as (player, microphone, _):
        player.play(PATIENCE_S, until=lambda: len(heard) >= 13)
        player.finish(PATIENCE_S)
        assert microphone.state == "over"
    assert {len(piece) for piece in heard} == {2 * CHUNK}
    assert b"".join(heard) == sound.piece(4_500, CHUNK * len(heard))
    assert (texts[0]["rate_hz"], texts[0]["start_sample"]) == (RATE_HZ, 0)
    clocks = [text for text in texts if text["type"] == "clock"]
    assert [clock["sample"] for clock in clocks] == [RATE_HZ * (n + 1) for n in range(len(heard) // 10)]
    assert texts[-1]["type"] == "eof"
    assert not microphone.breaks


def test_a_service_that_delays_scores_is_as_slow_as_it_is_and_one_that_forgets_some_loses_them() -> None:
    def handler(connection: ServerConnection) -> None:
        greet(connection)
        sound_of(connection, CHUNK)
        for number in range(2, 12):
            sound_of(connection, CHUNK)
            time.sleep(0.15)
            if number not in (4, 7):
                say(connection, "score", end_sample=CHUNK * number, state="normal")

    with service(handler) as server, playing(server, noise()) as (player, microphone, tally):
        player.play(PATIENCE_S, until=lambda: microphone.breaks.total() > 0)
        found = tally.between(-math.inf, math.inf)
        assert microphone.machine_state == "normal"
    assert (found.scores, found.lost) == (8, 2)
    assert found.p50_s is not None
    assert found.p50_s >= 0.15
    assert found.max_s is not None
    assert found.max_s >= 0.15


def test_a_client_that_is_refused_comes_again() -> None:
    connections = []

    def handler(connection: ServerConnection) -> None:
        connections.append(connection)
        if len(connections) == 1:
            connection.recv()
            say(connection, "error", code="streams_full", detail="full", retry=True, retry_after_s=0.1)
            connection.close(1013, "streams_full")
            return
        greet(connection)
        sound_of(connection, CHUNK)

    with service(handler, refusals=2) as server, playing(server, noise()) as (player, microphone, _):
        player.play(PATIENCE_S, until=lambda: microphone.admitted)
        assert microphone.state == "live"
    assert microphone.refusals == {
        EndedConnection("http_503", "overloaded"): 2,
        EndedConnection("close_1013", "streams_full"): 1,
    }
    assert not microphone.breaks


def test_a_client_that_is_told_not_to_come_again_does_not() -> None:
    def handler(connection: ServerConnection) -> None:
        connection.recv()
        say(connection, "error", code="stream_owned", detail="taken", retry=False, retry_after_s=None)
        connection.close(1008, "stream_owned")

    with service(handler) as server, playing(server, noise()) as (player, microphone, _):
        player.play(PATIENCE_S, until=lambda: microphone.state == "over")
    assert microphone.refusals == {EndedConnection("close_1008", "stream_owned"): 1}
    assert not microphone.admitted


def test_nobody_listens() -> None:
    with service(lambda connection: None) as server:
        port = server.socket.getsockname()[1]
    tally, player = Tally(), Player()
    [microphone] = microphones(port, ["fan-1"], noise(), GRID, tally, seed=0)
    player.add([microphone])
    player.play(PATIENCE_S, until=lambda: microphone.refusals.total() >= 2)
    player.close()
    assert set(microphone.refusals) == {EndedConnection("no_answer", "service_unreachable")}


def test_a_stream_that_breaks_goes_on_where_the_service_stands() -> None:
    heard: list[bytes] = []
    hellos: list[dict[str, object]] = []

    def handler(connection: ServerConnection) -> None:
        first = not hellos
        hellos.append(greet(connection, next_sample=None if first else 2 * CHUNK + 7))
        if first:
            heard.append(sound_of(connection, 3 * CHUNK))
            connection.socket.close()  # without a word
            return
        heard.append(sound_of(connection, 3 * CHUNK - 7))
        for _ in connection:
            pass

    sound = noise()
    with service(handler) as server, playing(server, sound) as (player, microphone, _):
        player.play(PATIENCE_S, until=lambda: len(heard) == 2)
    assert hellos[0]["stream_id"] == hellos[1]["stream_id"]
    assert heard[1] == sound.piece(2 * CHUNK + 7, len(heard[1]) // 2)
    assert microphone.breaks == {EndedConnection("no_answer", "service_unreachable"): 1}


@pytest.mark.slow
def test_what_a_service_does_not_read_waits_in_order() -> None:
    read = threading.Event()
    heard: list[bytes] = []

    def handler(connection: ServerConnection) -> None:
        greet(connection)
        read.wait(PATIENCE_S)
        try:
            for message in connection:
                if isinstance(message, bytes):
                    heard.append(message)
        except ConnectionClosed:
            pass

    sound = noise(rate_hz=4_000_000, seconds=1.0)
    with service(handler) as server, playing(server, sound) as (player, microphone, _):
        player.play(PATIENCE_S, until=lambda: microphone.backlog_s > 0)
        assert microphone.backlog_s > 0
        blocked = len(heard)
        read.set()
        player.play(PATIENCE_S, until=lambda: len(heard) > blocked + 40)
    assert b"".join(heard) == sound.piece(0, sum(map(len, heard)) // 2)


def test_a_ping_is_answered() -> None:
    answered = threading.Event()

    def handler(connection: ServerConnection) -> None:
        greet(connection)
        if connection.ping().wait(PATIENCE_S):
            answered.set()

    with service(handler) as server, playing(server, noise()) as (player, _, _):
        player.play(PATIENCE_S, until=answered.is_set)
    assert answered.is_set()


def test_streams_have_moments_and_phases_of_their_own_which_the_seed_decides() -> None:
    def starts(seed: int) -> list[float | None]:
        now_s = time.monotonic()
        made = microphones(1, [f"m{n}" for n in range(20)], noise(), StepGrid(8_000, 4_000), Tally(), seed=seed)
        return [round((microphone.wake_s or 0.0) - now_s, 1) for microphone in made]

    assert starts(1) != starts(2)
    assert len(set(starts(1))) > 5


def test_the_player_says_how_late_it_is() -> None:
    with service(lambda connection: None) as server, playing(server, noise()) as (player, _, _):
        time.sleep(0.2)  # the microphone was to connect meanwhile
        player.play(PATIENCE_S, until=lambda: bool(player.lags_s))
    assert player.lags_s[0] >= 0.2


@pytest.mark.parametrize(("start", "count"), [(0, 10), (9_990, 20), (25_000, 31_000), (3, 0)])
def test_sound_has_no_end(start: int, count: int) -> None:
    sound = noise()
    once = np.frombuffer(sound.piece(0, sound.samples), "<i2")
    expected = once[(start + np.arange(count)) % sound.samples]
    np.testing.assert_array_equal(np.frombuffer(sound.piece(start, count), "<i2"), expected)
