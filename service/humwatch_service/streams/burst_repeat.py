"""Bursts that say the same start: sent again, or by a sensor whose clock stands still."""

from __future__ import annotations

from typing import Final, Literal

PREFIX_BYTES: Final = 4_096
"""Bytes by which a burst is known: an eighth of a second of 16 bits at 16 kHz. Two that were recorded never agree."""
SAME_S: Final = 0.001

Finding = Literal["new", "sent_again", "clock_stands"]


class BurstStart:
    """Start and first bytes of a burst.

    Attributes:
        start_s: when it was recorded, as its sender says, seconds since 1970.
        first_sample: index of its first sample in the stream, also where it is sent again.
        finding: what it is beside the one before; None until that is known.
    """

    def __init__(self, start_s: float, first_sample: int, before: BurstStart | None) -> None:
        """Begin a burst that follows another one.

        Args:
            start_s: when it was recorded, as its sender says, seconds since 1970.
            first_sample: index of the first sample that comes.
            before: the burst before; None for the first.
        """
        self.start_s = start_s
        self.first_sample = first_sample
        self.finding: Finding | None = None
        self._prefix = b""
        self._first_before = first_sample
        self._before: bytes | None = None
        if before is not None and abs(before.start_s - start_s) < SAME_S:
            self._before, self._first_before = before._prefix, before.first_sample
        if not self._before:
            self.finding = "new"

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return those that are to be heard: none while it is not known whether they were before."""
        if len(self._prefix) >= PREFIX_BYTES and self.finding is not None:
            return data
        known_before = self.finding is not None
        self._prefix += data
        if known_before:
            self._prefix = self._prefix[:PREFIX_BYTES]
            return data
        if len(self._prefix) < PREFIX_BYTES:
            return b""
        return self._decide()

    def end(self) -> bytes:
        """Return what is still to be heard: the burst is over."""
        return b"" if self.finding is not None else self._decide()

    def _decide(self) -> bytes:
        held, before = self._prefix, self._before or b""
        self._prefix = held[:PREFIX_BYTES]
        self.finding = "sent_again" if self._prefix == before else "clock_stands"
        if self.finding == "sent_again":
            self.first_sample = self._first_before
        return held
