from __future__ import annotations

import time
from typing import Any

import pytest

from tests.service_fixtures import read_answer

HEAD = b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
MULTIPART = (
    b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def small(start_server: Any) -> Any:
    return start_server(max_body_bytes=10_000, body_timeout_s=0.4, header_timeout_s=0.6)


def test_a_claimed_length_over_the_limit_is_refused_before_reading(small: Any) -> None:
    status, problem = small.send(HEAD + b"Content-Length: 10001\r\nExpect: 100-continue\r\n\r\n")
    assert (status, problem["code"]) == (413, "body_too_large")


def test_a_length_of_any_number_of_digits_is_refused(small: Any) -> None:
    status, problem = small.send(HEAD + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n")
    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("start", [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", MULTIPART + chunk(PART)])
def test_a_body_without_a_length_is_counted_while_it_is_read(small: Any, start: bytes) -> None:
    status, problem = small.send(start, chunk(b"x" * 6_000), chunk(b"x" * 6_000))
    assert (status, problem["code"]) == (413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_read(small: Any) -> None:
    status, problem = small.send(HEAD + b"Content-Length: 10000\r\n\r\n" + b"x" * 10_000)
    assert (status, problem["code"]) == (415, "audio_format_unsupported")


@pytest.mark.parametrize("start", [HEAD + b"Content-Length: 9000\r\n\r\n", MULTIPART + chunk(PART)])
def test_a_slow_body_times_out_however_often_a_byte_comes(small: Any, start: bytes) -> None:
    started = time.monotonic()
    piece = chunk(b"x") if b"chunked" in start else b"x"
    status, problem = small.send(start, *[piece] * 4, pause_s=0.12)
    assert (status, problem["code"]) == (408, "body_timed_out")
    assert time.monotonic() - started < 3


def test_a_steady_body_may_take_longer_than_its_time_out(start_server: Any, workshop: Any) -> None:
    server = start_server(body_timeout_s=3.0, body_min_bytes=1_000)
    data = workshop.encoded(workshop.normal(seconds=1.5))
    pieces = [data[at : at + len(data) // 20 + 1] for at in range(0, len(data), len(data) // 20 + 1)]
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(data)
    assert server.send(head, *pieces, pause_s=0.2)[0] == 200  # 4 s
    status, problem = server.send(head, *pieces[:1])
    assert (status, problem["code"]) == (408, "body_timed_out")


def test_a_head_that_does_not_end_is_cut_off(small: Any) -> None:
    with small.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        started = time.monotonic()
        assert connection.recv(1000) == b""
        assert 0.3 < time.monotonic() - started < 3


def test_a_connection_that_says_nothing_is_cut_off(small: Any) -> None:
    with small.connect() as connection:
        assert connection.recv(1000) == b""


def test_a_body_that_nobody_wants_is_cut_off(small: Any) -> None:
    with small.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        connection.settimeout(5)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(400):
                connection.sendall(b"x" * 1_000)
                time.sleep(0.05)


def test_a_refused_body_may_come_to_its_end_slowly(start_server: Any) -> None:
    server = start_server(header_timeout_s=2.0, body_min_bytes=4_000)
    with server.connect() as connection:
        connection.sendall(HEAD.replace(b"audio/wav", b"text/plain") + b"Content-Length: 60000\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"x" * 2_000)
            time.sleep(0.1)  # 3 s
        status, problem = read_answer(connection)
        assert (status, problem["code"]) == (415, "media_type_unsupported")
        time.sleep(2.5)  # it is kept as after any other answer, longer than a head may take
        connection.sendall(b"GET /v1/machines HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(connection)[0] == 200


def test_a_connection_is_used_again(small: Any) -> None:
    for _ in range(3):
        assert small.http.get("/livez").status_code == 200
        assert small.http.post("/score?machine_id=pump-2", content=b"x" * 9_000).status_code == 415


def test_a_large_recording_lies_in_a_file_and_not_in_memory(client: Any, workshop: Any) -> None:
    import numpy as np

    sound = np.tile(workshop.normal(seconds=10.0)[:, None], (1, 8))
    data = workshop.encoded(sound, subtype="FLOAT")
    assert len(data) > 4 << 20
    answers = [
        client.post("/score?machine_id=pump-2&channel=7", content=data, headers={"Content-Type": "audio/wav"}),
        client.post("/score?machine_id=pump-2&channel=7", files={"file": ("a.wav", data)}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["score"] == answers[1].json()["score"]
