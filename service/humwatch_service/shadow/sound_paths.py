"""Paths over HTTP of the sound of alarms, FLAC: of those that were raised, and of those that candidates would have."""

from __future__ import annotations


def sound_of_alarm(alarm_id: str) -> str:
    """Return the path of the evidence of an alarm."""
    return f"/v1/alarms/{alarm_id}/clip.flac"


def sound_of_candidate(machine_id: str, name: str) -> str:
    """Return the path of a sound that was kept when only a candidate would have raised an alarm, by its name."""
    return f"/v1/machines/{machine_id}/shadow/sounds/{name}.flac"
