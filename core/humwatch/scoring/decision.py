"""Decision: from a score to the state of the machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from humwatch.audio.quality import UNJUDGEABLE, SoundWarning

State = Literal["normal", "warning", "alarm", "unknown", "off"]
"""States of a recording. ``off``: the machine does not run in it; ``unknown``: the sound cannot be judged."""


def decide(score: float, *, warn: float, warnings: Iterable[SoundWarning] = ()) -> State:
    """Return the state for a normalised score (alarm at 1); ``unknown`` if the sound itself cannot be judged."""
    if any(warning.code in UNJUDGEABLE for warning in warnings):
        return "unknown"
    if score >= 1.0:
        return "alarm"
    return "warning" if score >= warn else "normal"
