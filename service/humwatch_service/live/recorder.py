"""Everything that follows from what machines do, in the order that is promised: durable first, then those who look on.

An alarm that anybody is told of outlives a power cut, with its sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from humwatch.alarm.events import AlarmEvent, Mark
from humwatch.live.step import LiveStep
from humwatch_service.errors import StateUnusable
from humwatch_service.live.evidence_writer import EvidenceWriter, wanted_s
from humwatch_service.live.gauges import MachineGauges
from humwatch_service.live.logbook import Logbook
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machine_reading import MachineReading, detector_of
from humwatch_service.live.reference_recorder import ReferenceRecorder
from humwatch_service.storage.records import EvidenceState, KeptMachine, MachineChange, alarm_id_of
from humwatch_service.storage.state_folder import StateFolder
from humwatch_service.streams.stream import LiveStream
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.live")


class Subscriber(Protocol):
    """Subscriber to what live machines do, once it is kept; none of its methods raises or waits."""

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Take steps of a machine; in its worker."""

    def on_events(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Take events that are kept; from any thread."""

    def on_gone(self, machine_id: str) -> None:
        """Know that a machine is not there any more."""


class MachineRecorder:
    """Recorder of all machines. Thread-safe; ``on_events`` is called with the machine's lock held."""

    def __init__(
        self,
        folder: StateFolder,
        logbook: Logbook,
        evidence: EvidenceWriter,
        gauges: MachineGauges,
        references: ReferenceRecorder,
        *,
        on_owed: Callable[[], None],
    ) -> None:
        """Record machines.

        Args:
            folder: folder of what outlives a restart.
            logbook: database of alarms, history and positions.
            evidence: sound of alarms.
            gauges: metrics of machines.
            references: normal sound of machines.
            on_owed: callback after webhooks are owed something.
        """
        self._folder = folder
        self._logbook = logbook
        self._evidence = evidence
        self._gauges = gauges
        self._references = references
        self._on_owed = on_owed
        self._subscribers: list[Subscriber] = []
        self._before_close: list[Callable[[], None]] = []

    @property
    def unsaved(self) -> int:
        """Number of changes that the disk has not taken yet."""
        return self._logbook.unsaved

    @property
    def failure(self) -> str | None:
        """Reason why the disk takes nothing; None while it does."""
        return self._logbook.failure

    def subscribe(self, subscriber: Subscriber) -> None:
        """Publish to a subscriber, from before the first stream on."""
        self._subscribers.append(subscriber)

    def before_close(self, flush: Callable[[], None]) -> None:
        """Call this once the last step was taken, while the database is open."""
        self._before_close.append(flush)

    def on_events(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Keep events durably, then publish them."""
        evidence = self._write_evidence(machine, events, step)
        self._logbook.on_events(machine, events, step, evidence)
        for event in events:
            if event.kind == "raised":
                self._references.on_raised(machine.machine_id, event.at_s)
        self._gauges.on_events(machine, events, detector_of(step))
        for subscriber in self._subscribers:
            subscriber.on_events(machine, events)
        self._on_owed()

    def on_second(self, machine: LiveMachine, reading: MachineReading) -> None:
        """Keep a second of history until it is written, then show it."""
        self._logbook.on_second(machine, reading)
        self._gauges.on_second(machine, reading)

    def on_audio(self, machine: LiveMachine, stream: LiveStream, start: int) -> None:
        """Let a stream forget what nobody asks for any more, as all before ``start`` is judged.

        A longer on-delay keeps more from then on; what was forgotten is missing in the sound of an alarm until then.
        """
        clip_s = 0.0 if machine.model is None else machine.model.clip_seconds
        kept_s = wanted_s(clip_s, machine.rule.on_delay_s)
        if machine.companion is not None:
            kept_s = max(kept_s, machine.companion.wanted_s)
        stream.ring.keep_from(start - math.ceil(kept_s * stream.form.rate_hz))

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Write the evidence that has become whole, then keep normal sound and publish the steps that were judged."""
        self._evidence.advance(stream)
        if machine.stream is not stream:
            return
        self._references.on_steps(machine, stream, steps)
        for subscriber in self._subscribers:
            subscriber.on_steps(machine, stream, steps)

    def submit(self, machine_id: str, write: Callable[[], None]) -> None:
        """Write something else of a machine's sound, in the thread that writes evidence."""
        self._evidence.submit(machine_id, write)

    def on_run_signal(self, machine: LiveMachine, mark: Mark) -> None:
        """Keep the running state that somebody set."""
        self._logbook.change(
            MachineChange(
                machine_id=machine.machine_id, snapshot=machine.alarm.snapshot, running=machine.running, signalled=mark
            )
        )

    def on_silence(self, machine: LiveMachine) -> None:
        """Show that no sound comes, and write the evidence that there is."""
        self._gauges.on_silence(machine)
        if machine.stream is not None:
            self._evidence.complete(machine.stream)

    def on_stream_end(self, stream: LiveStream) -> None:
        """Write the evidence that there is of a stream that is over."""
        self._evidence.complete(stream)

    def on_gone(self, machine_id: str) -> None:
        """Publish that a machine is not there any more."""
        for subscriber in self._subscribers:
            subscriber.on_gone(machine_id)
        self._references.forget(machine_id)

    def checkpoint(self, machine: LiveMachine) -> None:
        """Write history and the position of a stream of which much was scored."""
        self._logbook.checkpoint(machine)

    def flush(self, machines: Iterable[LiveMachine]) -> None:
        """Write history and the positions of machines (blocking)."""
        self._logbook.flush(machines)

    def retry(self) -> None:
        """Write what the disk has not taken yet (blocking)."""
        if self._logbook.unsaved:
            self._logbook.flush()

    def open(self) -> list[KeptMachine] | None:
        """Return what outlived the last run (blocking); None, and ``failure`` says why, where it cannot be read."""
        try:
            kept = self._folder.open()
        except StateUnusable as error:
            if self._logbook.failure is None:
                _log.error("alarms cannot be read", code=error.code, reason=str(error))
            self._logbook.failure = str(error)
            return None
        self._logbook.failure = None
        return kept

    def close(self, machines: Iterable[LiveMachine]) -> None:
        """Write all that waits (blocking)."""
        self._logbook.flush(machines)
        for flush in self._before_close:
            flush()
        self._evidence.close()
        self._folder.close()

    def _write_evidence(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> EvidenceState:
        """Write the sound of a new alarm; return its state for the alarm's row."""
        evidence: EvidenceState = "none"
        for event in events:
            if event.kind == "raised" and event.alarm is not None and step is not None and machine.stream is not None:
                alarm_id = alarm_id_of(machine.machine_id, event.alarm)
                evidence = self._evidence.begin(machine.stream, alarm_id, step, delay_s=machine.rule.on_delay_s)
        return evidence
