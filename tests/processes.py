"""Programs that tests start, and signals to a command that runs in the tests' own process."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IGNORING_SIGINT = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""Start of a command that is started as a script starts what it leaves in the background: with SIGINT ignored."""


@contextmanager
def started(command: Sequence[str | Path], *, end_within_s: float = 20.0, **options: Any) -> Iterator[Any]:
    """Start a program, a ``subprocess.Popen``, and end it with the block, however that ends: a test never waits for it.

    Args:
        command: the program and its arguments.
        end_within_s: patience after SIGTERM, s; then it is killed.
        **options: further arguments of ``subprocess.Popen``.
    """
    with subprocess.Popen(command, **options) as program:
        try:
            yield program
        finally:
            program.terminate()
            try:
                program.wait(end_within_s)
            except subprocess.TimeoutExpired:
                program.kill()


@contextmanager
def interrupted(number: int, when: Callable[[], object]) -> Iterator[None]:
    """Send this process a signal once something is so, while the block runs: behind it, it would end the tests."""
    left = threading.Event()

    def work() -> None:
        while not left.is_set() and not when():
            time.sleep(0.01)
        if not left.is_set():
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
