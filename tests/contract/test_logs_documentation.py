"""Every event and every field of the log is documented, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from humwatch.alarm.events import EVENT_KINDS

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service" / "humwatch_service"
PAGE = ROOT / "docs" / "logs.md"

LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
KINDS = {kind.replace("_", " "): "warning" if kind in ("raised", "realarmed") else "info" for kind in EVENT_KINDS}
"""What `live/logbook.py` computes: the event's name and its level."""
PASSED_ON = {"evidence not kept": {"alarm_id", "machine_id"}}
"""Fields that a function takes as keywords and passes on."""


@dataclass
class Event:
    """What is known of an event of a logger."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


Events = dict[tuple[str, str], Event]


class _Module(ast.NodeVisitor):
    """Collects the events of one module."""

    def __init__(self, path: Path, events: Events) -> None:
        self._path = path
        self._events = events
        self._tree = ast.parse(path.read_text("utf-8"))
        self._logger = ""
        self._bound: dict[str, set[str]] = {}
        self._methods: dict[str, set[str]] = {}
        self.calls = 0
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                self._assigned(node.value, ast.unparse(node.targets[0]))
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp):
                chosen = [part.attr for part in (node.value.body, node.value.orelse) if self._is_level(part)]
                if chosen:
                    self._methods[ast.unparse(node.targets[0])] = set(chosen)
        self.visit(self._tree)

    def _assigned(self, call: ast.Call, target: str) -> None:
        if ast.unparse(call.func) == "event_logger":
            assert isinstance(call.args[0], ast.Constant)
            self._logger = str(call.args[0].value)
            self._bound[target] = set()
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "bind":
            self._bound[target] = {str(keyword.arg) for keyword in call.keywords}

    def _is_level(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in LEVELS and ast.unparse(node.value) in self._bound

    def _is_computed(self, node: ast.expr) -> bool:
        """Whether it is ``getattr(_log, level)``."""
        is_getattr = isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"
        return is_getattr and ast.unparse(node.args[0]) in self._bound  # type: ignore[attr-defined]

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if self._is_level(function):
            assert isinstance(function, ast.Attribute)
            self._note(node, {function.attr}, self._bound[ast.unparse(function.value)])
        elif ast.unparse(function) in self._methods:
            self._note(node, self._methods[ast.unparse(function)], set())
        elif self._is_computed(function):
            self._note(node, set(), set())
        self.generic_visit(node)

    def _note(self, node: ast.Call, methods: set[str], bound: set[str]) -> None:
        self.calls += 1
        name = node.args[0]
        if isinstance(name, ast.Constant):
            names = {str(name.value): {LEVELS[method] for method in methods}}
        else:
            assert self._path.name == "logbook.py", f"{self._path}:{node.lineno}: the event is no constant"
            names = {kind: {level} for kind, level in KINDS.items()}
        fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None} | bound
        if "exception" in methods or "exc_info" in fields:
            fields = (fields - {"exc_info"}) | {"exception"}
        for event, levels in names.items():
            if any(keyword.arg is None for keyword in node.keywords):
                assert event in PASSED_ON, f"{self._path}:{node.lineno}: fields that cannot be read off"
                fields |= PASSED_ON[event]
            known = self._events.setdefault((self._logger, event), Event())
            known.levels |= levels
            known.fields |= fields


@cache
def logged() -> Events:
    events: Events = {}
    for path in sorted(SERVICE.rglob("*.py")):
        module = _Module(path, events)
        text = path.read_text("utf-8")
        # however it is called, nothing that looks like a record was overlooked
        calls = re.findall(r"\b_?log(?:ger)?\.(?:debug|info|warning|error|exception|critical)\(", text)
        assert module.calls >= len(calls), path
    return events


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def tables(heading: str) -> Iterator[list[str]]:
    """Rows of the tables below a heading, down to the next one of its rank."""
    rank = heading.split(" ")[0]
    part = PAGE.read_text("utf-8").split(f"\n{heading}\n", 1)[1]
    part = re.split(rf"^#{{1,{len(rank)}}} ", part, maxsplit=1, flags=re.MULTILINE)[0]
    for line in part.splitlines():
        if line.startswith("| `"):
            yield cells(line)


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


@cache
def documented() -> Events:
    text = PAGE.read_text("utf-8")
    events: Events = {}
    for logger in re.findall(r"^### (humwatch\.\w+)$", text, re.MULTILINE):
        for names, levels, fields, _ in tables(f"### {logger}"):
            for name in named(names):
                assert (logger, name) not in events, f"{logger}: {name} stands there twice"
                events[logger, name] = Event(set(levels.split(", ")), named(fields))
    return events


def test_events_are_those_of_the_page() -> None:
    assert set(logged()) == set(documented())


@pytest.mark.parametrize(("logger", "event"), sorted(logged()))
def test_levels_and_fields_of_an_event_are_those_of_the_page(logger: str, event: str) -> None:
    assert documented()[logger, event] == logged()[logger, event]


def test_fields_are_those_of_the_page() -> None:
    common = {next(iter(named(row[0]))) for row in tables("## Fields of every record")}
    own = {next(iter(named(row[0]))) for row in tables("## Fields of events")}
    used = set().union(*(event.fields for event in logged().values()))
    assert common == {"timestamp", "level", "logger", "event", "request_id", "trace_id", "exception", "suppressed"}
    assert own == used - common


def test_every_field_has_a_type_and_a_number_its_unit() -> None:
    for name, kind, unit, meaning in [*tables("## Fields of every record"), *tables("## Fields of events")]:
        assert kind in ("text", "integer", "number", "true or false", "list of text"), name
        assert meaning, name
        if kind == "number":
            assert unit, name
        for suffix, expected in (("_s`", "seconds"), ("_hz`", "hertz")):
            if name.endswith(suffix):
                assert unit == expected, name


def test_an_error_says_its_code_and_its_reason() -> None:
    for (logger, event), known in logged().items():
        if "code" in known.fields:
            assert "reason" in known.fields, (logger, event)
        assert not {"error", "message", "detail", "machine", "alarm", "notification"} & known.fields, (logger, event)
