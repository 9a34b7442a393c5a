"""Reasons for which recordings of a watched folder are passed over."""

from __future__ import annotations

from typing import Final

from humwatch.errors import HumwatchError
from humwatch_service.storage.folder_records import FileOutcome

_UNSUPPORTED: Final = frozenset(
    {
        "audio_format_unsupported",
        "audio_rate_unsupported",
        "audio_channel_missing",
        "audio_too_many_channels",
        "audio_too_long",
        "audio_too_large",
    }
)
"""Reasons why a recording is not taken that are no damage."""


def outcome_of(error: HumwatchError) -> FileOutcome:
    """Return what becomes of a recording that cannot be heard for this reason."""
    return "unsupported" if error.code in _UNSUPPORTED else "unreadable"
