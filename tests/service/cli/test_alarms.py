from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot, EventKind, Mark
from humwatch.alarm.rule import AlarmRule
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.scoring.explain import BandRange
from humwatch_service.cli.main import app
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import AlarmContext, AlarmLevels, MachineChange
from humwatch_service.storage.store import StateStore

CONTEXT = AlarmContext(
    score=1.4,
    raw_score=212.5,
    model_version="3",
    model_sha256="a" * 64,
    levels=AlarmLevels(warn=0.7, alarm=1.0),
    raw_levels=AlarmLevels(warn=150.0, alarm=190.0),
    rule=AlarmRule(on_delay_s=2.5),
    bands=(BandRange(low_hz=900.0, high_hz=1100.0, contribution=0.8, departure_db=6.5),),
)
RAISED_S = 1_800_000_000.0


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def event(kind: EventKind, at_s: float, **more: object) -> AlarmEvent:
    return AlarmEvent(kind, at_s, "normal", "alarm", alarm=1, **more)  # type: ignore[arg-type]


def commit(
    store: StateStore,
    machine_id: str,
    active: ActiveAlarm | None,
    *events: AlarmEvent,
    context: AlarmContext | None = None,
) -> None:
    snapshot = AlarmSnapshot(last_number=1, active=active)
    store.commit(MachineChange(machine_id=machine_id, snapshot=snapshot, events=events, context=context))


def raise_alarm(store: StateStore, machine_id: str) -> None:
    active = ActiveAlarm(number=1, raised_s=RAISED_S)
    commit(store, machine_id, active, event("raised", RAISED_S, score=1.4, announced=True), context=CONTEXT)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateStore]:
    """Of a service that runs: an alarm of fan-1 is closed and judged, one of pump-2 is open."""
    for name in list(os.environ):
        if name.startswith("HUMWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HUMWATCH_STATE_DIR", str(tmp_path / "state"))
    opened = StateStore(tmp_path / "state")
    for machine_id in ("fan-1", "pump-2"):
        raise_alarm(opened, machine_id)
    mark = Mark(who="ann", at_s=RAISED_S + 5, why="on my way")
    known = ActiveAlarm(number=1, raised_s=RAISED_S, acknowledged=mark)
    commit(opened, "fan-1", known, event("acknowledged", RAISED_S + 5, who="ann", why="on my way"))
    commit(opened, "fan-1", None, event("cleared", RAISED_S + 60))
    evidence = EvidenceFolder(tmp_path / "state" / "evidence", quota_bytes=1 << 30, retention_s=1e9)
    kept = evidence.write_clip("fan-1-000001", np.full(800, 7, np.int16), 8_000, partial=False)
    opened.evidence("fan-1-000001", kept)
    opened.feedback("fan-1-000001", "true_alarm", cause="bearing", action="greased", who="bo", at_s=RAISED_S + 90)
    yield opened
    opened.close()


def test_open_alarms_are_listed_and_all_of_them_on_request(store: StateStore) -> None:
    listed = {
        arguments: [
            alarm["id"] for alarm in json.loads(humwatch("alarms", "list", *arguments, "--json").stdout)["alarms"]
        ]
        for arguments in ((), ("--all",), ("--all", "--machine", "fan-1"), ("--machine", "fan-1"))
    }
    assert list(listed.values()) == [["pump-2-000001"], ["pump-2-000001", "fan-1-000001"], ["fan-1-000001"], []]
    text = humwatch("alarms", "list", "--all").stdout
    assert text.splitlines()[2].split() == (
        ["fan-1-000001", "2027-01-15", "08:00:00", "2027-01-15", "08:01:00", "1.400", "ann", "true_alarm", "kept"]
    )
    assert humwatch("alarms", "list", "--machine", "fan-1").stdout == "no alarm\n"


def test_a_list_that_is_cut_says_how_to_go_on(store: StateStore) -> None:
    first = humwatch("alarms", "list", "--all", "--limit", "1", "--json")
    before = json.loads(first.stdout)["next_before"]
    assert f"--before {before}" in first.stderr
    rest = json.loads(humwatch("alarms", "list", "--all", "--before", before, "--json").stdout)
    assert [alarm["id"] for alarm in rest["alarms"]] == ["fan-1-000001"]


def test_an_alarm_is_shown_with_what_was_in_force_and_what_was_done(store: StateStore) -> None:
    shown = json.loads(humwatch("alarms", "show", "fan-1-000001", "--json").stdout)
    assert shown["alarm"] == store.alarm("fan-1-000001").model_dump(mode="json")
    assert [entry["kind"] for entry in shown["events"]] == ["feedback", "cleared", "acknowledged", "raised"]
    text = " ".join(humwatch("alarms", "show", "fan-1-000001").stdout.split())
    for said in (
        "on_delay_s=2.5",
        "900-1100 Hz 80%",
        "version 3, " + "a" * 64,
        "by ann, 2027-01-15 08:00:05: on my way",
        "verdict true_alarm, by bo",
        "cause bearing",
        "08:00:00 raised 1.400 told",
    ):
        assert said in text
    assert text.index(" raised 1.400") < text.index("feedback bo")


def test_what_each_detector_found_is_said(store: StateStore) -> None:
    time = IrregularTime(start_s=RAISED_S - 4.0, end_s=RAISED_S - 3.8, change_db=12.0, share=0.9)
    line = LineFinding(change="missing", before_hz=248.0, after_hz=278.0)
    said = {
        "profile": ("decided by spectrum", "what stood out 900-1100 Hz 80%"),
        "rhythm": (
            "decided by irregularity in time",
            "what stood out 12.0 dB louder from -4.00 to -3.80 s (0 s: the alarm was raised)",
        ),
        "lines": ("decided by narrow tones", "what stood out a tone moved from 248 to 278 Hz, or is gone"),
    }
    found: dict[str, dict[str, Any]] = {"profile": {}, "rhythm": {"irregular_times": (time,)}, "lines": {"line": line}}
    for detector, more in found.items():
        context = CONTEXT.model_copy(update={"detector": detector, **more})
        active = ActiveAlarm(number=1, raised_s=RAISED_S)
        commit(store, f"fan-{detector}", active, event("raised", RAISED_S, score=1.4), context=context)
        text = " ".join(humwatch("alarms", "show", f"fan-{detector}-000001").stdout.split())
        assert [part for part in said[detector] if part not in text] == []
        listed = humwatch("alarms", "list", "--machine", f"fan-{detector}").stdout.splitlines()[-1]
        assert listed.endswith(said[detector][0].removeprefix("decided by "))
        told = json.loads(humwatch("alarms", "list", "--machine", f"fan-{detector}", "--json").stdout)
        assert told["alarms"][0]["context"]["detector"] == detector


def test_an_alarm_without_feedback_or_context_is_shown(store: StateStore) -> None:
    commit(store, "fan-9", ActiveAlarm(number=1, raised_s=1.0), event("raised", 1.0))
    text = " ".join(humwatch("alarms", "show", "fan-9-000001").stdout.split())
    assert "what was in force is not known" in text
    assert "acknowledged by nobody" in text


def test_what_people_judged_is_exported(store: StateStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = humwatch("alarms", "export", out)
    assert text.exit_code == 0, text.output
    assert "kept normal sound: 0, of false alarms (normal): 0, of true alarms (abnormal): 1;" in text.stdout
    clip = soundfile.read(out / "fan-1" / "abnormal" / "alarm_fan-1-000001.flac", dtype="int16")[0]
    assert clip.tolist() == [7] * 800
    store.feedback("fan-1-000001", "false_alarm", cause="", action="", who="bo", at_s=RAISED_S + 99)
    again = json.loads(humwatch("alarms", "export", out, "--json").stdout)
    assert again == {"kept": 0, "normal": 1, "abnormal": 0, "unsure": 0, "without_sound": []}
    assert [path.parent.name for path in out.rglob("*.flac")] == ["normal"]


@pytest.mark.parametrize("command", [("list",), ("show", "fan-1-000001"), ("export", "out")])
def test_a_folder_without_a_database_is_named_and_left_alone(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = tmp_path / "nowhere"
    result = humwatch("alarms", *command, "--state", folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "state_unusable"
    assert not folder.exists()


def test_another_state_folder_is_read(store: StateStore, tmp_path: Path) -> None:
    other = StateStore(tmp_path / "other")
    raise_alarm(other, "fan-3")
    other.close()
    listed = json.loads(humwatch("alarms", "list", "--state", tmp_path / "other", "--json").stdout)
    assert [alarm["id"] for alarm in listed["alarms"]] == ["fan-3-000001"]


@pytest.mark.parametrize("alarm_id", ["fan-1-000009", "no id", "../fan-1-000001"])
def test_an_alarm_that_is_not_there_is_named(store: StateStore, alarm_id: str) -> None:
    result = humwatch("alarms", "show", alarm_id)
    assert (result.exit_code, "error: alarm_not_found: " in result.stderr) == (1, True)
