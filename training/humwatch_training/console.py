"""What the commands say: results on stdout, progress on stderr, failures by name."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from humwatch.errors import HumwatchError


def say(message: str) -> None:
    """Write a line of progress or explanation to stderr, so that stdout holds results alone."""
    typer.echo(message, err=True)


def show(result: dict[str, object], text: str, *, as_json: bool) -> None:
    """Write a command's result to stdout: as one JSON object, or as text."""
    typer.echo(json.dumps(result) if as_json else text)


@contextmanager
def failures(*, as_json: bool) -> Iterator[None]:
    """Turn a named failure, or one of the disk, into exit code 1: a line on stderr, or JSON on stdout."""
    try:
        yield
    except HumwatchError as error:
        _report(error.code, str(error), as_json=as_json)
        raise typer.Exit(1) from error
    except OSError as error:
        _report("os_error", str(error), as_json=as_json)
        raise typer.Exit(1) from error


def _report(code: str, message: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": {"code": code, "message": message}}))
    else:
        say(f"error: {code}: {message}")
