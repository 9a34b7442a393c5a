"""From a machine, as an alert names it, to its newest alarm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from humwatch.alarm.events import AlarmEvent, AlarmSnapshot
from humwatch_service.storage.records import MachineChange

PLACE = "/v1/machines/pump-2/alarms/latest"


@pytest.fixture
def server(make_server: Any) -> Iterator[Any]:
    """A service that knows two alarms of `pump-2`, and one of a machine that is gone."""
    server = make_server()
    store = server.app.state.service.state.store
    for machine_id, numbers in (("pump-2", (1, 2)), ("gone-1", (1,))):
        for number in numbers:
            raised = AlarmEvent("raised", 1e9 + number, "normal", "alarm", alarm=number, score=2.0)
            store.commit(MachineChange(machine_id=machine_id, snapshot=AlarmSnapshot(), events=(raised,)))
    return server


@pytest.mark.parametrize("what", ["", "/clip.flac", "/picture.png"])
def test_it_leads_to_the_newest_alarm(server: Any, what: str) -> None:
    answer = server.http.get(PLACE + what)
    assert (answer.status_code, answer.next_request.url.path) == (307, f"/v1/alarms/pump-2-000002{what}")


def test_it_can_be_followed(server: Any) -> None:
    found = server.http.get(PLACE, follow_redirects=True).json()
    assert (found["id"], found["number"]) == ("pump-2-000002", 2)
    sound = server.http.get(f"{PLACE}/clip.flac", follow_redirects=True)
    assert (sound.status_code, sound.json()["code"]) == (410, "evidence_gone")


def test_a_machine_that_is_gone_still_has_its_alarms(server: Any) -> None:
    answer = server.http.get("/v1/machines/gone-1/alarms/latest")
    assert answer.next_request.url.path == "/v1/alarms/gone-1-000001"


@pytest.mark.parametrize(
    ("machine_id", "status", "code"),
    [
        ("fan-1", 404, "alarm_not_found"),
        ("nobody", 404, "machine_not_found"),
        ("No%20Id", 422, "machine_id_invalid"),
    ],
)
def test_without_an_alarm_it_says_so(server: Any, machine_id: str, status: int, code: str) -> None:
    answer = server.http.get(f"/v1/machines/{machine_id}/alarms/latest/picture.png")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_it_needs_a_key_where_there_is_one(make_server: Any, shared_models: Path) -> None:
    http = make_server(models_dir=shared_models, api_keys=("a-key-for-the-tests",)).http
    assert http.get(PLACE).status_code == 401
