"""Output of the commands: results on stdout, progress on stderr, failures by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from humwatch.errors import HumwatchError


def say(message: str) -> None:
    """Write a line of progress or explanation to stderr, so that stdout holds results alone."""
    typer.echo(message, err=True)


def show(result: dict[str, object], text: str, *, as_json: bool) -> None:
    """Write a command's result to stdout: as one JSON object, or as text."""
    typer.echo(json.dumps(result) if as_json else text)


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (stage, done, total) that draws a bar on a terminal, or else prints each stage's end."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: say(f"{stage}: {done}/{total}") if done == total else None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield report


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
