"""One live machine: its alarm, its stream, its last score; the same over streams and restarts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from humwatch.alarm.events import NO_SOUND, AlarmEvent, AlarmSnapshot, MachineState, Mark, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.errors import HumwatchError
from humwatch.live.model import LiveModel
from humwatch.live.step import LiveStep
from humwatch.source.faults import FaultReport
from humwatch_service.live.alarm_machine import alarm_machine, warn_level
from humwatch_service.live.client_messages import change_messages, fault_messages, score_messages
from humwatch_service.live.machine_parties import MachineCompanion, SoundCollector
from humwatch_service.live.machine_reading import MachineReading, detection_of
from humwatch_service.protocol.messages import ServerMessage
from humwatch_service.storage.records import OLD_S, StreamPosition
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_items import Beside, RunSignal, Swap

TRACE_STEPS: Final = 120
"""Number of scores that an alarm's record starts with."""
AHEAD_S: Final = 20.0
"""Sound that is scored at most before the position is written: when it comes faster than time, as after a break."""


class MachineObserver(Protocol):
    """Observer of a machine. Called with the machine's lock held, from any thread."""

    def on_events(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Keep events durably, then publish them."""

    def on_second(self, machine: LiveMachine, reading: MachineReading) -> None:
        """Keep a second of history."""

    def on_run_signal(self, machine: LiveMachine, mark: Mark) -> None:
        """Keep the running state that somebody set."""

    def checkpoint(self, machine: LiveMachine) -> None:
        """Write history and position now: much was scored since they were."""


class LiveMachine:
    """One machine. Thread-safe: streams report from workers, operators from requests."""

    def __init__(
        self,
        machine_id: str,
        observer: MachineObserver,
        *,
        rule: AlarmRule,
        model: LiveModel | None,
        snapshot: AlarmSnapshot | None = None,
        running: bool | None = None,
        restored: StreamPosition | None = None,
    ) -> None:
        """Take up a machine.

        Args:
            machine_id: id of the machine.
            observer: observer of the machine.
            rule: alarm rule.
            model: model of the machine; None without one.
            snapshot: alarm state that outlived a restart.
            running: signal of the running state; None leaves it to the level.
            restored: position up to which a stream was scored before a restart.
        """
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
        self.collector: SoundCollector | None = None
        self.companion: MachineCompanion | None = None
        self.reading: MachineReading | None = None
        self.drift: tuple[float, str] | None = None  # since when its normal has moved, and how
        self._traced: LiveStream | None = None
        self.alarm_late_s = 0.0  # how much later than recorded the sound was heard that raised the alarm in force
        self.trace: deque[tuple[float, float]] = deque(maxlen=TRACE_STEPS)
        self.alarm = alarm_machine(rule, model, snapshot)
        self.judge = model
        self._observer = observer
        self._faults: tuple[FaultReport, ...] = ()

    @property
    def state(self) -> MachineState:
        """State that is shown."""
        return self.alarm.state

    @property
    def is_fed(self) -> bool:
        """True while a connection feeds the machine's stream."""
        return self.stream is not None and self.stream.connection is not None and not self.stream.ended

    def silent_for(self, seconds: float) -> bool:
        """Return True if no sound came for so long, and none waits."""
        stream = self.stream
        if stream is None:
            return True
        timeout_s = seconds if stream.timeout_s is None or stream.connection is None else stream.timeout_s
        return stream.silent_for(max(timeout_s, stream.join_s or 0.0))

    def on_steps(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps of a stream, in its worker; return the messages for its client."""
        messages: list[ServerMessage] = []
        with self.lock:
            if self.stream is not stream:
                return []
            for step in steps:
                events = self._judge(stream, step)
                messages += fault_messages(self._faults, step.faults)
                messages += score_messages(step, self.state)
                messages += change_messages(self.machine_id, events)
                self._faults = step.faults
            if self._is_far_ahead():
                self._observer.checkpoint(self)
        return messages

    def on_silence(self, now_s: float) -> None:
        """Take the machine for unknown: no sound comes."""
        with self.lock:
            self._faults = ()
            if self.reading is not None:
                self.reading = MachineReading(self.reading.at_s, None, None, None, self.reading.level_dbfs, None, ())
        self.operate(lambda alarm: alarm.observe(Observation(now_s, 0.0, "unknown", None, (NO_SOUND,))))
        if self.companion is not None:
            self.companion.on_silence(now_s)

    def operate(self, command: Callable[[AlarmStateMachine], list[AlarmEvent]]) -> list[AlarmEvent]:
        """Carry out a command that comes from elsewhere than the stream, and keep it. Raises as the command does."""
        with self.lock:
            events = self._keep(command(self.alarm), None)
        stream = self.stream
        if stream is not None and events:
            stream.publish(change_messages(self.machine_id, events))
        return events

    def set_running(self, running: bool | None, *, who: str, why: str) -> None:
        """Take an explicit signal of the running state (blocking); None leaves it to the level again."""
        with self.lock:
            self.running = running
            if self.collector is not None:
                self.collector.signal(running)
            self._observer.on_run_signal(self, Mark(who=who, at_s=time.time(), why=why))
        if self.stream is not None:
            self.stream.put_from_any_thread(RunSignal(running))

    def collect(self, collector: SoundCollector | None) -> None:
        """Give all the sound to a collector from now on; None: to nobody any more."""
        self.collector = collector
        if collector is None:
            return
        collector.signal(self.running)
        if self.stream is not None:
            self._begin_collecting(collector, self.stream)

    def begin_stream(self, stream: LiveStream) -> None:
        """Follow another stream from now on, with the model in use."""
        self.stream = stream
        if self.model is not None:
            stream.put(Swap(self.model))
        if self.companion is not None:
            stream.put(Beside(self.companion))
        if self.collector is not None:
            self._begin_collecting(self.collector, stream)

    def swap(self, model: LiveModel) -> None:
        """Use another model from now on."""
        self.model = model
        if self.stream is not None and not self.stream.ended:
            self.stream.put_from_any_thread(Swap(model))

    def accompany(self, companion: MachineCompanion | None) -> None:
        """Let a companion hear the streams from now on; None: nobody any more."""
        self.companion = companion
        if self.stream is not None and not self.stream.ended:
            self.stream.put_from_any_thread(Beside(companion))

    def disconnect(self, reason: HumwatchError) -> None:
        """End the connection that feeds the stream, if there is one."""
        if self.stream is not None and self.stream.connection is not None:
            self.stream.connection.evict(reason)

    def tick(self, now_s: float) -> None:
        """Let a shelf end."""
        self.operate(lambda alarm: alarm.tick(now_s))

    def _judge(self, stream: LiveStream, step: LiveStep) -> list[AlarmEvent]:
        if step.model is not self.judge:
            self.judge = step.model
            self.alarm.change_rule(self.rule, warn_level(step.model), step.model.limits)
        at_s = stream.time_of(step.end_sample)
        self.position = StreamPosition(
            stream_id=stream.form.stream_id,
            rate_hz=stream.form.rate_hz,
            next_sample=max(step.end_sample, stream.scored_until),
        )
        clip = step.scores.clip if step.scores is not None else None
        self.reading = MachineReading(
            at_s=at_s,
            score=None if clip is None else clip.score,
            raw_score=None if clip is None else clip.raw_score,
            step_score=None if step.scores is None else step.scores.step.score,
            level_dbfs=step.level_dbfs,
            running=step.running,
            faults=step.faults,
            detection=None if clip is None else detection_of(clip, at_s, step.model),
            late_s=stream.clock.age_of(step.end_sample),
            place_s=stream.clock.place_of(step.end_sample),
        )
        if self._traced is not stream:
            self._traced = stream
            if self.trace and at_s < self.trace[-1][0] - OLD_S:
                self.trace.clear()  # sound of another time
        if clip is not None:
            self.trace.append((at_s, clip.score))
        events = [] if step.observation is None else self.alarm.observe(step.observation)
        if step.end_sample > stream.scored_until:  # else it was heard before a restart, and is in the history
            self._observer.on_second(self, self.reading)
        return self._keep(events, step)  # and the position: the disk has the second by then

    @staticmethod
    def _begin_collecting(collector: SoundCollector, stream: LiveStream) -> None:
        collector.begin(stream.form.rate_hz, stream.form.sample_bits, full_scale=stream.form.full_scale)

    def _is_far_ahead(self) -> bool:
        """Return True if the disk does not know the stream, or more of it was scored since than a client still has."""
        now, written = self.position, self.written
        if now is None:
            return False
        if written is None or written.stream_id != now.stream_id:
            return True
        return now.next_sample - written.next_sample > AHEAD_S * now.rate_hz

    def _keep(self, events: list[AlarmEvent], step: LiveStep | None) -> list[AlarmEvent]:
        if events:
            self._observer.on_events(self, events, step)
        return events
