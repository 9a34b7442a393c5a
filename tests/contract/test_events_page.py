"""docs/events.md is what is sent to those who look on: its tables are the models, its examples are events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from humwatch.alarm.characteristic import CurvePoint
from humwatch.alarm.events import EVENT_KINDS, MachineState, Mark, Shelf
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import ChartFinding
from humwatch.bundle.manifest import CommissioningCard
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch.scoring.explain import BandRange
from humwatch_service.config.settings import Settings
from humwatch_service.live.status import AlarmDecision, DriftNote, Fault, LiveStatus, StreamStatus
from humwatch_service.storage.fleet_history import FleetHistory, FleetMinutes
from humwatch_service.viewers.events import (
    RETRY_MS,
    AlarmAnnouncement,
    FleetChanges,
    FleetNow,
    MachineHello,
    Missed,
    SoundStep,
    Tick,
    Tile,
    event_bytes,
)
from humwatch_service.viewers.machine_view import KEPT_S
from humwatch_service.viewers.sound_columns import DEPARTURE_DB, MAX_COLUMNS_PER_S
from humwatch_service.viewers.viewer import MAX_WAITING

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
EVENTS: dict[str, type[BaseModel]] = {
    "fleet": FleetNow,
    "changes": FleetChanges,
    "alarm": AlarmAnnouncement,
    "missed": Missed,
    "hello": MachineHello,
    "sound": SoundStep,
    "status": LiveStatus,
    "tick": Tick,
}
PARTS: dict[str, type[BaseModel]] = {
    "tile": Tile,
    "fault": Fault,
    "band": BandRange,
    "irregular_time": IrregularTime,
    "line": LineFinding,
    "commissioning": CommissioningCard,
    "stream": StreamStatus,
    "history": FleetHistory,
    "minutes": FleetMinutes,
    "decision": AlarmDecision,
    "drift": DriftNote,
    "curve_point": CurvePoint,
    "chart": ChartFinding,
    "false_alarm_rate": FalseAlarmRate,
}
NAMES: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    MachineState: "state",
    Mark: "mark",
    Shelf: "shelf",
    AlarmRule: "rule",
    **{model: f"`{name}`" for name, model in PARTS.items()},
}


def type_text(annotation: Any) -> str:
    if annotation in NAMES:
        return NAMES[annotation]
    kinds = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join([*(type_text(kind) for kind in kinds if kind is not NoneType), "null"])
    if get_origin(annotation) is list:
        return f"list of {type_text(kinds[0])}"
    if get_origin(annotation) is tuple:
        return f"[{', '.join(type_text(kind) for kind in kinds)}]"
    if get_origin(annotation) is dict:
        return f"object of {type_text(kinds[1])}"
    assert get_origin(annotation) is Literal
    return " or ".join(f"`{json.dumps(value)}`" for value in kinds)


def table(model: type[BaseModel]) -> str:
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for field, about in model.model_fields.items():
        rows.append(f"| `{field}` | {type_text(about.annotation)} | {about.description or ''} |")
    return "\n".join(rows)


def section(name: str) -> str:
    found = re.search(rf"^#### `{name}`\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"{name} has no section"
    return found[1]


@pytest.mark.parametrize("name", [*EVENTS, *PARTS])
def test_the_table_of_each_section_is_its_model(name: str) -> None:
    assert table({**EVENTS, **PARTS}[name]) in section(name)


def test_there_are_no_other_sections() -> None:
    assert sorted(re.findall(r"^#### `(\w+)`", PAGE, re.MULTILINE)) == sorted([*EVENTS, *PARTS])


def test_every_event_is_sent_by_its_name() -> None:
    sources = "".join(
        (Path(__file__).parents[2] / "service/humwatch_service/viewers" / name).read_text("utf-8")
        for name in ("fleet_view.py", "machine_view.py")
    )
    assert set(re.findall(r'(?:event_bytes|_FleetEvent)\(\s*"(\w+)"', sources)) == set(EVENTS)


def test_the_examples_are_events() -> None:
    shown = re.findall(r"^```event-stream\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    events = [
        dict(line.split(": ", 1) for line in event.splitlines()) for block in shown for event in block.split("\n\n")
    ]
    assert {event["event"] for event in events} >= {"fleet", "changes", "alarm", "hello", "sound", "tick"}
    for event in events:
        data = EVENTS[event["event"]].model_validate_json(event["data"])
        retry_ms = int(event["retry"]) if "retry" in event else None
        assert event_bytes(
            event["event"], data, event_id=event.get("id"), retry_ms=retry_ms
        ).decode().strip() == "\n".join(f"{name}: {value}" for name, value in event.items())


def test_what_is_counted_is_counted_right() -> None:
    assert f"`retry: {RETRY_MS}`" in PAGE
    assert f"{MAX_WAITING} events" in PAGE
    assert f"last {KEPT_S:.0f} s" in PAGE
    assert f"at most {MAX_COLUMNS_PER_S:.0f} columns a second" in PAGE
    assert f"{DEPARTURE_DB:.0f} dB" in PAGE
    assert f"`max_viewers` ({Settings.model_fields['max_viewers'].default})" in PAGE
    assert [kind for kind in EVENT_KINDS if kind != "state_changed" and f"`{kind}`" not in PAGE] == []
