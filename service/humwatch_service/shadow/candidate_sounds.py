"""Sound of alarms that a candidate raises, from the last minutes of its stream, once all of it is there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from humwatch.live.step import LiveStep
from humwatch_service.live.evidence_writer import MARGIN_S, sound_before_s
from humwatch_service.streams.audio_ring import Sound


@dataclass(frozen=True, eq=False)
class _PendingSound:
    """Alarm whose sound is not all there yet: what was there when it was raised, and sample indices of the rest."""

    raised_s: float
    head: Sound
    start: int
    end: int


class CandidateSounds:
    """Sound that waits to be whole, of one stream after another."""

    def __init__(self) -> None:
        self.rate_hz = 1
        self._sound: Callable[[int, int], Sound] | None = None
        self._pending: list[_PendingSound] = []

    def begin(self, rate_hz: int, sound: Callable[[int, int], Sound]) -> None:
        """Take another stream, and its lookup of sound from a sample to before another."""
        self.rate_hz, self._sound = rate_hz, sound
        self._pending.clear()

    def want(self, step: LiveStep, raised_s: float, on_delay_s: float) -> None:
        """Want the sound of an alarm that was raised in a step, with what a delay of so long had heard before."""
        first = step.start_sample if step.clip_start_sample is None else step.clip_start_sample
        start = max(0, first - math.ceil(sound_before_s(on_delay_s) * self.rate_hz))
        if self._sound is not None:
            head = self._sound(start, step.end_sample)
            end = step.end_sample + math.ceil(MARGIN_S * self.rate_hz)
            self._pending.append(_PendingSound(raised_s, head, step.end_sample, end))

    def take_whole(self, heard: float) -> list[tuple[float, Sound]]:
        """Return what is whole before a sample, once: when the alarm was raised, and its sound."""
        ready = [pending for pending in self._pending if pending.end <= heard]
        self._pending = [pending for pending in self._pending if pending.end > heard]
        if self._sound is None:
            return []
        found = [
            (pending.raised_s, np.concatenate([pending.head, self._sound(pending.start, pending.end)]))
            for pending in ready
        ]
        return [(raised_s, sound) for raised_s, sound in found if len(sound)]
