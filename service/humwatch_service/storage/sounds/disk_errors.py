"""Errors of the disk under the state folder, by the name of the place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from humwatch_service.errors import StateUnusable


@contextmanager
def disk_named(place: Path) -> Iterator[None]:
    """Let what the disk does not do be a :class:`StateUnusable` that names the place."""
    try:
        yield
    except OSError as error:
        raise StateUnusable(f"{place}: {error.strerror or error}") from error
