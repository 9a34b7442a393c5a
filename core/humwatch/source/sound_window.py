"""Window of the newest sound of a source: blocks, and losses between them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from humwatch.audio.quality import STUCK_SECONDS
from humwatch.audio.sound_blocks import SoundBlock, SoundSums
from humwatch.source.lost_sound import HELD_STRETCHES, held_in, holes_in

WINDOW_S: Final = 10.0
"""Length of the window of sound that faults are found in: as much as a clip."""
MOST_BLOCKS: Final = 400
"""Gaps make blocks shorter; this bounds them, however a client counts."""


@dataclass(frozen=True)
class Loss:
    """Samples that never came, before the sample ``at``."""

    at: int
    samples: int
    overflows: int


class SoundWindow:
    """Measured blocks and losses in, the newest of them kept; holds sums, no sound.

    Attributes:
        position: number of samples since the start, those that never came included.
        held_samples: samples of the blocks that are kept.
        losses: losses in the window.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self.reset()

    def reset(self) -> None:
        """Start anew, as for a new stream of the same rate."""
        self.position = 0
        self.held_samples = 0
        self.losses: deque[Loss] = deque(maxlen=MOST_BLOCKS)
        self._blocks: deque[SoundBlock] = deque()
        self._ends: deque[int] = deque()
        self._stuck_until = 0
        self._hole_blocks = 0
        self._held_blocks = 0

    def add(self, block: SoundBlock) -> None:
        """Take the next block."""
        if block.held and not self._blocks:  # nothing before it is known any more
            block = block._replace(held=(), beside=())
        self._hole_blocks += bool(block.holes)
        self._held_blocks += bool(block.held)
        if len(self._blocks) == MOST_BLOCKS:
            self._forget_block()
        self.position += block.n
        self._blocks.append(block)
        self._ends.append(self.position)
        self.held_samples += block.n
        if block.longest >= STUCK_SECONDS * self._rate_hz:
            self._stuck_until = self.position
        self._forget_old()

    def lose(self, samples: int, overflows: int) -> None:
        """Skip samples that never came, or count losses of the sound card, each of unknown length."""
        self.position += samples
        self.losses.append(Loss(self.position, samples, overflows))
        self._forget_old()

    @property
    def newest(self) -> SoundBlock | None:
        """Newest block."""
        return self._blocks[-1] if self._blocks else None

    @property
    def held_stretches(self) -> int:
        """Number of stretches of one value, however short, for which sound was lost."""
        return held_in(self._blocks) if self._held_blocks else 0

    def sums(self) -> SoundSums:
        """Return the statistics of the window."""
        return SoundSums(self._blocks)

    def latest(self, samples: float) -> SoundSums:
        """Return the statistics of the newest sound, so many samples at least, or all."""
        latest: list[SoundBlock] = []
        for block in reversed(self._blocks):
            if samples <= 0:
                break
            latest.append(block)
            samples -= block.n
        return SoundSums(latest)

    def holes(self) -> list[tuple[int, int]]:
        """Return the holes, also those that are long: first sample and one past the last of each."""
        return holes_in(self._blocks, self._ends) if self._hole_blocks else []

    def short_holes(self) -> list[tuple[int, int]]:
        """Return the parts with stretches of one value, where there are so many that sound was lost."""
        if self.held_stretches < HELD_STRETCHES:
            return []
        ends = zip(self._blocks, self._ends, strict=True)
        return [(end - block.n, end) for block, end in ends if block.held]

    def longest_stretch(self) -> int:
        """Return the length of the longest stretch of one value, samples; 0 when it is too short to be named."""
        if self._stuck_until <= self._oldest:
            return 0
        return max((block.longest for block in self._blocks), default=0)

    @property
    def _oldest(self) -> float:
        return self.position - WINDOW_S * self._rate_hz

    def _forget_old(self) -> None:
        while self._ends and self._ends[0] <= self._oldest:
            self._forget_block()
        while self.losses and self.losses[0].at <= self._oldest:
            self.losses.popleft()

    def _forget_block(self) -> None:
        self._ends.popleft()
        block = self._blocks.popleft()
        self.held_samples -= block.n
        self._hole_blocks -= bool(block.holes)
        self._held_blocks -= bool(block.held)
