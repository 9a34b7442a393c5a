"""What is installed is what is there."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(module.parent.relative_to(ROOT / house).parts)
        for house in ("core", "service", "training")
        for module in (ROOT / house).rglob("__init__.py")
    }
    assert set(listed) == there | {"humwatch_runbooks"}
    assert len(listed) == len(set(listed))


def test_runbooks_travel_with_the_service() -> None:
    installed = {entry.name for entry in files("humwatch_runbooks").iterdir() if entry.name.endswith(".md")}
    assert installed == {page.name for page in (ROOT / "docs" / "runbooks").glob("*.md")} != set()
