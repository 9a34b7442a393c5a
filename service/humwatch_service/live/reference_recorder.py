"""Reference sounds: ten seconds of a machine while all is well, at most once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch.live.monitor import LiveStep
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.stream import LiveStream
from humwatch_service.storage.normal_sounds import NormalSounds

NORMAL_S: Final = 60.0
"""Time for which the machine has to be normal."""
KEPT_S: Final = 10.0
EVERY_S: Final = 3_600.0
WELL_BELOW: Final = 0.5
"""Share of the warning level below which the score has to be meanwhile."""


@dataclass
class _NormalSpan:
    """Span in which a machine is normal without a break.

    Attributes:
        due_s: time from which its sound may be kept again, monotonic seconds.
        stream: stream of the span.
        since: first sample; None while the machine is not normal.
    """

    due_s: float
    stream: LiveStream | None = None
    since: int | None = None


class ReferenceRecorder:
    """Recorder of the normal sound of machines. Called from workers, by one at a time for each machine."""

    def __init__(
        self,
        sounds: NormalSounds,
        *,
        submit: Callable[[str, Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Record into a folder.

        Args:
            sounds: folder of the sounds.
            submit: entrance of a thread that writes, from the machine's id and a call.
            clock: clock that runs evenly, seconds.
        """
        self._sounds = sounds
        self._submit = submit
        self._clock = clock
        self._spans: dict[str, _NormalSpan] = {}

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """See what steps say of a machine, and keep its sound when it has been normal for long enough."""
        span = self._spans.get(machine.machine_id) or self._begun(machine.machine_id)
        for step in steps:
            score = step.clip_score
            well = score is not None and score < WELL_BELOW * machine.alarm.warn_level
            if machine.state != "normal" or not well or step.faults or span.stream is not stream:
                span.stream, span.since = stream, None
            if machine.state == "normal" and well and not step.faults and span.since is None:
                span.since = step.start_sample
            if span.since is not None and step.end_sample - span.since >= NORMAL_S * stream.form.rate_hz:
                self._keep(machine.machine_id, span, stream, step.end_sample)

    def forget(self, machine_id: str) -> None:
        """Forget a machine that is not there any more; what was kept stays on the disk."""
        self._spans.pop(machine_id, None)

    def _begun(self, machine_id: str) -> _NormalSpan:
        age_s = self._sounds.age_s(machine_id)
        wait_s = 0.0 if age_s is None else max(0.0, EVERY_S - age_s)
        span = self._spans[machine_id] = _NormalSpan(self._clock() + wait_s)
        return span

    def _keep(self, machine_id: str, span: _NormalSpan, stream: LiveStream, end: int) -> None:
        if self._clock() < span.due_s:
            return
        rate_hz = stream.form.rate_hz
        sound = stream.ring.between(end - round(KEPT_S * rate_hz), end)
        if len(sound):
            span.due_s = self._clock() + EVERY_S
            self._submit(machine_id, lambda: self._sounds.write(machine_id, sound, rate_hz))
