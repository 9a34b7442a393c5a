"""``POST /score`` as clients see it: one after the other, then ten at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

import httpx

from humwatch_capacity.bench import Bench
from humwatch_capacity.fleet import machine_ids
from humwatch_capacity.report import RequestsReport, ScoreReport
from humwatch_capacity.score_ledger import percentile

CLIP_S: Final = 10.0
CLIENTS: Final = 10
TIMEOUT_S: Final = 120.0
WARM_UP_REQUESTS: Final = 2

Request = Callable[[], httpx.Response]


def measure_scoring(bench: Bench, requests: int) -> ScoreReport:
    """Have a clip scored so many times in a row, and as often by ten clients. Raises :class:`ServiceUnreachable`."""
    [machine_id] = machine_ids(1)
    clip = bench.sound.wav(CLIP_S)
    with (
        bench.service(1) as service,
        httpx.Client(
            base_url=str(service.http.base_url),
            timeout=TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS),
        ) as http,
    ):

        def request() -> httpx.Response:
            return http.post(
                "/score", params={"machine_id": machine_id}, content=clip, headers={"Content-Type": "audio/wav"}
            )

        requested(request, WARM_UP_REQUESTS, 1)
        one = requested(request, requests, 1)
        ten = requested(request, max(requests, CLIENTS), CLIENTS)
        service.check()
    return ScoreReport(
        clip_s=CLIP_S,
        sequential=one,
        concurrent=ten,
        speed_up=ten.a_second / one.a_second if one.a_second else None,
    )


def requested(request: Request, requests: int, clients: int) -> RequestsReport:
    """Send so many requests, never more at once than there are clients."""
    started_s = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        outcomes = list(pool.map(_timed, repeat(request, requests)))
    took_s = time.monotonic() - started_s
    good = sorted(seconds for seconds, code in outcomes if code is None)
    return RequestsReport(
        clients=clients,
        requests=requests,
        errors=dict(Counter(code for _, code in outcomes if code is not None)),
        p50_s=percentile(good, 0.5),
        p99_s=percentile(good, 0.99),
        a_second=len(good) / took_s,
    )


def _timed(request: Request) -> tuple[float, str | None]:
    """Return the seconds that a request took, and the code of what went wrong."""
    started_s = time.monotonic()
    try:
        answer = request()
    except httpx.HTTPError as error:
        return time.monotonic() - started_s, type(error).__name__
    return time.monotonic() - started_s, None if answer.status_code == 200 else _code(answer)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{answer.status_code}"
