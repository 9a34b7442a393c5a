"""A progress bar for work of several named stages, on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from humwatch_training.console import say


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function of (stage, done, total) that draws a bar on a terminal, and says each stage's end elsewhere."""
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
