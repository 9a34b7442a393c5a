"""Output of the commands: results on stdout, progress and failures on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.config.layers import Configuration, load_configuration

JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]
ModelsOption = Annotated[Path | None, typer.Option("--models", help="Folder of models; else the setting models_dir.")]


def say(message: str) -> None:
    """Write a line of explanation to stderr."""
    typer.echo(message, err=True)


def show(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Write a command's result to stdout: as one JSON object, or as text."""
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else text)


@contextmanager
def failures(*, as_json: bool) -> Iterator[None]:
    """Turn a named failure into exit code 1: ``error: <code>: <message>`` on stderr, with --json also on stdout."""
    try:
        yield
    except HumwatchError as error:
        if as_json:
            typer.echo(json.dumps({"error": described(error)}, ensure_ascii=False))
        say(f"error: {error.code}: {error}")
        raise typer.Exit(1) from error


def described(error: HumwatchError) -> dict[str, str]:
    """Return an error as JSON."""
    return {"code": error.code, "message": str(error)}


def table_text(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as text, as wide as it needs to be where it goes to no terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    terminal = Console()
    console = Console(width=terminal.width if terminal.is_terminal else 160, force_terminal=terminal.is_terminal)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


@contextmanager
def progress_bar(task: str, total: int) -> Iterator[Progress]:
    """Show a bar on stderr with the time left; only plain text where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(task, total=total)
        yield progress


def configuration(models: Path | None = None) -> Configuration:
    """Return the settings for a command that works without the service."""
    return load_configuration({"models_dir": models})


def repository(models: Path | None) -> ModelRepository:
    """Return the folder of models that a command works on."""
    return ModelRepository(configuration(models).settings.models_dir)


def machine_and_version(text: str) -> tuple[str, str | None]:
    """Split ``MACHINE[@VERSION]``."""
    machine_id, _, version = text.partition("@")
    return machine_id, version or None
