"""Hours of scored normal sound, and the time that each version was in use, from the steps of live machines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.alarm.events import AlarmEvent
from humwatch.alarm.rule import AlarmRule
from humwatch.arrays import Float64
from humwatch.bundle.manifest import CALIBRATION
from humwatch.live.model import LiveModel
from humwatch.live.step import LiveStep
from humwatch_service.errors import MachineUnavailable, StateUnusable
from humwatch_service.live.machine import LiveMachine
from humwatch_service.storage.normal_hours import HourSum
from humwatch_service.storage.watches import Watch
from humwatch_service.streams.stream import LiveStream
from humwatch_service.telemetry.logs import event_logger

MAX_PARTS: Final = 20_000
"""Most hours that are held while the disk takes none: of 500 machines for more than a day."""

_log = event_logger("humwatch.oversight")


def model_of(machine: LiveMachine) -> LiveModel:
    """Return the model of a machine. Raises :class:`MachineUnavailable`."""
    if machine.model is None:
        raise MachineUnavailable(f"{machine.machine_id} has no model yet")
    return machine.model


def normal_of(model: LiveModel) -> str:
    """Return the digest of what is normal by a model: versions that share a calibration share their hours."""
    return model.bundle.manifest.files[CALIBRATION]


def rule_key(rule: AlarmRule) -> str:
    """Return a rule as the key of the time under it."""
    return rule.model_dump_json()


@dataclass
class _Part:
    """Part of an hour that is not written yet."""

    departures_sum: Float64
    seconds: float = 0.0
    alarm_s: float = 0.0
    score_sum: float = 0.0


@dataclass
class _Watched:
    """Part of the time in use that is not written yet."""

    since_s: float
    last_s: float
    watched_s: float = 0.0


class NormalRecorder:
    """Subscriber to all machines; thread-safe. Sound of an alarm in force, of a fault or a doubt is left out.

    A power cut takes what was not flushed.
    """

    def __init__(self, write: Callable[[Iterable[HourSum], Iterable[Watch]], None]) -> None:
        """Begin with nothing.

        Args:
            write: writer to the database. Raises StateUnusable.
        """
        self._write = write
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._parts: dict[tuple[str, str, int], _Part] = {}
        self._watched: dict[tuple[str, str, str], _Watched] = {}
        self._keys: dict[str, tuple[AlarmRule, str]] = {}

    def on_steps(self, machine: LiveMachine, stream: LiveStream, steps: list[LiveStep]) -> None:
        """Take steps of a machine; in its worker."""
        in_alarm = machine.alarm.number_in_force is not None
        judged = machine.state in ("normal", "warning", "alarm")
        rule = self._key_of(machine.machine_id, machine.alarm.rule)
        with self._lock:
            for step in steps:
                seen = step.observation
                if seen is not None and seen.condition == "scored" and judged and not step.faults:
                    self._watch(machine.machine_id, step, rule, seen.at_s, seen.audio_s)
                    if not seen.reasons:
                        self._add(machine.machine_id, step, seen.at_s, seen.audio_s, in_alarm)

    def on_events(self, machine: LiveMachine, events: Iterable[AlarmEvent]) -> None:
        """Nothing: what is in force is asked when sound comes."""

    def on_gone(self, machine_id: str) -> None:
        """Forget its rule; what was heard of it stays."""
        self._keys.pop(machine_id, None)

    def flush(self) -> None:
        """Write what is not written yet (blocking); it is held on where the disk does not take it."""
        with self._flushing:
            with self._lock:
                parts, watched = self._parts, self._watched
                self._parts, self._watched = {}, {}
            if not parts and not watched:
                return
            hours = [
                HourSum(*place, part.seconds, part.alarm_s, part.score_sum, part.departures_sum)
                for place, part in parts.items()
            ]
            watches = [Watch(*place, each.since_s, each.last_s, each.watched_s) for place, each in watched.items()]
            try:
                self._write(hours, watches)
            except StateUnusable as error:
                _log.error("normal hours not written", code=error.code, reason=str(error), hours=len(hours))
                self._hold_on(parts, watched)

    def _key_of(self, machine_id: str, rule: AlarmRule) -> str:
        """Return the key of a machine's rule, written once for each rule: a second is no occasion to write JSON."""
        held = self._keys.get(machine_id)
        if held is None or held[0] is not rule:
            held = self._keys[machine_id] = (rule, rule_key(rule))
        return held[1]

    def _watch(self, machine_id: str, step: LiveStep, rule: str, at_s: float, audio_s: float) -> None:
        place = machine_id, step.model.bundle.digest, rule
        watched = self._watched.get(place)
        if watched is None:
            watched = self._watched[place] = _Watched(at_s - audio_s, at_s)
        watched.last_s = max(watched.last_s, at_s)
        watched.watched_s += audio_s

    def _add(self, machine_id: str, step: LiveStep, at_s: float, audio_s: float, in_alarm: bool) -> None:
        if step.scores is None or step.scores.clip is None:
            return
        clip = step.scores.clip
        place = machine_id, normal_of(step.model), int(at_s // 3_600)
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = _Part(np.zeros_like(clip.departures_db, np.float64))
            while len(self._parts) > MAX_PARTS:
                del self._parts[next(iter(self._parts))]
        if in_alarm:
            part.alarm_s += audio_s
            return
        part.seconds += audio_s
        part.score_sum += audio_s * clip.score
        part.departures_sum += audio_s * clip.departures_db

    def _hold_on(self, parts: dict[tuple[str, str, int], _Part], watched: dict[tuple[str, str, str], _Watched]) -> None:
        with self._lock:
            for place, newer in self._parts.items():
                before = parts.setdefault(place, _Part(np.zeros_like(newer.departures_sum)))
                before.seconds += newer.seconds
                before.alarm_s += newer.alarm_s
                before.score_sum += newer.score_sum
                before.departures_sum += newer.departures_sum
            for key, later in self._watched.items():
                held = watched.setdefault(key, _Watched(later.since_s, later.last_s))
                held.last_s = max(held.last_s, later.last_s)
                held.watched_s += later.watched_s
            while len(parts) > MAX_PARTS:
                del parts[next(iter(parts))]
            self._parts, self._watched = parts, watched
