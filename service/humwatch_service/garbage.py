"""Collection of garbage in a process that runs for months: seldom, and not of what is there for good."""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""New objects that are looked through at a time. Hundreds of streams make as many in a second, nearly all of which are
gone by then; Python's own 700 has them looked through a hundred times a second, a tenth of all processor time."""


def settle_garbage_collector() -> None:
    """Leave alone what the process has made so far, and look at new objects more seldom; once, at its start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
