"""Progress of a run: a bar or log lines, checkpoints into the run folder, and an end by signal."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from humwatch_training.fit.run_folder import RunFolder
from humwatch_training.fit.trainer import Progress, Trainer

PLAIN_EVERY_S = 10.0


def duration_text(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def progress_text(progress: Progress) -> str:
    """Return loss, speed and time left on one line."""
    return f"loss {progress.loss:.4f}  {progress.steps_per_s:.2f} steps/s  {duration_text(progress.left_s)} left"


class ProgressDisplay(Protocol):
    """Display of a run's progress for people."""

    def update(self, progress: Progress) -> None:
        """Show the present state of the run."""


class PlainDisplay:
    """Display of a line every ten seconds and at the end, for logs and pipes."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._next_s = clock()

    def update(self, progress: Progress) -> None:
        """Write a line where one is due."""
        now = self._clock()
        if now >= self._next_s or progress.step >= progress.planned_steps:
            self._write(f"step {progress.step}/{progress.planned_steps}  {progress_text(progress)}")
            self._next_s = now + PLAIN_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class BarDisplay:
    """Display of a bar on a terminal."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = Bar(*columns, console=console)
        self._task = self._bar.add_task("training", total=None, text="")

    def update(self, progress: Progress) -> None:
        """Move the bar."""
        text = progress_text(progress)
        self._bar.update(self._task, completed=progress.step, total=progress.planned_steps, text=text)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class StopSignal:
    """Record of a SIGINT or SIGTERM; a second one takes its default effect."""

    def __init__(self) -> None:
        self.name: str | None = None

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Handle the two signals within the block."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def remember(number: int, _frame: FrameType | None) -> None:
            self.name = signal.Signals(number).name
            restore()

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        for number in before:
            signal.signal(number, remember)
        try:
            yield self
        finally:
            restore()


class RunObserver:
    """Observer that shows a run, saves its checkpoints, and ends it when a signal came."""

    def __init__(self, folder: RunFolder, display: ProgressDisplay, stop: StopSignal) -> None:
        self._folder = folder
        self._display = display
        self._stop = stop

    def on_step(self, progress: Progress) -> None:
        """Show a finished step."""
        self._display.update(progress)

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Save into the run folder."""
        self._folder.save(trainer.state())

    def stop_requested(self) -> bool:
        """Return whether a signal came."""
        return self._stop.name is not None


def display_for(console: Console, write: Callable[[str], None]) -> BarDisplay | PlainDisplay:
    """Return a bar where the console is a terminal, else lines."""
    return BarDisplay(console) if console.is_terminal else PlainDisplay(write)
