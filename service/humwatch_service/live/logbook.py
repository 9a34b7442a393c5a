"""Database of what happens to machines, written in order, and later when the disk does not take it now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from humwatch.alarm.events import AlarmEvent, AlarmSnapshot
from humwatch.live.model import LiveModel
from humwatch.live.step import LiveStep
from humwatch.scoring.explain import explain_bands
from humwatch_service.errors import StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machine_reading import MachineReading, detection_of, detector_of
from humwatch_service.storage.records import (
    OLD_S,
    AlarmContext,
    AlarmLevels,
    EvidenceState,
    MachineChange,
    ScoreSecond,
    SoundSource,
    StreamPosition,
    TracePoint,
    alarm_id_of,
    split_alarm_id,
)
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.utc import utc_text

MAX_UNSAVED: Final = 10_000
"""Most changes held while the disk takes none; beyond it the oldest are given up, and the log says so."""
MAX_TOGETHER: Final = 200
"""Most changes that are written in one transaction."""
MAX_SECONDS: Final = 200_000
"""Most seconds of history held while the disk takes none: an hour of 55 machines."""
MAX_PEAK_POINTS: Final = 3_600
"""Most scores of an alarm held while the disk takes none: the last hour, and the highest of all."""

_log = event_logger("humwatch.alarms")


@dataclass(frozen=True)
class _Reached:
    """Position of a machine at one moment: ``position``; ``kept`` is what the disk was given of it by then."""

    machine: LiveMachine
    position: StreamPosition | None
    kept: tuple[StreamPosition | None, AlarmSnapshot]

    @classmethod
    def by(cls, machine: LiveMachine) -> _Reached:
        with machine.lock:
            return cls(machine, machine.position, (machine.written, machine.alarm.snapshot))


class Logbook:
    """Writer of changes in order. What could not be written is tried again before anything newer. Thread-safe.

    Attributes:
        failure: reason why the disk takes nothing; None while it does.
    """

    def __init__(
        self, store: StateStore, *, recipients: Callable[[LiveMachine, AlarmEvent, float], tuple[str, ...]]
    ) -> None:
        """Begin with nothing to write.

        Args:
            store: database.
            recipients: lookup of the names of the webhooks that an event of a machine goes to, by how much later than
                recorded its sound was heard, seconds.
        """
        self._store = store
        self._recipients = recipients
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._unsaved: deque[MachineChange] = deque()
        self._seconds: dict[tuple[str, int], ScoreSecond] = {}
        self._peaks: dict[str, tuple[float, list[TracePoint]]] = {}
        self.failure: str | None = None

    @property
    def unsaved(self) -> int:
        """Number of changes that the disk has not taken yet."""
        return len(self._unsaved)

    def on_events(
        self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None, evidence: EvidenceState
    ) -> None:
        """Keep events, what they were decided on, what there is of the sound, and which webhooks are owed them."""
        with self._flushing:
            if self.failure is None and self._seconds:  # what the position that is written next says was scored
                self._write_history(machine.machine_id)
        machine.written = machine.position
        late_s = machine.reading.late_s if step is not None and machine.reading is not None else 0.0
        for event in events:
            if event.kind == "raised":
                machine.alarm_late_s = late_s
        self.change(
            MachineChange(
                machine_id=machine.machine_id,
                snapshot=machine.alarm.snapshot,
                events=tuple(events),
                position=machine.position,
                context=_context(machine, step),
                evidence=evidence,
                webhooks=tuple(self._recipients(machine, event, late_s) for event in events),
                heard_s=None if step is None else events[-1].at_s + late_s,
            )
        )
        for event in events:
            _note(machine, event, step, late_s)

    def change(self, change: MachineChange) -> None:
        """Write a change now, or as soon as the disk takes it."""
        with self._lock:
            self._hold(change)
            self._write()

    def on_second(self, machine: LiveMachine, reading: MachineReading) -> None:
        """Hold a second of history until the next :meth:`flush`."""
        at_s = int(reading.at_s if reading.place_s is None else reading.place_s)
        second = ScoreSecond(
            machine_id=machine.machine_id,
            at_s=at_s,
            score=reading.score,
            level_dbfs=reading.level_dbfs,
            state=machine.state,
            late=reading.late_s > OLD_S or reading.at_s - at_s > OLD_S,
        )
        with self._lock:
            held = self._seconds.get((machine.machine_id, at_s))
            if held is None or held.late or not second.late or held.state == "unknown":
                self._seconds[machine.machine_id, at_s] = second
            while len(self._seconds) > MAX_SECONDS:
                del self._seconds[next(iter(self._seconds))]
            number = machine.alarm.number_in_force
            if number is not None and reading.score is not None:
                self._note_peak(alarm_id_of(machine.machine_id, number), reading.at_s, reading.score)

    def flush(self, machines: Iterable[LiveMachine] = (), *, history_of: str | None = None) -> None:
        """Write what is due every few seconds: history, peaks, and how far each stream was scored (blocking).

        In this order: what a power cut leaves unwritten is heard again behind the position that is written.

        Args:
            machines: machines whose streams' positions are written.
            history_of: machine whose history is written; None: that of all.
        """
        reached = [_Reached.by(machine) for machine in machines]
        with self._flushing:
            with self._lock:
                self._write()
            if self.failure is None:
                self._write_history(history_of)
        if self.failure is None:  # else they would only push alarms out of what waits
            for machine in reached:
                self._hold_position(machine)
            with self._lock:
                self._write()

    def checkpoint(self, machine: LiveMachine) -> None:
        """Write history and the position of a stream of which much was scored; not while the disk takes nothing."""
        if self.failure is None:
            self.flush([machine], history_of=machine.machine_id)

    def _hold_position(self, reached: _Reached) -> None:
        """Hold how far a machine was when its history was written, unless an event has written more since."""
        machine = reached.machine
        with machine.lock:
            if reached.position is not None and _Reached.by(machine).kept == reached.kept:
                machine.written = reached.position
                self._hold(
                    MachineChange(
                        machine_id=machine.machine_id, snapshot=machine.alarm.snapshot, position=reached.position
                    )
                )

    def _write_history(self, machine_id: str | None) -> None:
        """Write the history of one machine, whose position follows, or of all: with many, one changes all the time."""
        with self._lock:
            seconds = [second for second in self._seconds.values() if machine_id in (None, second.machine_id)]
            due = [alarm_id for alarm_id in self._peaks if machine_id in (None, split_alarm_id(alarm_id)[0])]
            peaks = {alarm_id: self._peaks.pop(alarm_id) for alarm_id in due}
        try:
            refused = self._store.add_seconds(seconds)
            if refused:
                _log.info("old sound of seconds that were heard before: history not changed", seconds=refused)
            for alarm_id in list(peaks):
                score, trace = peaks[alarm_id]
                self._store.peak(alarm_id, score, tuple(trace))
                del peaks[alarm_id]
        except StateUnusable as error:
            self._failed(error)
        with self._lock:
            if self.failure is None:
                for second in seconds:
                    if self._seconds.get((second.machine_id, second.at_s)) is second:
                        del self._seconds[second.machine_id, second.at_s]
            for alarm_id, (score, trace) in peaks.items():
                newer, points = self._peaks.get(alarm_id, (score, []))
                self._peaks[alarm_id] = (max(score, newer), [*trace, *points][-MAX_PEAK_POINTS:])
            while len(self._peaks) > MAX_UNSAVED:
                del self._peaks[next(iter(self._peaks))]

    def _hold(self, change: MachineChange) -> None:
        with self._lock:
            self._unsaved.append(change)
            if len(self._unsaved) > MAX_UNSAVED:
                lost = self._unsaved.popleft()
                _log.error("a change could not be kept", machine_id=lost.machine_id, lost_events=len(lost.events))

    def _note_peak(self, alarm_id: str, at_s: float, score: float) -> None:
        highest, trace = self._peaks.get(alarm_id, (score, []))
        trace.append(TracePoint(at_s=at_s, score=score))
        del trace[:-MAX_PEAK_POINTS]
        self._peaks[alarm_id] = (max(highest, score), trace)

    def _write(self) -> None:
        while self._unsaved:
            changes = list(islice(self._unsaved, MAX_TOGETHER))
            try:
                self._store.commit(*changes)
            except StateUnusable as error:
                self._failed(error)
                return
            for _ in changes:
                self._unsaved.popleft()
        if self.failure is not None:
            _log.info("the database takes changes again")
        self.failure = None

    def _failed(self, error: StateUnusable) -> None:
        if self.failure is None:
            _log.error("alarms cannot be saved", code=error.code, reason=str(error), unsaved_changes=len(self._unsaved))
        self.failure = str(error)


def _context(machine: LiveMachine, step: LiveStep | None) -> AlarmContext | None:
    """Return what is in force and was scored, for the record of an alarm that may be raised here."""
    if step is None or step.scores is None or step.scores.clip is None or machine.stream is None:
        return None
    clip, model = step.scores.clip, step.model
    form = machine.stream.form
    at_s = machine.stream.time_of(step.end_sample) if step.observation is None else step.observation.at_s
    found = detection_of(clip, at_s, model)
    return AlarmContext(
        score=clip.score,
        raw_score=clip.raw_score,
        model_version=model.bundle.manifest.version,
        model_sha256=model.bundle.digest,
        levels=AlarmLevels(warn=machine.alarm.warn_level, alarm=1.0),
        raw_levels=_raw_levels(model),
        rule=machine.alarm.rule,
        limits=machine.alarm.limits,
        chart=machine.alarm.nearest,
        detector=found.detector,
        irregular_times=found.irregular_times,
        line=found.line,
        bands=tuple(
            explain_bands(clip.contributions, clip.departures_db, model.bundle.manifest.pipeline.band_edges_hz)
        ),
        trace=tuple(TracePoint(at_s=at_s, score=score) for at_s, score in machine.trace),
        reasons=machine.alarm.reasons,
        source=SoundSource(stream_id=form.stream_id, sample=step.end_sample, rate_hz=form.rate_hz),
    )


def _raw_levels(model: LiveModel) -> AlarmLevels:
    clip = model.bundle.manifest.clip
    return AlarmLevels(warn=clip.warn.level, alarm=clip.alarm.level)


def _note(machine: LiveMachine, event: AlarmEvent, step: LiveStep | None, late_s: float) -> None:
    level = "warning" if event.kind in ("raised", "realarmed") else "info"
    getattr(_log, level)(
        event.kind.replace("_", " "),
        machine_id=machine.machine_id,
        alarm_id=None if event.alarm is None else alarm_id_of(machine.machine_id, event.alarm),
        state_before=event.from_state,
        state=event.to_state,
        score=event.score,
        detector=None if event.score is None else detector_of(step),
        reasons=list(event.reasons),
        who=event.who,
        heard_late_s=round(late_s) if late_s > OLD_S else None,
        sound_at=utc_text(event.at_s),
    )
