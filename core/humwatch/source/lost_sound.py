"""Sound that was lost and filled with one value: which stretches of the last blocks are that, and no flat peaks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from humwatch.audio.sound_blocks import SoundBlock, SoundSums

HELD_STRETCHES: Final = 3
"""So many stretches of one value for ``HELD_SECONDS`` are drop-outs that the source has filled with zeros or with its
last sample. A microphone's own hiss is louder than ``SILENT_DBFS``, 1.8 steps of 16 bits: two samples of it are equal
once in six times, twenty in a row (5 ms at 4 kHz) never."""
FLAT_PEAK: Final = 0.01
"""A stretch this close (share of the range) to the highest or lowest sample of the window is a crest or a flat peak:
clipping, at full scale or at an amplifier's. Digital zero is none, whatever the offset."""

GATE_DB: Final = 20.0
"""Sound beside a hole is at most this much quieter than that of the window: a noise gate closes where it is quiet,
sound is lost anywhere. No 10 ms of a recording at hand are more than 9.5 dB quieter."""


class _Bounds:
    """Values and levels that a stretch has to be within, to be no crest, no flat peak and no gate."""

    def __init__(self, blocks: Collection[SoundBlock]) -> None:
        self._low, self._high = min(block.low for block in blocks), max(block.high for block in blocks)
        self._margin = FLAT_PEAK * (self._high - self._low)
        self._quietest_dbfs = SoundSums(blocks).level_dbfs - GATE_DB

    def hold(self, value: float, beside_dbfs: float) -> bool:
        """Return True if sound was lost where it is one value, beside sound of a level."""
        inside = value == 0.0 or self._low + self._margin < value < self._high - self._margin
        return inside and beside_dbfs >= self._quietest_dbfs


def holes_in(blocks: Collection[SoundBlock], ends: Collection[int]) -> list[tuple[int, int]]:
    """Return the holes in some blocks, also those that are long: first sample and one past the last of each.

    Args:
        blocks: blocks in order.
        ends: index one past the last sample of each.
    """
    bounds = _Bounds(blocks)
    found: dict[int, int] = {}
    for block, end in zip(blocks, ends, strict=True):
        for hole in block.holes:
            if bounds.hold(hole.value, hole.beside_dbfs):
                at = end - block.n + hole.start
                found[at] = max(found.get(at, 0), at + hole.samples)
    return _joined(found)


def _joined(spans: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return spans in order, those that overlap as one: zeros amid rounding noise are found twice."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans.items()):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def held_in(blocks: Collection[SoundBlock]) -> int:
    """Return the number of stretches of one value in some blocks for which sound was lost, however short."""
    stretches = [found for block in blocks for found in zip(block.held, block.beside, strict=True)]
    if not stretches:
        return 0
    bounds = _Bounds(blocks)
    return sum(bounds.hold(value, beside_dbfs) for value, beside_dbfs in stretches)
