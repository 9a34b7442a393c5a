"""Normal sounds: ten seconds of a machine while all is well; the last one to compare with, others to train with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch.live.step import LiveStep
from humwatch_service.live.machine import LiveMachine
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.sounds.normal_sounds import NormalSounds
from humwatch_service.streams.stream import LiveStream

NORMAL_S: Final = 60.0
"""Time for which the machine has to be normal."""
KEPT_S: Final = 10.0
EVERY_S: Final = 3_600.0
CANDIDATE_S: Final = 600.0
"""Sound between two pieces of it that may be kept to train with, seconds."""
FORGOTTEN_S: Final = 1_800.0
"""Time before an alarm of which no sound stays: what raised it may have been there already."""
WELL_BELOW: Final = 0.5
"""Share of the warning level below which the score has to be meanwhile, of the sound to compare with."""
BELOW: Final = 0.8
"""The same of sounds to train with: of every condition, not of the calmest alone."""
FORGOTTEN: Final = round(FORGOTTEN_S / CANDIDATE_S)
"""Most sounds that go: as many as such a time holds."""


@dataclass
class _NormalSpan:
    """Span in which a machine is normal without a break.

    Attributes:
        due_s: time from which its sound may be kept again to compare with, monotonic seconds.
        stream: stream of the span.
        kept: last sample of the sound of this stream that was last offered to train with; None before any.
        since: first sample from which the score was well below; None while it is not.
        train_since: first sample from which it was below; None while it is not.
    """

    due_s: float
    stream: LiveStream | None = None
    kept: int | None = None
    since: int | None = None
    train_since: int | None = None


class ReferenceRecorder:
    """Recorder of the normal sound of machines. Called from workers, by one at a time for each machine."""

    def __init__(
        self,
        sounds: NormalSounds,
        kept: KeptSounds,
        *,
        submit: Callable[[str, Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Record into two folders.

        Args:
            sounds: folder of the last sound of each machine.
            kept: folder of the sounds to train with.
            submit: entrance of a thread that writes, from the machine's id and a call.
            clock: clock that runs evenly, seconds.
        """
        self._sounds = sounds
        self._kept = kept
        self._submit = submit
        self._clock = clock
        self._spans: dict[str, _NormalSpan] = {}

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """See what steps say of a machine, and keep its sound when it has been normal for long enough."""
        span = self._spans.get(machine.machine_id) or self._begun(machine.machine_id)
        for step in steps:
            score, warn = step.clip_score, machine.alarm.warn_level
            normal = machine.state == "normal" and not step.faults and score is not None
            if span.stream is not stream:
                span.stream, span.kept, span.since, span.train_since = stream, None, None, None
            span.since = _since(span.since, step, normal and score is not None and score < WELL_BELOW * warn)
            span.train_since = _since(span.train_since, step, normal and score is not None and score < BELOW * warn)
            self._keep(machine.machine_id, span, stream, step)

    def on_raised(self, machine_id: str, at_s: float) -> None:
        """Let no sound from shortly before an alarm stay among those to train with."""
        self._submit(machine_id, lambda: self._kept.forget(machine_id, at_s - FORGOTTEN_S, FORGOTTEN, until_s=at_s))

    def forget(self, machine_id: str) -> None:
        """Forget a machine that is not there any more; what was kept stays on the disk."""
        self._spans.pop(machine_id, None)

    def _begun(self, machine_id: str) -> _NormalSpan:
        age_s = self._sounds.age_s(machine_id)
        wait_s = 0.0 if age_s is None else max(0.0, EVERY_S - age_s)
        span = self._spans[machine_id] = _NormalSpan(self._clock() + wait_s)
        return span

    def _keep(self, machine_id: str, span: _NormalSpan, stream: LiveStream, step: LiveStep) -> None:
        rate_hz, end, now_s = stream.form.rate_hz, step.end_sample, self._clock()
        least = end - NORMAL_S * rate_hz
        compare = now_s >= span.due_s and span.since is not None and span.since <= least
        again = span.kept is None or end - span.kept >= CANDIDATE_S * rate_hz
        train = again and span.train_since is not None and span.train_since <= least
        if not compare and not train:
            return
        sound = stream.ring.between(end - round(KEPT_S * rate_hz), end)
        if not len(sound):
            return
        if compare:
            span.due_s = now_s + EVERY_S
            self._submit(machine_id, lambda: self._sounds.write(machine_id, sound, rate_hz))
        if train and step.clip_score is not None:
            span.kept = end
            at_s, score, version = stream.time_of(end), step.clip_score, step.model.bundle.manifest.version
            self._submit(
                machine_id,
                lambda: self._kept.add(machine_id, sound, rate_hz, at_s=at_s, score=score, model_version=version),
            )


def _since(since: int | None, step: LiveStep, well: bool) -> int | None:
    """Return the first sample of a span that goes on, begins or ends with a step."""
    if not well:
        return None
    return step.start_sample if since is None else since
