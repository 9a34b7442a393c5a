"""Runbooks: one page an alert, with commands and addresses that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from humwatch_service.app import create_app
from humwatch_service.cli.main import app as commands
from humwatch_service.config.settings import Settings
from humwatch_service.web.routes.alarms import FeedbackOrder
from humwatch_service.web.routes.orders import Order, RunOrder, ShelveOrder

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = {path.stem: path.read_text() for path in sorted(RUNBOOKS.glob("*.md"))}
RULES = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules" / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
SERVICE = "http://localhost:8000"


def page_of(alert: str) -> str:
    return ALERTS[alert]["annotations"]["runbook_url"].rpartition("/")[2]  # type: ignore[no-any-return]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert set(PAGES) == {page_of(name) for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_which_alert_how_bad_and_what_to_do(name: str) -> None:
    page = PAGES[page_of(name)]
    assert page.startswith(f"# {name}\n")
    severity = {"critical": "Critical", "warning": "Warning", "info": "Information"}
    labels = ALERTS[name]["labels"]
    assert page.split("\n")[2].startswith(f"{severity[labels['severity']]}, {labels['category']}.")
    assert re.findall(r"^## (.*)", page, re.MULTILINE) == [
        "What it means",
        "What to do",
        "When it is false",
        "Tune or silence",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", PAGES[page])
    assert [target for target in targets if not (RUNBOOKS / target).exists()] == []


def shell_lines(text: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


LINES = [(page, words) for page, text in PAGES.items() for words in shell_lines(text)]


@pytest.mark.parametrize(("page", "words"), [line for line in LINES if line[1][0] == "humwatch"], ids=str)
def test_commands_of_pages_exist(page: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(commands)
    for word in words[1:]:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, page
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    assert [word for word in words if word.startswith("--") and word.split("=")[0] not in options] == []


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Method and path of everything that the service answers, for the machine and the alarm that pages speak of."""
    folder = tmp_path_factory.mktemp("runbooks")
    app = create_app(Settings(models_dir=folder, state_dir=folder / "state"))
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {
        (method.upper(), path.replace("{machine_id}", "fan-1").replace("{alarm_id}", "fan-1-000007"))
        for path, methods in paths.items()
        for method in methods
    }


def calls() -> set[tuple[str, str, str]]:
    """Page, method and path of each curl line."""
    return {
        (page, "POST" if {"-d", "POST"} & set(words) else "GET", word.removeprefix(SERVICE).partition("?")[0])
        for page, words in LINES
        for word in words
        if words[0] == "curl" and word.startswith(SERVICE)
    }


@pytest.mark.parametrize(("page", "method", "path"), sorted(calls()))
def test_addresses_of_pages_exist(page: str, method: str, path: str, routes: set[tuple[str, str]]) -> None:
    assert (method, path) in routes, page


ORDERS: dict[str, type[Order]] = {
    ":ack": Order,
    ":feedback": FeedbackOrder,
    ":in-service": Order,
    ":out-of-service": Order,
    ":run-state": RunOrder,
    ":shelve": ShelveOrder,
    ":unshelve": Order,
}


@pytest.mark.parametrize("words", [words for _, words in LINES if "-d" in words], ids=lambda words: words[-1])
def test_orders_of_pages_are_taken(words: list[str]) -> None:
    verb = words[-1][words[-1].rindex(":") :]
    ORDERS[verb].model_validate_json(words[words.index("-d") + 1])
    assert "Content-Type: application/json" in words


@pytest.mark.parametrize("name", ALERTS)
def test_links_of_alerts_lead_somewhere(name: str, routes: set[tuple[str, str]]) -> None:
    links = [text for key, text in ALERTS[name]["annotations"].items() if key.endswith("_url")]
    paths = {re.sub(r"{{ .*? }}", "fan-1", link.partition("}}")[2]) for link in links}
    paths = {path for path in paths if not path.startswith(("/runbooks/", "/ui/"))}
    assert {("GET", path) for path in paths} <= routes
