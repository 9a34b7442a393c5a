"""``docs/alarms.md`` says what the alarm machine does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alarm_table import PARTS, main, rule_table, transition_table, with_tables
from humwatch.alarm.events import EVENT_KINDS, MACHINE_STATES
from humwatch.alarm.rule import AlarmRule

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "alarms.md"
COMMAND = "python scripts/alarm_table.py docs/alarms.md"


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line]


def outcome(state: str, besides: str, stimulus: str) -> str:
    """The cell of the transition table."""
    found = []
    for table in transition_table().split("\n\n"):
        head, _, *rows = cells(table)
        found += [row[head.index(stimulus, 2)] for row in rows if row[:2] == [state, besides] and stimulus in head[2:]]
    (cell,) = found
    return cell


def test_the_page_has_the_tables_of_the_code() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_tables(page), f"docs/alarms.md is not what the code does; rewrite it: {COMMAND}"


def test_the_command_rewrites_a_page_that_differs(tmp_path: Path) -> None:
    page, spoiled = PAGE.read_text("utf-8"), tmp_path / "alarms.md"
    spoiled.write_text(page.replace("raised!", "raised").replace("`30.0`", "`31.0`"), "utf-8")
    assert spoiled.read_text("utf-8") != page
    subprocess.run([sys.executable, *COMMAND.split()[1:-1], str(spoiled)], check=True, cwd=ROOT)
    assert spoiled.read_text("utf-8") == page
    assert COMMAND in page


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("spoil", ["", "<!-- begin {0} --> <!-- begin {0} -->"], ids=["missing", "twice"])
def test_a_page_without_its_markers_is_refused(
    tmp_path: Path, name: str, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = tmp_path / "alarms.md", PAGE.read_text("utf-8")
    path.write_text(page.replace(f"<!-- begin {name} -->", spoil.format(name)), "utf-8")
    before = path.read_text("utf-8")
    with pytest.raises(SystemExit, match="2"):
        main([str(path)])
    assert f"<!-- begin {name} --> and then <!-- end {name} -->, each once" in capsys.readouterr().err
    assert path.read_text("utf-8") == before


def test_every_state_is_in_the_table_and_is_reached_in_it() -> None:
    sounds, operations = (cells(table)[2:] for table in transition_table().split("\n\n"))
    states = {state.replace("_", " ") for state in MACHINE_STATES}
    assert {row[0] for row in sounds} == {row[0] for row in operations} == states
    reached = {state for row in sounds + operations for state in re.findall(r"\*\*(.+?)\*\*", " ".join(row))}
    assert reached == states


def test_every_event_is_in_the_table_but_the_one_that_bold_type_stands_for() -> None:
    words = [word.rstrip("!") for row in cells(transition_table()) for cell in row for word in re.split("[:,] ", cell)]
    assert {kind for kind in EVENT_KINDS if kind.replace("_", " ") not in words} == {"state_changed"}


@pytest.mark.parametrize(
    ("state", "besides", "stimulus", "expected"),
    [
        ("normal", "", "score over", "**alarm**: raised!"),
        ("normal", "shelved", "score over", "**alarm**: raised"),
        ("alarm", "", "score in the dead-band", "-"),
        ("alarm", "", "score between", "**warning**: cleared!"),
        ("alarm", "latched and over", "acknowledge", "**normal**: acknowledged, cleared!"),
        ("alarm", "shelved", "shelf runs out", "unshelved!"),
        ("off", "alarm in force", "score below", "**normal**: cleared!"),
        ("out of service", "", "score over", "-"),
        ("out of service", "", "in service", "**unknown**: in service"),
        ("normal", "", "acknowledge", "refused"),
    ],
)
def test_the_table_says(state: str, besides: str, stimulus: str, expected: str) -> None:
    assert outcome(state, besides, stimulus) == expected


def test_every_parameter_of_the_rule_has_a_row_with_its_default() -> None:
    defaults = {
        name.strip("`"): tomllib.loads(f"of = {default.strip('`')}")["of"]
        for name, default, *_ in cells(rule_table())[2:]
    }
    assert defaults == AlarmRule().model_dump()


def test_the_example_of_a_rule_is_one() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (machine,) = tomllib.loads(example)["machines"].values()
    assert AlarmRule.model_validate(machine["alarm"]).n == 5


def test_every_state_is_explained() -> None:
    page = PAGE.read_text("utf-8")
    assert [state for state in MACHINE_STATES if f"| `{state}` |" not in page] == []
