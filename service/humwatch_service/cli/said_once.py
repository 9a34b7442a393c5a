"""Warnings about many recordings: one that is the same for several of them is said once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")

_OF_THE_CALL: Final = frozenset(
    {"channel_selected", "few_calibration_recordings", "lossy_coded", "resampled", "shorter_than_clip"}
)
"""Codes whose messages differ by a number at most, which matters to nobody."""


def said_once(warnings: Iterable[tuple[str, str, str]], total: int) -> list[str]:
    """Return a line for each warning that differs, in order of their first recordings.

    Args:
        warnings: name of the recording, code and message of each.
        total: number of recordings of the call.
    """
    alike: dict[tuple[str, str], dict[str, str]] = {}
    for name, code, message in warnings:
        key = _NUMBER.sub("#", message) if code in _OF_THE_CALL else message
        alike.setdefault((code, key), {}).setdefault(name, message)
    return [f"{_whose(list(found), total)}: {code}: {next(iter(found.values()))}" for (code, _), found in alike.items()]


def _whose(names: list[str], total: int) -> str:
    if len(names) == 1:
        return names[0]
    return f"all {total} recordings" if len(names) == total else f"{len(names)} of {total} recordings"
