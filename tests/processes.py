"""Programs that tests start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
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
