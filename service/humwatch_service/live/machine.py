"""What is known of one machine right now: its alarm, its stream, its last score; the same over streams and restarts."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from humwatch.alarm.events import NOT_HEARD, AlarmEvent, AlarmSnapshot, MachineState, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmMachine
from humwatch.detectors.detector_set import DetectorName
from humwatch.live.monitor import LiveModel, LiveStep
from humwatch.monitor import ScaleScore
from humwatch.source.health import FaultReport
from humwatch_service.live.stream import LiveStream
from humwatch_service.protocol.detections import Detection
from humwatch_service.protocol.messages import Score, ServerMessage, StateChange, Warn
from humwatch_service.storage.records import StreamPosition, alarm_id_of

Float32 = npt.NDArray[np.float32]

TRACE_STEPS: Final = 120
"""Scores that an alarm's record starts with."""
AHEAD_S: Final = 12.0
"""Sound that is scored at most before the position is written: when it comes faster than time, as after a break."""
UNJUDGED: Final = "not_calibrated"
"""Reason of an ``unknown`` for a machine that has no model of its own yet."""
LOWEST_WARN: Final = 1e-6
"""Of calibrations in which a tenth of the clips or more have the median score."""


@dataclass(frozen=True)
class Reading:
    """The last that was heard of a machine.

    Attributes:
        at_s: wall clock at its end, seconds since 1970.
        score: of the last clip; None without one.
        raw_score: the same before normalisation.
        step_score: of the last second.
        level_dbfs: of the last second.
        running: whether the machine runs; None when it is not known.
        faults: of the source.
        detection: of the last clip's score, on the wall clock; None without one.
    """

    at_s: float
    score: float | None
    raw_score: float | None
    step_score: float | None
    level_dbfs: float
    running: bool | None
    faults: tuple[FaultReport, ...]
    detection: Detection | None = None


class Record(Protocol):
    """Where what happens to machines is kept and told."""

    def happened(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Keep events durably, then tell them. Called with the machine's lock held, from any thread."""

    def second(self, machine: LiveMachine, reading: Reading) -> None:
        """Keep a second of history."""

    def advanced(self, machine: LiveMachine) -> None:
        """Write history and position now. Called with the machine's lock held, from any thread."""


class Collecting(Protocol):
    """What wants all the sound of a machine, as a calibration does. Called from the stream's worker."""

    def begin(self, source_rate_hz: int, sample_bits: int) -> None:
        """Know that another stream begins."""

    def push(self, mono: Float32) -> None:
        """Take float32 (n,) in [-1, 1]."""

    def gap(self, samples: int) -> None:
        """Know of samples that never came."""

    def overflow(self, count: int) -> None:
        """Know that the sound card lost samples."""

    def clock(self, sample: int, time_s: float) -> None:
        """Know when a sample was taken."""

    def pause(self, paused: bool) -> None:
        """Collect nothing while the machine is said not to run."""


class LiveMachine:
    """One machine. Thread-safe: streams report from workers, operators from requests."""

    def __init__(
        self,
        machine_id: str,
        record: Record,
        *,
        rule: AlarmRule,
        model: LiveModel | None,
        snapshot: AlarmSnapshot | None = None,
        running: bool | None = None,
        restored: StreamPosition | None = None,
    ) -> None:
        """``restored`` is how far a stream was scored before a restart."""
        self.machine_id = machine_id
        self.lock = threading.RLock()
        self.rule = rule
        self.model = model
        self.running = running
        self.restored = restored
        self.position: StreamPosition | None = None
        self.written: StreamPosition | None = restored
        self.opening = asyncio.Lock()
        self.stream: LiveStream | None = None
        self.collector: Collecting | None = None
        self.reading: Reading | None = None
        self.trace: deque[tuple[float, float]] = deque(maxlen=TRACE_STEPS)
        self.alarm = AlarmMachine(rule, warn_level=warn_level(model), snapshot=snapshot)
        self.judge = model
        self._record = record
        self._faults: tuple[FaultReport, ...] = ()

    @property
    def state(self) -> MachineState:
        """What is shown."""
        return self.alarm.state

    @property
    def is_fed(self) -> bool:
        """Whether somebody sends sound."""
        return self.stream is not None and self.stream.connection is not None and not self.stream.ended

    def silent_for(self, seconds: float) -> bool:
        """Whether no sound came for so long, and none waits."""
        stream = self.stream
        if stream is None:
            return True
        patience_s = seconds if stream.patience_s is None or stream.connection is None else stream.patience_s
        return stream.silent_for(patience_s)

    def heard(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps of a stream (in its worker); return what its client is told."""
        messages: list[ServerMessage] = []
        with self.lock:
            if self.stream is not stream:
                return []
            for step in steps:
                events = self._judge(stream, step)
                messages += self._fault_messages(step.faults)
                messages += _score_messages(step, self.state)
                messages += self.change_messages(events)
            if self._is_far_ahead():
                self._record.advanced(self)
        return messages

    def not_heard(self, now_s: float) -> None:
        """Nothing comes: the machine is unknown."""
        with self.lock:
            self._faults = ()
            if self.reading is not None:
                self.reading = Reading(self.reading.at_s, None, None, None, self.reading.level_dbfs, None, ())
        self.operate(lambda alarm: alarm.observe(Observation(now_s, 0.0, "unknown", None, (NOT_HEARD,))))

    def operate(self, command: Callable[[AlarmMachine], list[AlarmEvent]]) -> list[AlarmEvent]:
        """Carry out what comes from elsewhere than the stream, and keep it. Raises what the command raises."""
        with self.lock:
            events = self._keep(command(self.alarm), None)
        stream = self.stream
        if stream is not None and events:
            stream.tell(self.change_messages(events))
        return events

    def tick(self, now_s: float) -> None:
        """Let a shelf end."""
        self.operate(lambda alarm: alarm.tick(now_s))

    def change_messages(self, events: Iterable[AlarmEvent]) -> list[ServerMessage]:
        """Events as a client is told."""
        return [
            StateChange(
                event=event.kind,
                state=event.to_state,
                before=event.from_state,
                reasons=list(event.reasons),
                at_s=event.at_s,
                alarm_id=None if event.alarm is None else alarm_id_of(self.machine_id, event.alarm),
            )
            for event in events
        ]

    def _judge(self, stream: LiveStream, step: LiveStep) -> list[AlarmEvent]:
        if step.model is not self.judge:
            self.judge = step.model
            self.alarm.change_rule(self.rule, warn_level(step.model))
        at_s = stream.time_of(step.end_sample)
        self.position = StreamPosition(
            stream_id=stream.form.stream_id,
            rate_hz=stream.form.rate_hz,
            next_sample=max(step.end_sample, stream.heard_until),
        )
        clip = step.step.clip if step.step is not None else None
        self.reading = Reading(
            at_s=at_s,
            score=None if clip is None else clip.score,
            raw_score=None if clip is None else clip.raw_score,
            step_score=None if step.step is None else step.step.step.score,
            level_dbfs=step.level_dbfs,
            running=step.running,
            faults=step.faults,
            detection=None if clip is None else detection_of(clip, at_s, step.model),
        )
        if clip is not None:
            self.trace.append((at_s, clip.score))
        events = [] if step.observation is None else self._keep(self.alarm.observe(step.observation), step)
        if step.end_sample > stream.heard_until:  # else it was heard before a restart, and is in the history
            self._record.second(self, self.reading)
        return events

    def _is_far_ahead(self) -> bool:
        """Whether the stream is not known on the disk, or more of it was scored since than a client still has."""
        now, written = self.position, self.written
        if now is None:
            return False
        if written is None or written.stream_id != now.stream_id:
            return True
        return now.next_sample - written.next_sample > AHEAD_S * now.rate_hz

    def _keep(self, events: list[AlarmEvent], step: LiveStep | None) -> list[AlarmEvent]:
        if events:
            self._record.happened(self, events, step)
        return events

    def _fault_messages(self, faults: tuple[FaultReport, ...]) -> list[ServerMessage]:
        before, now = ({fault.code: fault for fault in found} for found in (self._faults, faults))
        self._faults = faults
        begun = [Warn(code=code, message=now[code].message, active=True) for code in now if code not in before]
        ended = [Warn(code=code, message=before[code].message, active=False) for code in before if code not in now]
        return [*begun, *ended]


def detection_of(clip: ScaleScore, end_s: float, model: LiveModel) -> Detection:
    """Which detector decided a clip, and when, if the clip ended at ``end_s``, seconds since 1970."""
    return Detection.ending_at(clip, end_s, model.bundle.manifest.features.rate_hz)


def detector_of(step: LiveStep | None) -> DetectorName | None:
    """Which detector decided the clip that ends with a step; None without one."""
    return None if step is None or step.step is None or step.step.clip is None else step.step.clip.detector


def warn_level(model: LiveModel | None) -> float:
    """Where a warning begins on the normalised scale; a machine without a model of its own has no other than 1."""
    if model is None:
        return 1.0
    clip = model.bundle.manifest.clip
    return min(1.0, max(LOWEST_WARN, clip.normalise(clip.warn.level)))


def _score_messages(step: LiveStep, state: MachineState) -> list[ServerMessage]:
    if step.step is None:
        return []
    clip = step.step.clip
    return [
        Score(
            start_sample=step.start_sample,
            end_sample=step.end_sample,
            step_score=step.step.step.score,
            clip_start_sample=step.clip_start_sample,
            score=None if clip is None else clip.score,
            raw_score=None if clip is None else clip.raw_score,
            state=state,
            level_dbfs=step.level_dbfs,
        )
    ]
