"""Recordings that somebody gave by path: found among files and folders, and named where they cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from humwatch.audio.files import FoundRecordings, find_recordings, some_of
from humwatch.errors import AudioError, HumwatchError
from humwatch_service.errors import FileUnreadable

NAMED: Final = 20
"""Recordings that cannot be used and are named, of as many as there are."""


def recordings_in(paths: Sequence[Path], *, named_are_taken: bool = True) -> FoundRecordings:
    """Return the recordings among files and folders, those of a folder by name, and what was left out.

    Args:
        paths: files and folders.
        named_are_taken: whether files that are given are taken where nothing else is there, though they are none: the
            decoder says what they lack.

    Raises:
        FileUnreadable: there are none, or a folder cannot be read.
    """
    try:
        found = find_recordings(paths)
    except OSError as error:
        raise FileUnreadable(f"{error.filename} cannot be read: {error.strerror}") from error
    if found.recordings or not paths:
        return found
    files = [path for path in paths if not path.is_dir()]
    if not files or not named_are_taken:
        raise FileUnreadable(f"{some_of(paths)} has no recording" + (f"; {found.remark}" if found.remark else ""))
    return FoundRecordings(files, [])


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name a recording in the errors of reading it.

    Raises:
        AudioError: as inside, with the path before its message.
        FileUnreadable: the file cannot be read.
    """
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


def unusable(errors: Iterable[HumwatchError]) -> HumwatchError:
    """Return one error, of the kind of the first, for all recordings that cannot be used."""
    found = list(errors)
    if len(found) == 1:
        return found[0]
    return type(found[0])(f"{len(found)} recordings cannot be used: {some_of(found, NAMED)}")
