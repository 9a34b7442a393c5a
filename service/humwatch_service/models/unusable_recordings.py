"""Recordings of a calibration that cannot be used: all are named at once, or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from humwatch.errors import AudioError, CalibrationError, HumwatchError
from humwatch_service.errors import FileUnreadable
from humwatch_service.given_recordings import named, unusable


class UnusableRecordings:
    """Recordings that cannot be used, each with the reason.

    Args:
        on_unusable: callback for each, which is then left out; None where none may be.
    """

    def __init__(self, on_unusable: Callable[[Path, HumwatchError], None] | None) -> None:
        self._on_unusable = on_unusable
        self._errors: dict[Path, HumwatchError] = {}

    @contextmanager
    def noted(self, path: Path) -> Iterator[None]:
        """Note what goes wrong with a recording inside, with its path."""
        try:
            with named(path):
                yield
        except (AudioError, CalibrationError, FileUnreadable) as error:
            self._errors[path] = error
            if self._on_unusable is not None:
                self._on_unusable(path, error)

    def check(self, *, nothing_left: bool) -> None:
        """Raise an error that names all of them, of the kind of the first, unless they may be left out."""
        if self._errors and (self._on_unusable is None or nothing_left):
            raise unusable(self._errors.values())
