"""Keeps ten seconds of what a machine sounds like when all is well, at most once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch.live.monitor import LiveStep
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.stream import LiveStream
from humwatch_service.storage.normal_sounds import NormalSounds

CALM_S: Final = 60.0
"""The machine has to be normal for so long."""
KEPT_S: Final = 10.0
EVERY_S: Final = 3_600.0
WELL_BELOW: Final = 0.5
"""Of the warning level, the score has to be below it meanwhile."""


@dataclass
class _Calm:
    """Since when a machine is normal without a break.

    Attributes:
        due_s: when its sound may be kept next, monotonic seconds.
        stream: that it is heard by.
        since: first sample; None while it is not normal.
    """

    due_s: float
    stream: LiveStream | None = None
    since: int | None = None


class NormalWatch:
    """Listens along with the workers. One worker at a time speaks of a machine."""

    def __init__(
        self,
        sounds: NormalSounds,
        *,
        submit: Callable[[str, Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``submit`` writes in a thread of its own; it is told whose sound it is."""
        self.sounds = sounds
        self._submit = submit
        self._clock = clock
        self._calm: dict[str, _Calm] = {}

    def heard(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """See what steps say of a machine, and keep its sound when it has been normal for long enough."""
        calm = self._calm.get(machine.machine_id) or self._begun(machine.machine_id)
        for step in steps:
            score = step.clip_score
            well = score is not None and score < WELL_BELOW * machine.alarm.warn_level
            if machine.state != "normal" or not well or step.faults or calm.stream is not stream:
                calm.stream, calm.since = stream, None
            if machine.state == "normal" and well and not step.faults and calm.since is None:
                calm.since = step.start_sample
            if calm.since is not None and step.end_sample - calm.since >= CALM_S * stream.form.rate_hz:
                self._keep(machine.machine_id, calm, stream, step.end_sample)

    def forget(self, machine_id: str) -> None:
        """The machine is not there any more; what was kept stays on the disk."""
        self._calm.pop(machine_id, None)

    def _begun(self, machine_id: str) -> _Calm:
        age_s = self.sounds.age_s(machine_id)
        wait_s = 0.0 if age_s is None else max(0.0, EVERY_S - age_s)
        calm = self._calm[machine_id] = _Calm(self._clock() + wait_s)
        return calm

    def _keep(self, machine_id: str, calm: _Calm, stream: LiveStream, end: int) -> None:
        if self._clock() < calm.due_s:
            return
        rate_hz = stream.form.rate_hz
        sound = stream.ring.between(end - round(KEPT_S * rate_hz), end)
        if len(sound):
            calm.due_s = self._clock() + EVERY_S
            self._submit(machine_id, lambda: self.sounds.write(machine_id, sound, rate_hz))
