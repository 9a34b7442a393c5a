from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from humwatch_service.errors import ClientGone, Overloaded, ScoringTimedOut, ShuttingDown
from humwatch_service.scoring.queue import CancellationToken, ScoringQueue


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return None


def busy_until(release: threading.Event, started: threading.Event | None = None) -> Callable[[CancellationToken], str]:
    def job(token: CancellationToken) -> str:
        if started is not None:
            started.set()
        while not release.wait(0.005):
            token.check()
        return "done"

    return job


def test_a_job_gives_its_result_and_its_exception() -> None:
    async def scenario() -> None:
        queue = ScoringQueue(workers=1, waiting=0, timeout_s=5)
        assert await queue.run(lambda token: 42, never) == 42
        with pytest.raises(KeyError):
            await queue.run(lambda token: {}["nothing"], never)
        assert (queue.depth, queue.in_progress) == (0, 0)
        queue.close()

    asyncio.run(scenario())


def test_beyond_the_waiting_line_jobs_are_refused_and_admitted_ones_finish() -> None:
    async def scenario() -> None:
        waits: list[float] = []
        queue = ScoringQueue(workers=1, waiting=2, timeout_s=5, on_wait=waits.append)
        release = threading.Event()
        admitted = [asyncio.create_task(queue.run(busy_until(release), never)) for _ in range(3)]
        while queue.in_progress < 1:
            await asyncio.sleep(0.005)
        assert (queue.depth, queue.in_progress) == (2, 1)
        with pytest.raises(Overloaded) as caught:
            await queue.run(lambda token: None, never)
        assert 1 <= caught.value.retry_after_s <= 60
        release.set()
        assert await asyncio.gather(*admitted) == ["done"] * 3
        assert len(waits) == 3
        assert await queue.run(lambda token: "again", never) == "again"
        queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("gone", "error"), [(never, ScoringTimedOut), (at_once, ClientGone)])
def test_a_job_ends_when_nobody_waits_and_has_ended_when_run_returns(gone: Any, error: type[Exception]) -> None:
    async def scenario() -> None:
        queue = ScoringQueue(workers=1, waiting=1, timeout_s=0.1)
        release, running = threading.Event(), threading.Event()

        def job(token: CancellationToken) -> None:
            running.set()
            try:
                busy_until(release)(token)
            finally:
                running.clear()

        with pytest.raises(error):
            await queue.run(job, gone)
        assert not running.is_set()
        assert (queue.depth, queue.in_progress) == (0, 0)
        queue.close()

    asyncio.run(scenario())


def test_a_job_that_still_waits_leaves_the_line_at_once() -> None:
    async def scenario() -> None:
        queue = ScoringQueue(workers=1, waiting=1, timeout_s=5)
        release, started = threading.Event(), threading.Event()
        first = asyncio.create_task(queue.run(busy_until(release, started), never))
        await asyncio.to_thread(started.wait)
        ran = threading.Event()
        with pytest.raises(ClientGone):
            await queue.run(lambda token: ran.set(), at_once)
        assert queue.depth == 0
        release.set()
        await first
        queue.close()
        assert not ran.is_set()

    asyncio.run(scenario())


def test_cancelling_the_caller_ends_the_job() -> None:
    async def scenario() -> None:
        queue = ScoringQueue(workers=1, waiting=1, timeout_s=5)
        started = threading.Event()
        task = asyncio.create_task(queue.run(busy_until(threading.Event(), started), never))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queue.in_progress == 0
        queue.close()

    asyncio.run(scenario())


def test_closing_ends_all_jobs_and_takes_no_more() -> None:
    async def scenario() -> None:
        queue = ScoringQueue(workers=1, waiting=1, timeout_s=5)
        started = threading.Event()
        task = asyncio.create_task(queue.run(busy_until(threading.Event(), started), never))
        await asyncio.to_thread(started.wait)
        await asyncio.to_thread(queue.close)
        with pytest.raises(ShuttingDown):
            await task
        with pytest.raises(ShuttingDown):
            await queue.run(lambda token: None, never)

    asyncio.run(scenario())


@pytest.fixture
def hold(make_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server whose predictor waits for a word: (server, let it go)."""

    def make(**settings: Any) -> tuple[Any, threading.Event]:
        server = make_server(**settings)
        release = threading.Event()
        predictor = server.app.state.service.models.get("pump-2").predictor
        predict = predictor.predict

        def slow(windows: Any) -> Any:
            release.wait(20)
            return predict(windows)

        monkeypatch.setattr(predictor, "predict", slow)
        return server, release

    return make


def post(server: Any, data: bytes) -> Any:
    return server.http.post("/score?machine_id=pump-2", content=data, headers={"Content-Type": "audio/wav"})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_overload_is_answered_at_once_and_admitted_requests_finish(hold: Any, workshop: Any) -> None:
    server, release = hold(score_workers=1, score_queue=1)
    data = workshop.encoded(workshop.normal())
    queue = server.app.state.service.queue
    with ThreadPoolExecutor(2) as pool:
        admitted = [pool.submit(post, server, data) for _ in range(2)]
        wait_for(lambda: queue.in_progress == 1 and queue.depth == 1)
        started = time.monotonic()
        refused = post(server, data)
        assert time.monotonic() - started < 1
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.http.get("/livez").status_code == 200
        release.set()
        assert [future.result().status_code for future in admitted] == [200, 200]
    text = server.http.get("/metrics").text
    assert 'humwatch_score_requests_total{machine_id="pump-2",outcome="overloaded"} 1.0' in text
    assert 'humwatch_score_rejections_total{reason="overloaded"} 1.0' in text


def test_the_body_of_a_request_that_would_be_refused_is_not_read(hold: Any, workshop: Any) -> None:
    server, release = hold(score_workers=1, score_queue=0)
    with ThreadPoolExecutor(1) as pool:
        admitted = pool.submit(post, server, workshop.encoded(workshop.normal()))
        wait_for(lambda: server.app.state.service.queue.in_progress == 1)
        head = b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        status, problem = server.send(head + b"Expect: 100-continue\r\n\r\n")
        assert (status, problem["code"]) == (503, "overloaded")
        release.set()
        assert admitted.result().status_code == 200


def test_only_so_many_bodies_are_received_at_a_time(make_server: Any) -> None:
    server = make_server(max_uploads=1)
    head = b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with server.connect() as first:
        first.sendall(head + b"x")
        wait_for(lambda: server.app.state.service.uploads._taken == 1)
        status, problem = server.send(head)
        assert (status, problem["code"]) == (503, "overloaded")
    wait_for(lambda: server.app.state.service.uploads._taken == 0)


def test_scoring_that_takes_too_long_is_given_up(hold: Any, workshop: Any) -> None:
    server, release = hold(score_timeout_s=0.2)
    threading.Timer(0.5, release.set).start()
    answer = post(server, workshop.encoded(workshop.normal()))
    assert (answer.status_code, answer.json()["code"]) == (503, "scoring_timed_out")
    assert "Retry-After" in answer.headers
    assert server.app.state.service.queue.in_progress == 0
    assert post(server, workshop.encoded(workshop.normal(seconds=1.5))).status_code == 200


def test_the_work_for_a_caller_who_hung_up_ends(hold: Any, workshop: Any) -> None:
    server, release = hold()
    data = workshop.encoded(workshop.normal(seconds=60.0))
    queue = server.app.state.service.queue
    with server.connect() as connection:
        head = b"POST /score?machine_id=pump-2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(data) + data)
        wait_for(lambda: queue.in_progress == 1)
    time.sleep(0.1)
    release.set()
    wait_for(lambda: queue.in_progress == 0)
    gone = 'humwatch_score_requests_total{machine_id="pump-2",outcome="gone"} 1.0'
    wait_for(lambda: gone in server.http.get("/metrics").text)


def test_concurrent_requests_score_like_one_alone(client: Any, workshop: Any) -> None:
    sounds = [workshop.encoded(workshop.normal(number)) for number in range(300, 304)]

    def scores(data: bytes) -> tuple[float, float]:
        answers = [
            client.post(f"/v1/machines/{machine_id}/score", content=data, headers={"Content-Type": "audio/wav"})
            for machine_id in ("fan-1", "pump-2")
        ]
        return answers[0].json()["raw_score"], answers[1].json()["raw_score"]

    alone = [scores(data) for data in sounds]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(scores, sounds * 3)) == alone * 3
