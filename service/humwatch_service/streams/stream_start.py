"""Time of the sound of a connection, as far as its first message tells."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from humwatch_service.protocol.messages import Hello, Warn
from humwatch_service.streams.clock_notes import ignored
from humwatch_service.streams.sample_clock import Anchor, can_be

LIVE_LENGTH_S: Final = 120.0
"""Length up to which a body whose length is known was recorded before it was sent, whatever it says of itself."""


@dataclass(frozen=True)
class StreamStart:
    """Time of the sound of a connection.

    Attributes:
        anchor: first sample that comes, and its time.
        claim: what the client said, where that cannot be by the clock of now; None where nothing was said or it can.
        length_s: length of all that comes, seconds; None where it is not known or is in the anchor already.
        warning: why the client's ``start_time_s`` is not believed; None where it is.
    """

    anchor: Anchor
    claim: Anchor | None = None
    length_s: float | None = None
    warning: Warn | None = None


def start_of(hello: Hello, sample: int, *, said_s: float | None, length_s: float | None) -> StreamStart:
    """Return when the sound from a sample on was recorded: as the client says, unless that cannot be.

    Args:
        hello: first message of the client.
        sample: index of the first sample that comes.
        said_s: when that was taken by what the client says, seconds since 1970; None where it says nothing.
        length_s: length of all that comes, seconds; None where that is not known.
    """
    now_s, warning, claim = time.time(), None, None
    if length_s is not None and not can_be(now_s - length_s, now_s):
        length_s = None  # a length that stands for one without an end
    if said_s is not None:
        claim = Anchor(sample, said_s, "said")
        end_s = said_s + (length_s or 0.0)
        if can_be(said_s, now_s) and can_be(end_s, now_s):
            return StreamStart(claim)
        warning = ignored(said_s if said_s < now_s and not can_be(said_s, now_s) else end_s, now_s)
    if length_s is not None and (length_s <= LIVE_LENGTH_S or not hello.realtime):
        return StreamStart(Anchor(sample, now_s - length_s, "length"), claim, warning=warning)
    return StreamStart(Anchor(sample, now_s, "arrival"), claim, length_s, warning)
