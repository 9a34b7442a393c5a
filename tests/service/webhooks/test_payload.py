from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from humwatch.alarm.events import EVENT_KINDS, AlarmEvent
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.scoring.explain import BandRange
from humwatch_service.config.settings import Settings
from humwatch_service.config.webhooks import key_of
from humwatch_service.webhooks.endpoint import message_id, signed_headers
from humwatch_service.webhooks.outbox import Notification
from humwatch_service.webhooks.payload import NotificationPayload, notification_of

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text("utf-8")
CONTEXT: Any = SimpleNamespace(
    model_version="3",
    levels=SimpleNamespace(warn=0.6, alarm=1.0),
    detector="profile",
    irregular_times=(),
    line=None,
    bands=(BandRange(low_hz=2900.0, high_hz=3300.0, contribution=0.71, departure_db=9.2),),
)
RAISED = AlarmEvent("raised", 1_769_860_800.0, "warning", "alarm", alarm=7, score=1.42, announced=True)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Every field with its description, those of nested objects under dotted names."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields(kind, f"{prefix}{name}.")


def test_the_table_of_the_documentation_is_the_model() -> None:
    section = PAGE.partition("## The payload")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == list(fields(NotificationPayload))
    assert len(rows) == 39


def test_the_example_of_the_documentation_is_what_is_sent() -> None:
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    page_url = Settings(public_url="https://plant.example/humwatch/").alarm_page("fan-1-000007")
    body = notification_of(RAISED, machine_id="fan-1", alarm_id="fan-1-000007", context=CONTEXT, page_url=page_url)
    assert json.loads(body) == json.loads(example[1])
    assert len(body) < 740


def test_a_payload_says_when_it_was_irregular_and_which_tone_is_gone() -> None:
    time = IrregularTime(start_s=1_769_860_796.2, end_s=1_769_860_796.4, change_db=12.0, share=0.9)
    rhythm = SimpleNamespace(**{**vars(CONTEXT), "detector": "rhythm", "irregular_times": (time,)})
    data = json.loads(notification_of(RAISED, machine_id="m", alarm_id="m-000007", context=rhythm))["data"]
    assert data["detector"] == "rhythm"
    assert data["irregular_times"] == [
        {"start": "2026-01-31T11:59:56.200Z", "end": "2026-01-31T11:59:56.400Z", "change_db": 12.0, "share": 0.9}
    ]
    line = LineFinding(change="missing", before_hz=340.0, change_db=-12.0)
    lines = SimpleNamespace(**{**vars(CONTEXT), "detector": "lines", "line": line})
    data = json.loads(notification_of(RAISED, machine_id="m", alarm_id="m-000007", context=lines))["data"]
    assert data["line"] == {
        "change": "missing",
        "before_hz": 340.0,
        "after_hz": None,
        "shift_percent": None,
        "change_db": -12.0,
    }


def test_all_types_are_documented() -> None:
    kinds: list[Any] = list(EVENT_KINDS)
    events = [AlarmEvent(kind, 0.0, "normal", "normal") for kind in kinds]
    types = [json.loads(notification_of(event, machine_id="m", alarm_id=None))["type"] for event in events]
    assert len(set(types)) == 9
    assert [name for name in types if f"`{name}`" not in PAGE] == []


def test_an_operators_event_says_who_and_why_and_needs_no_alarm() -> None:
    event = AlarmEvent("shelved", 0.25, "normal", "normal", reasons=("x",), who="Ann", why="tëst", until_s=60.0)
    found = json.loads(notification_of(event, machine_id="fan-1", alarm_id=None))
    assert (found["type"], found["timestamp"]) == ("alarm.shelved", "1970-01-01T00:00:00.250Z")
    data = found["data"]
    assert (data["who"], data["why"], data["until"]) == ("Ann", "tëst", "1970-01-01T00:01:00.000Z")
    assert (data["alarm_id"], data["url"], data["score"], data["thresholds"]) == (None, None, None, None)
    assert (data["reasons"], data["bands"]) == (["x"], [])
    assert (data["detector"], data["irregular_times"], data["line"]) == (None, [], None)


def test_a_signature_is_the_one_that_other_libraries_publish_for_their_tests() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", ["plain text of 24 letters", "whsec_" + b64encode(bytes(range(64))).decode()])
def test_a_signature_is_hmac_by_its_definition(secret: str) -> None:
    body = b'{"a":1}'
    found = signed_headers(key_of(secret), "msg_1", 7.0, body)["webhook-signature"]
    key = b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + b"msg_1.7." + body).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()
    assert found == f"v1,{b64encode(outer).decode()}"


def test_an_id_is_the_same_for_each_attempt_and_another_for_each_notification() -> None:
    row = Notification(1, "desk", b"{}", 1000.25)
    first = message_id(row)
    assert first == message_id(replace(row, attempts=4))
    assert "." not in first
    others = [replace(row, id=2), replace(row, webhook="other"), replace(row, created_s=1000.5)]
    assert len({first, *(message_id(row) for row in others)}) == 4


@pytest.mark.parametrize(
    ("late_s", "note"),
    [
        (86_400.0, "about sound of 2026-01-31 12:00 UTC, heard 24 h later"),
        (10 * 86_400.0, "about sound of 2026-01-31 12:00 UTC, heard 10 days later"),
        (7_300.0, "about sound of 2026-01-31 12:00 UTC, heard 2 h later"),
        (90.0, "about sound of 2026-01-31 12:00 UTC, heard 2 min later"),
        (61.0, "about sound of 2026-01-31 12:00 UTC, heard 1 min later"),
        (59.0, None),
        (-5.0, None),
    ],
)
def test_old_sound_is_said_to_be_old(late_s: float, note: str | None) -> None:
    heard = RAISED.at_s, RAISED.at_s + late_s
    data = json.loads(notification_of(RAISED, machine_id="fan-1", alarm_id="fan-1-000007", heard=heard))["data"]
    assert data["note"] == note
    assert data["late_s"] == (None if note is None else late_s)
    assert (data["heard"] is None) == (note is None)
