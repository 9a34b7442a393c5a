from __future__ import annotations

import json

import pytest
import typer

from humwatch_training.console import failures
from humwatch_training.errors import RunFolderError


@pytest.mark.parametrize(
    ("error", "code"), [(RunFolderError("taken"), "run_folder"), (OSError(28, "No space left on device"), "os_error")]
)
def test_failures_are_named_and_exit_with_1(error: Exception, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with pytest.raises(typer.Exit) as exit_, failures(as_json=as_json):
            raise error
        assert exit_.value.exit_code == 1
    said = capsys.readouterr()
    assert said.err == f"error: {code}: {error}\n"
    assert json.loads(said.out) == {"error": {"code": code, "message": str(error)}}
