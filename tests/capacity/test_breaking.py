"""The sentence that says what breaks first."""

from __future__ import annotations

from typing import Any

import pytest

from humwatch_capacity.breaking import what_broke
from humwatch_capacity.report import EndedReport, LatencyReport
from tests.capacity.test_report import level

LATE = LatencyReport(scores=400, lost_scores=0, p50_s=0.9, p99_s=2.5, max_s=3.0)


def ended(code: str) -> list[EndedReport]:
    return [EndedReport(how="http_503", code=code, times=3)]


@pytest.mark.parametrize(
    ("changes", "loads", "expected"),
    [
        ({"service_cores": 1.95, "other_cores": 0.0}, {}, "all processors are busy (1.95 of 2 by the service)"),
        ({"service_cores": 1.1, "other_cores": 0.9}, {}, "0.90 of them with other programs"),
        ({"service_cores": 1.1, "other_cores": 0.0}, {"interpreter": 0.98, "cores": 0.6}, "runs Python is full (0.98"),
        ({"service_cores": 1.5, "other_cores": 0.0}, {"interpreter": 0.5, "cores": 0.99}, "0.99 of the processor time"),
        ({"service_cores": 0.5, "other_cores": 0.0, "backlog_s": 4.0}, {}, "4.0 s of sound waited in a socket"),
        ({"service_cores": 0.5, "other_cores": 0.0}, {}, "nothing is used up"),
        ({"refusals": ended("streams_full"), "admitted": 13}, {}, "3 of 16 streams were refused (streams_full)"),
        ({"breaks": ended("overloaded")}, {}, "3 connections were ended (overloaded)"),
    ],
)
def test_what_is_used_up_is_named(changes: dict[str, Any], loads: dict[str, float], expected: str) -> None:
    failed = level(16, sustained=False, failed_by=["latency"], latency=LATE, **changes)
    found = what_broke(failed, loads, 2.0)
    assert found is not None
    assert expected in found
    assert "p99 2.50 s" in found


def test_nothing_breaks_where_all_is_followed() -> None:
    assert what_broke(level(16), {"interpreter": 1.0}, 2.0) is None
