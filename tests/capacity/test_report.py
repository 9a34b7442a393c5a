"""What is made of measurements, without making any."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from humwatch_capacity.level import failures_of
from humwatch_capacity.overload import recovered_after_s
from humwatch_capacity.process_stats import Usage, busy_s
from humwatch_capacity.report import (
    AgainstReport,
    CapacityReport,
    ComparedLevel,
    EndedReport,
    FloorReport,
    LatencyReport,
    LevelReport,
    ModelCard,
    OverloadReport,
    RequestsReport,
    ScoreReport,
    SoakReading,
    SoakReport,
)
from humwatch_capacity.score_ledger import Latencies, Tally
from humwatch_capacity.score_load import requested
from humwatch_capacity.service_metrics import MetricsPage, ServiceCounts, quantile, since
from humwatch_capacity.soak import COLUMNS, line, slope_mb_h, summary
from humwatch_capacity.text import LEVEL_COLUMNS, level_line, report_text

PARTS: tuple[type[BaseModel], ...] = (
    CapacityReport,
    AgainstReport,
    ComparedLevel,
    FloorReport,
    ModelCard,
    LevelReport,
    LatencyReport,
    EndedReport,
    SoakReport,
    SoakReading,
    OverloadReport,
    ScoreReport,
    RequestsReport,
)
GOOD = Latencies(scores=100, lost=0, p50_s=0.1, p99_s=0.4, max_s=0.5)
NOTHING = ServiceCounts(8, 0, 0, 0.0, 0, 0, {})


def reading(at_s: float, **changes: Any) -> SoakReading:
    made = SoakReading(
        at_s=at_s,
        rss_mb=300.0,
        live_streams=8,
        dropped_windows=0,
        untold_scores=0,
        gap_s=0.0,
        p50_s=0.1,
        p99_s=0.2,
        lost_scores=0,
        service_cores=0.5,
        other_cores=0.0,
        player_lag_s=0.001,
        faults=0,
        alarms=0,
        breaks=0,
    )
    return made.model_copy(update=changes)


def level(streams: int, **changes: Any) -> LevelReport:
    made = LevelReport(
        streams=streams,
        seconds=30.0,
        sustained=True,
        failed_by=[],
        admitted=streams,
        refusals=[],
        breaks=[],
        latency=LatencyReport(scores=30 * streams, lost_scores=0, p50_s=0.1, p99_s=0.4, max_s=0.5),
        service_p50_s=0.1,
        service_p99_s=0.4,
        dropped_windows=0,
        untold_scores=0,
        gap_s=0.0,
        faults=0,
        alarms=0,
        machine_states={"normal": streams},
        rss_idle_mb=200.0,
        rss_mb=240.0,
        mb_a_stream=40.0 / streams,
        service_cores=0.5,
        ms_a_stream_second=500.0 / streams,
        player_cores=0.01,
        other_cores=0.1,
        player_lag_s=0.002,
        backlog_s=0.0,
    )
    return made.model_copy(update=changes)


def report(**changes: Any) -> CapacityReport:
    card = ModelCard(machine_id="fan-1", version="3", strategy="idnn", score="mse", hop_frames=4, step_s=1.024)
    made = CapacityReport(
        model=card,
        processors=2,
        budget_s=1.0,
        settings={},
        thread_limits={},
        sustained_streams=8,
        limited_by=["latency"],
        levels=[level(8), level(16, sustained=False, failed_by=["latency"])],
        hold=None,
        overload=None,
        score=None,
        interrupted=False,
    )
    return made.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"latencies": Latencies(100, 0, 0.1, 1.5, 2.0)}, ["latency"]),
        ({"latencies": Latencies(99, 1, 0.1, 0.9, 2.0)}, ["lost"]),
        ({"latencies": Latencies(0, 0, None, None, None)}, ["latency"]),
        ({"refused": True, "broken": True}, ["refused", "broken"]),
        ({"counts": ServiceCounts(8, 3, 0, 0.0, 0, 0, {})}, ["dropped"]),
        ({"counts": ServiceCounts(8, 0, 3, 0.0, 0, 0, {})}, ["dropped"]),
        ({"counts": ServiceCounts(8, 0, 0, 0.1, 0, 0, {})}, ["dropped"]),
        ({"counts": None}, []),
    ],
)
def test_why_a_level_is_not_sustained(changes: dict[str, Any], expected: list[str]) -> None:
    facts = {"latencies": GOOD, "budget_s": 1.0, "refused": False, "broken": False, "counts": NOTHING, **changes}
    assert failures_of(**facts) == expected


def test_memory_grows_by_least_squares() -> None:
    assert slope_mb_h([reading(0), reading(10)]) is None
    assert slope_mb_h([reading(10.0 * n, rss_mb=300 + n) for n in range(9)]) == pytest.approx(360.0)


def test_a_hold_is_judged_when_memory_has_settled() -> None:
    readings = [reading(10.0 * n, rss_mb=300 + 2.0 * min(n, 18), lost_scores=n % 2) for n in range(1, 61)]
    readings[2] = readings[2].model_copy(update={"p99_s": 3.0, "live_streams": 7})
    readings[3] = readings[3].model_copy(update={"p99_s": None})
    found = summary(8, readings, rss_idle_mb=256.0)
    assert found is not None
    assert found.memory_slope_mb_h == pytest.approx(0.0, abs=1e-6)
    assert (found.p99_worst_s, found.live_streams_min, found.lost_scores) == (3.0, 8, 30)
    assert (found.rss_first_mb, found.rss_max_mb, found.mb_a_stream) == (336.0, 336.0, 10.0)
    assert summary(8, [], None) is None
    short = summary(8, readings[:5], None)
    assert short is not None
    assert (short.memory_slope_mb_h, short.rss_first_mb, short.mb_a_stream) == (None, None, None)


def test_rows_are_as_wide_as_their_headings() -> None:
    assert len(line(reading(10.0))) == len(line(reading(3_600.0, p99_s=None))) == len(COLUMNS)
    assert level_line(level(8)).index("  sustained") == len(LEVEL_COLUMNS)


def test_it_is_well_again_when_five_seconds_are() -> None:
    tally = Tally()
    for n in range(20):
        tally.came(100.0 + n, 100.0 + n + (3.0 if n < 4 else 0.1))
    assert recovered_after_s(tally, 100.0, 120.0, budget_s=1.0) == 4.0
    assert recovered_after_s(tally, 100.0, 108.0, budget_s=1.0) is None
    assert recovered_after_s(tally, 104.0, 120.0, budget_s=1.0) == 0.0
    tally.lost(106.0)
    assert recovered_after_s(tally, 100.0, 120.0, budget_s=1.0) == 7.0
    assert recovered_after_s(Tally(), 100.0, 200.0, budget_s=1.0) is None


def test_quantiles_of_a_histogram() -> None:
    buckets = {0.5: 50.0, 1.0: 100.0, math.inf: 100.0}
    assert quantile(buckets, 0.75) == pytest.approx(0.75)
    assert quantile({0.5: 0.0, math.inf: 10.0}, 0.5) == 0.5
    assert quantile({}, 0.5) is None
    assert quantile({0.5: 0.0, math.inf: 0.0}, 0.5) is None
    assert since({0.5: 3.0}, {0.5: 1.0}) == {0.5: 2.0}


def test_metrics_are_added_up_over_the_machines() -> None:
    counts = ServiceCounts.of(
        MetricsPage(
            "# HELP humwatch_live_streams x\n"
            "humwatch_live_streams 2.0\n"
            'humwatch_windows_dropped_total{machine_id="a",reason="gap"} 3.0\n'
            'humwatch_windows_dropped_total{machine_id="b",reason="gap"} 4.0\n'
            'humwatch_windows_dropped_total{machine_id="b",reason="client_slow"} 1.0\n'
            'humwatch_alarm_transitions_total{machine_id="a",event="raised"} 5.0\n'
            'humwatch_alarm_transitions_total{machine_id="a",event="cleared"} 6.0\n'
            'humwatch_end_to_end_latency_seconds_bucket{le="0.5"} 7.0\n'
            'humwatch_end_to_end_latency_seconds_bucket{le="+Inf"} 8.0\n'
            "something_else 9.0\n"
        )
    )
    assert counts == ServiceCounts(2, 7, 1, 0.0, 0, 5, {0.5: 7.0, math.inf: 8.0})


def test_a_service_that_does_not_answer_has_told_nothing() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    with httpx.Client(transport=httpx.MockTransport(handler), base_url="http://127.0.0.1") as http:
        assert ServiceCounts.ask(http) is None


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux")
def test_what_a_process_uses_is_measured() -> None:
    before = Usage.of(os.getpid())
    assert before.rss_mb > 1
    assert before.cpu_s > 0
    assert Usage.of(os.getpid()).cores_since(before) >= 0
    assert busy_s() >= before.cpu_s


def test_requests_are_timed_and_failures_counted_by_code() -> None:
    answers = iter(
        [
            httpx.Response(200),
            httpx.Response(503, json={"code": "overloaded"}),
            httpx.Response(502, text="no JSON"),
            httpx.Response(200),
        ]
    )

    def request() -> httpx.Response:
        try:
            return next(answers)
        except StopIteration:
            raise httpx.ConnectError("gone") from None

    found = requested(request, 5, 1)
    assert (found.requests, found.clients) == (5, 1)
    assert found.errors == {"overloaded": 1, "http_502": 1, "ConnectError": 1}
    assert found.a_second > 0
    assert found.p50_s is not None


def test_the_text_says_what_is_sustained_and_what_is_doubtful() -> None:
    text = report_text(report())
    assert "8 streams are followed within 1 s (99th percentile)" in text
    assert "latency" in text
    assert "doubtful" not in text
    assert "not even one stream" in report_text(report(sustained_streams=0))
    assert "one number of streams was played" in report_text(report(sustained_streams=None))
    busy = level(16, sustained=False, failed_by=["latency"], other_cores=1.2)
    doubtful = report_text(report(levels=[level(8, player_lag_s=0.5), level(4, machine_states={"off": 4}), busy]))
    assert "the player itself was late with 8 streams" in doubtful
    assert "with 4 streams machines are off" in doubtful
    assert "other programs kept processors busy with 16 streams" in doubtful


def test_the_text_has_the_other_measurements() -> None:
    refused = [EndedReport(how="close_1013", code="streams_full", times=12)]
    over = OverloadReport(
        streams=16,
        seconds=30.0,
        admitted=10,
        never_admitted=6,
        refusals=refused,
        breaks=[],
        latency=LatencyReport(scores=300, lost_scores=0, p50_s=0.1, p99_s=0.2, max_s=0.3),
        rss_mb=300.0,
        service_cores=1.9,
        other_cores=0.0,
        player_lag_s=0.001,
        back_to_streams=8,
        recovered_after_s=3.0,
    )
    requests = requested(lambda: httpx.Response(200), 3, 1)
    score = ScoreReport(clip_s=10.0, sequential=requests, concurrent=requests, speed_up=1.0)
    held = summary(8, [reading(10.0)], 200.0)
    text = report_text(report(overload=over, score=score, hold=held))
    assert "12 x streams_full (close_1013)" in text
    assert "within 1 s again after 3 s" in text
    assert "POST /score of 10 s" in text
    assert "held: 8 streams" in text
    assert "never within the budget" in report_text(
        report(overload=over.model_copy(update={"recovered_after_s": None}))
    )


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_stands_in_the_page_as_it_is_described(part: type[BaseModel]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text("utf-8")
    rows = [f"| `{name}` | {field.description} |" for name, field in part.model_fields.items()]
    assert [row for row in rows if row not in page] == []
