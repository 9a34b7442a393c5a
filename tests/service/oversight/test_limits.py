"""Limits anew from what the version in use has scored: who may be counted on, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from humwatch.alarm.events import AlarmEvent, AlarmSnapshot
from humwatch_service.storage.records import MachineChange, ScoreSecond
from humwatch_service.storage.store import StateStore

DAY_S = 86_400
HEARD_S = DAY_S + 7_200
ADA = {"who": "ada", "why": "all was well"}


@pytest.fixture(scope="module")
def heard() -> list[float]:
    """A day and two hours of scores, one a second."""
    random = np.random.default_rng(5)
    conditions = np.repeat(random.normal(0.0, 0.15, size=HEARD_S // 900), 900)
    return (conditions + random.normal(0.0, 0.3, size=HEARD_S)).tolist()


@pytest.fixture
def server(make_server: Any, heard: list[float]) -> Iterator[Any]:
    """A service whose machine was heard for so long."""
    server = make_server()
    store: StateStore = server.app.state.service.state.store
    since = int(time.time()) - HEARD_S
    store.add_seconds(
        ScoreSecond(machine_id="pump-2", at_s=since + second, score=score, level_dbfs=-30.0, state="normal")
        for second, score in enumerate(heard)
    )
    yield server


def raise_alarm(server: Any, number: int, at_s: float) -> str:
    event = AlarmEvent("raised", at_s, "normal", "alarm", number, 1.2)
    server.app.state.service.state.store.commit(
        MachineChange(machine_id="pump-2", events=(event,), snapshot=AlarmSnapshot(last_number=number))
    )
    return f"pump-2-{number:06d}"


def fit(server: Any, **order: object) -> Any:
    return server.http.post("/v1/machines/pump-2/limits", json={**ADA, **order})


def test_a_version_with_limits_of_its_own(server: Any) -> None:
    before = server.http.get("/v1/machines/pump-2/versions").json()
    answer = fit(server)
    assert answer.status_code == 201, answer.text
    report = answer.json()
    assert (report["from_version"], report["activated"]) == (before["in_use"], False)
    rate = report["decision"]["rate"]
    assert rate["expected_a_week"] == pytest.approx(1.0, rel=0.01)
    assert (rate["promised"], rate["wanted_a_week"]) == (True, 1.0)
    assert rate["heard_s"] == pytest.approx(HEARD_S, rel=0.01)
    after = server.http.get("/v1/machines/pump-2/versions").json()
    assert after["in_use"] == before["in_use"]
    assert [card["version"] for card in after["versions"]][-1] == report["version"]
    server.http.post("/v1/machines/pump-2:activate", json={**ADA, "version": report["version"]}).raise_for_status()
    listed = server.http.get("/v1/machines/pump-2/versions").json()
    assert listed["in_use"] == report["version"]
    assert listed["versions"][-1]["facts"]["false_alarms_a_week"] == rate


def test_it_can_be_used_at_once_for_another_number(server: Any) -> None:
    report = fit(server, activate=True, false_alarms_a_week=10).json()
    assert report["activated"]
    assert report["decision"]["rate"]["expected_a_week"] == pytest.approx(10.0, rel=0.01)
    assert server.http.get("/v1/machines/pump-2/versions").json()["in_use"] == report["version"]
    events = server.http.get("/v1/machines/pump-2/events").json()["events"]
    (line,) = [event for event in events if event["kind"] == "limits_fitted"]
    assert (line["who"], line["details"]["version"]) == ("ada", report["version"])


def test_alarms_that_nobody_judged_are_in_the_way(server: Any) -> None:
    alarm_id = raise_alarm(server, 1, time.time() - 3_600)
    refused = fit(server)
    assert (refused.status_code, refused.json()["code"]) == (409, "operation_refused")
    assert alarm_id in refused.json()["detail"]
    feedback = {"verdict": "true_alarm", "cause": "bearing", "action": "", "who": "ada"}
    server.http.post(f"/v1/alarms/{alarm_id}:feedback", json=feedback).raise_for_status()
    assert fit(server).status_code == 201


def test_only_the_days_that_were_declared_normal_count(server: Any) -> None:
    raise_alarm(server, 1, time.time() - 1.05 * DAY_S)
    rate = fit(server, days=1).json()["decision"]["rate"]
    assert rate["heard_s"] == pytest.approx(DAY_S, rel=0.01)


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"days": 0.01}, 422, "calibration_failed"),
        ({"days": 0}, 422, "request_invalid"),
        ({"days": 31}, 422, "request_invalid"),
        ({"false_alarms_a_week": 0}, 422, "request_invalid"),
        ({"who": ""}, 422, "request_invalid"),
    ],
)
def test_what_cannot_be_says_why(server: Any, order: dict[str, object], status: int, code: str) -> None:
    refused = fit(server, **order)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert server.http.post("/v1/machines/nobody/limits", json=ADA).status_code == 404
