"""docs/protocol.md is the protocol: its tables are the models, its example runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import soundfile
from pydantic import BaseModel

from humwatch.alarm.events import EVENT_KINDS, MACHINE_STATES, MachineState
from humwatch_service.protocol.media_types import AudioFormat, audio_format
from humwatch_service.protocol.messages import (
    MAX_SAMPLE,
    PROTOCOL_VERSION,
    SAMPLE_BYTES,
    ClientMessage,
    Limits,
    ServerMessage,
)
from tests.stream_server import MACHINE, StreamServer, served

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
TYPES: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", list[str]: "list of strings"}


def models(union: Any) -> dict[str, type[BaseModel]]:
    return {model.model_fields["type"].default: model for model in get_args(union)}


CLIENT, SERVER = models(ClientMessage), models(ServerMessage)
EVERY = {**CLIENT, **SERVER, "limits": Limits}


def section(name: str) -> str:
    found = re.search(rf"^#### `{name}`\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"{name} has no section"
    return found[1]


def rows(name: str) -> dict[str, tuple[str, str, str]]:
    """Rows of a section's table: field, then type, presence and meaning."""
    lines = [line for line in section(name).splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {field.strip("`"): (kind, presence, meaning) for field, kind, presence, meaning in cells}


def type_text(annotation: Any) -> str:
    if annotation in TYPES:
        return TYPES[annotation]
    if annotation == MachineState:
        return "state"
    if get_origin(annotation) in (Union, UnionType):
        kinds = [type_text(kind) for kind in get_args(annotation) if kind is not NoneType]
        return " or ".join([*kinds, "null"])
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in get_args(annotation))
    assert annotation is Limits
    return "`limits`"


def presence(field: Any) -> str:
    return "always" if field.is_required() else f"`{json.dumps(field.default)}` if left out"


@pytest.mark.parametrize("name", EVERY)
def test_every_field_of_every_message_is_in_its_table(name: str) -> None:
    fields = {field: about for field, about in EVERY[name].model_fields.items() if field != "type"}
    table = rows(name)
    assert list(table) == list(fields)
    for field, about in fields.items():
        kind, there, meaning = table[field]
        assert (kind, there) == (type_text(about.annotation), presence(about)), field
        assert meaning, field
        assert (about.description or "") in meaning, field


def test_there_are_no_other_messages_and_each_is_under_its_side() -> None:
    client, server = PAGE.split("### From the client")[1].split("### From the service")
    names = [re.findall(r"^#### `(\w+)`", part, re.MULTILINE) for part in (client, server)]
    assert names == [list(CLIENT), ["ready", "limits", *list(SERVER)[1:]]]


def test_what_can_be_counted_is_counted_right() -> None:
    assert f"version {PROTOCOL_VERSION}" in PAGE
    assert f"2^{MAX_SAMPLE.bit_length() - 1}" in PAGE
    for name, size in SAMPLE_BYTES.items():
        assert re.search(rf"\| `{name}` \| {size} \|", PAGE), name
    for state in MACHINE_STATES:
        assert re.search(rf"^\| `{state}` \|", PAGE, re.MULTILINE), state
    assert [kind for kind in EVENT_KINDS if f"`{kind}`" not in PAGE] == []


@pytest.mark.parametrize("sample_format", SAMPLE_BYTES)
def test_the_content_type_of_each_format_is_on_the_page(sample_format: str) -> None:
    (content_type,) = re.findall(rf"^\| `{sample_format}` \| `(audio/[^`]+)`", PAGE, re.MULTILINE)
    assert audio_format(content_type) == AudioFormat(sample_format, 16_000, 1)


def test_the_examples_of_messages_are_messages() -> None:
    lines = [
        line
        for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    messages = [json.loads(line) for line in lines]
    for message in messages:
        EVERY[message["type"]].model_validate(message)
    assert {message["type"] for message in messages} == set(CLIENT) | set(SERVER)


@pytest.mark.process
def test_the_example_runs_and_sends_a_whole_recording(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(example.splitlines()) <= 25
    samples = np.random.default_rng(1).integers(-30_000, 30_000, (20_000, 2), np.int16)
    soundfile.write(tmp_path / "fan.wav", samples, 8_000, subtype="PCM_16")
    (tmp_path / "example.py").write_text(example)
    with served(StreamServer()) as service:
        url = f"{service.url.replace('http', 'ws')}/v1/machines/{MACHINE}/stream"
        command = [sys.executable, str(tmp_path / "example.py"), url, str(tmp_path / "fan.wav")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    service.stream.check(samples.astype("<i2").tobytes())
    assert service.stream.samples == 20_000
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()][-1] == "bye"
