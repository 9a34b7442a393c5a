"""The names of ``humwatch.__all__``: there, imported at first use, and with examples that run."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import humwatch

ROOT = Path(__file__).parents[2]
NAMES = [
    "AlarmRule",
    "AlarmStateMachine",
    "Bundle",
    "HumwatchError",
    "LiveModel",
    "LiveMonitor",
    "ModelRepository",
    "OnnxPredictor",
    "calibrate",
    "read_bundle",
]
WITHOUT_EXAMPLE = {"AlarmRule", "HumwatchError"}
"""Their docstrings are texts of the API; the state machine's example has both a rule and a use of it."""


def test_these_names_are_public() -> None:
    assert humwatch.__all__ == NAMES
    assert all(getattr(humwatch, name).__name__ == name for name in NAMES)


def test_type_checkers_see_the_objects_that_are_imported() -> None:
    tree = ast.parse(Path(humwatch.__file__).read_text("utf-8"))
    typed = {
        name.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("humwatch.")
        for name in node.names
    }
    assert typed == {name: getattr(humwatch, name).__module__ for name in NAMES}


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'humwatch' has no attribute 'nothing'"):
        humwatch.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("uses", "loaded"),
    [
        ("humwatch", set()),
        ("humwatch.AlarmStateMachine", set()),
        ("humwatch.LiveMonitor", {"numpy"}),
        ("humwatch.OnnxPredictor", {"numpy", "onnxruntime"}),
    ],
)
def test_what_is_not_used_is_not_loaded(uses: str, loaded: set[str]) -> None:
    code = f"import sys, humwatch; {uses}; print(*({{'numpy', 'onnxruntime', 'torch'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == loaded


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_EXAMPLE])
def test_its_example_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.DocTestFinder(recurse=False).find(getattr(humwatch, name), name)
    assert sum(len(example.examples) for example in found) > 0
    results = [doctest.DocTestRunner().run(example) for example in found]
    assert sum(result.failed for result in results) == 0
