"""Names in a watched folder that are no recordings."""

from __future__ import annotations

from typing import Final

from humwatch.audio.files import SUFFIXES

_UNFINISHED: Final = (".part", ".tmp", ".temp", ".partial", ".filepart")


def is_recording_name(name: str) -> bool:
    """Return whether a file's name is one of a whole recording: neither hidden nor of a file that is still written."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or f"{dot}{suffix}".lower() not in SUFFIXES:
        return False
    return not name.startswith((".", "~", "#")) and not stem.lower().endswith(_UNFINISHED)
