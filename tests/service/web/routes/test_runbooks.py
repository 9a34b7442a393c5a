"""What to do about an alert, from the service itself."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from humwatch_service.web.routes import runbooks


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pages in place of the installed one."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "no-sound.md").write_text("# No sound\n\nLook for the plug; 3 °C.\n", "utf-8")
    (folder / "__init__.py").write_text("secret")
    (tmp_path / "outside.md").write_text("secret")
    monkeypatch.setattr(runbooks, "files", lambda package: folder)
    return folder


def test_a_page_is_shown_as_text_and_needs_no_key(pages: Path, make_server: Any) -> None:
    http = make_server(api_keys=("a-key-for-the-tests",)).http
    answer = http.get("/runbooks/no-sound")
    assert (answer.status_code, answer.text) == (200, (pages / "no-sound.md").read_text("utf-8"))
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert http.get("/runbooks").json() == {"runbooks": ["no-sound"]}
    assert http.get("/runbooks-of-others").status_code == 401


def test_what_is_not_in_the_list_is_not_there(pages: Path, make_server: Any) -> None:
    http = make_server().http
    for name in (
        "nothing",
        "no-sound.md",
        "__init__",
        "__init__.py",
        "%00",
        "x" * 900,
        "..%2Foutside",
        "%2e%2e%2foutside",
    ):
        answer = http.get(f"/runbooks/{name}")
        expected = (
            "not_found" if "%2" in name else "runbook_not_found"
        )  # a slash makes two names, however it is written
        assert (answer.status_code, answer.json()["code"]) == (404, expected)
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_installed_pages_are_those_of_the_documentation(client: Any) -> None:
    folder = Path(__file__).parents[4] / "docs" / "runbooks"
    assert client.get("/runbooks").json()["runbooks"] == sorted(page.stem for page in folder.glob("*.md"))
    assert {page.name for page in files("humwatch_runbooks").iterdir()} >= {page.name for page in folder.glob("*.md")}
