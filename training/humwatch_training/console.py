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
    """Turn a named failure into exit code 1: `error: <code>: message` on stderr, or JSON on stdout."""
    try:
        yield
    except HumwatchError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"code": error.code, "message": str(error)}}))
        else:
            say(f"error: {error.code}: {error}")
        raise typer.Exit(1) from error
