"""The documentation speaks of commands, files and targets that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main

from humwatch_service.cli.main import app as service_app
from humwatch_training.cli.main import app as training_app

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "adr") for page in folder.glob("*.md"))
PAGES += sorted((ROOT / "models").glob("*/README.md"))
PROGRAMS = {"humwatch": service_app, "humwatch-train": training_app}


def commands(page: Path) -> list[list[str]]:
    """Words of every shell line in fenced blocks, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


EVERY = [(page.relative_to(ROOT).as_posix(), words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), [found for found in EVERY if Path(found[1][0]).name in PROGRAMS], ids=str)
def test_commands_and_options_exist(page: str, words: list[str]) -> None:
    group = typer.main.get_command(PROGRAMS[Path(words[0]).name])
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    command: object = group
    for word in words[1:]:
        children = getattr(command, "commands", {})
        if word in children:
            command = children[word]
        elif children:
            pytest.fail(f"{page}: {word} is no command of {words[0]}")
        else:
            break
    options = {name for parameter in command.params for name in parameter.opts}  # type: ignore[attr-defined]
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in options]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {words[1] for _, words in EVERY if words[0] == "make"}
    assert named
    assert named <= targets


def test_files_of_the_readmes_curl_lines_exist() -> None:
    posted = [word.partition("@")[2] for _, words in EVERY for word in words if words[0] == "curl" and "@" in word]
    assert posted
    assert [name for name in posted if not (ROOT / name).is_file()] == []


def test_the_library_section_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    section = (ROOT / "README.md").read_text("utf-8").partition("## As a library\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["alarm 2.9", "15 s: raised, alarm", "15 s: state_changed, alarm"]
