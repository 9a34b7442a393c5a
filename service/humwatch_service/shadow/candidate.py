"""Candidate of one machine: hears what the version in use hears, decides for itself, and tells nobody."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from humwatch.alarm.events import NO_SOUND, STARTING, AlarmEvent, MachineState, Observation
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch_service.live.alarm_machine import alarm_machine
from humwatch_service.live.evidence_writer import wanted_s
from humwatch_service.shadow.candidate_sounds import CandidateSounds
from humwatch_service.shadow.candidate_state import CandidateState
from humwatch_service.shadow.comparison import Comparison
from humwatch_service.shadow.matching import By
from humwatch_service.shadow.pace import Pace
from humwatch_service.shadow.unwritten import Unwritten, UnwrittenSeconds
from humwatch_service.storage.records import ScoreSecond, alarm_id_of
from humwatch_service.storage.sounds.shadow_sounds import sound_name
from humwatch_service.streams.audio_ring import Sound
from humwatch_service.streams.monitor_feed import feed
from humwatch_service.streams.stream_items import End, HeardItem, MonitorMaker, StreamFormat
from humwatch_service.telemetry.logs import event_logger

MAX_IN_USE: Final = 600
"""Most scores of the version in use that wait for those of the candidate."""
OPERATOR: Final = "shadow"

_log = event_logger("humwatch.shadow")


class Candidate:
    """A version that hears the streams of a machine beside the one in use.

    ``begin`` and ``hear`` belong to the worker of the stream, as its monitor does; the rest is for any thread. Nothing
    that goes wrong in it leaves it: it stops, and ``state.failure`` says why.

    Attributes:
        machine_id: id of the machine.
        state: what outlives a restart.
        comparison: alarms of both.
        lock: lock of both of these.
    """

    def __init__(
        self,
        machine_id: str,
        state: CandidateState,
        comparison: Comparison,
        model: LiveModel | None,
        *,
        on_settled: Callable[[By], None],
        on_sound: Callable[[str, Sound, int], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take up a candidate.

        Args:
            machine_id: id of the machine.
            state: its state, new or from before a restart.
            comparison: alarms so far.
            model: model that scores; None for one that failed.
            on_settled: callback for each episode that is counted.
            on_sound: writer of a sound by its name, with its rate in Hz; must not block.
            clock: clock that runs evenly, seconds.
        """
        self.machine_id = machine_id
        self.state = state
        self.comparison = comparison
        self._model = model
        self._on_settled = on_settled
        self._on_sound = on_sound
        self._clock = clock
        self.lock = threading.RLock()
        self._alarm: AlarmStateMachine | None = None
        if model is not None:
            self._alarm = alarm_machine(state.rule, model, state.snapshot)
        self._monitor: LiveMonitor | None = None
        self._sounds = CandidateSounds()
        self._seconds = UnwrittenSeconds()
        self._in_use: deque[tuple[int, float]] = deque(maxlen=MAX_IN_USE)
        self._pace = Pace()
        self._changed = True

    @property
    def running(self) -> bool:
        """True unless it failed."""
        return self.state.failure is None and self._model is not None

    @property
    def wanted_s(self) -> float:
        """Sound of the stream, back from what it hears, that it may ask for, seconds."""
        model = self._model
        return 0.0 if model is None else wanted_s(model.clip_seconds, self.state.rule.on_delay_s)

    def begin(
        self, form: StreamFormat, first_sample: int, *, make_monitor: MonitorMaker, sound: Callable[[int, int], Sound]
    ) -> None:
        """Hear a stream from a sample on."""
        if self._model is None or not self.running:
            return
        try:
            self._monitor = make_monitor(self._model, first_sample)
        except Exception as error:
            self.fail(error)
            return
        with self.lock:
            self._sounds.begin(form.rate_hz, sound)
            self._in_use.clear()

    def hear(self, item: HeardItem) -> None:
        """Take the next item of the stream."""
        monitor = self._monitor
        if monitor is None or not self.running:
            return
        began_s = self._clock()
        try:
            steps = feed(monitor, item)
            with self.lock:
                for step in steps:
                    self._judge(step)
                self._keep_sound(math.inf if isinstance(item, End) else monitor.next_sample)
        except Exception as error:  # whatever is wrong with it, the version in use goes on
            self.fail(error)
        else:
            heard_s = len(item) / self._sounds.rate_hz if isinstance(item, np.ndarray) else 0.0
            too_slow = self._pace.spend(heard_s, self._clock() - began_s)
            if too_slow is not None:
                self.fail(too_slow)

    def fail(self, reason: Exception | str) -> None:
        """Hear nothing any more, and say why."""
        text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
        with self.lock:
            self.state.failure = text
            self._changed = True
        self._monitor = None
        if isinstance(reason, str):
            _log.error("candidate failed", machine_id=self.machine_id, version=self.state.version, reason=text)
        else:
            _log.exception("candidate failed", machine_id=self.machine_id, version=self.state.version, reason=text)

    def on_silence(self, now_s: float) -> None:
        """Know that no sound comes."""
        with self.lock:
            if self._alarm is not None and self.running:
                self._alarm.observe(Observation(now_s, 0.0, "unknown", None, (NO_SOUND,)))

    def on_events(self, events: Iterable[AlarmEvent]) -> None:
        """Take what the version in use raised, and what operators ordered that is not about an alarm."""
        with self.lock:
            for event in events:
                if event.kind == "raised" and event.alarm is not None:
                    self.comparison.raised("old", event.at_s, alarm_id=alarm_id_of(self.machine_id, event.alarm))
                    self.comparison.scored(event.at_s, event.score, None)
                elif event.kind == "cleared":
                    self.comparison.cleared("old", event.at_s)
                elif event.kind in ("out_of_service", "in_service"):
                    self.follow_service(out=event.kind == "out_of_service", at_s=event.at_s)
                else:
                    continue
                self._changed = True

    def follow_service(self, *, out: bool, at_s: float) -> None:
        """Judge nothing while the machine is out of service, as the version in use does not."""
        with self.lock:
            if self._alarm is None or (self._alarm.state == "out_of_service") is out:
                return
            order = self._alarm.take_out_of_service if out else self._alarm.return_to_service
            order(who=OPERATOR, why="", at_s=at_s)
            self._changed = True

    def on_steps_in_use(self, steps: Iterable[LiveStep]) -> None:
        """Take steps of the version in use; in the worker, before the same sound is heard."""
        scores = [
            (step.end_sample, step.observation.score)
            for step in steps
            if step.observation is not None and step.observation.score is not None
        ]
        with self.lock:
            self._in_use.extend(scores)

    def take_unwritten(self) -> Unwritten | None:
        """Return what is to be written, seconds once; None where nothing is new."""
        with self.lock:
            if not self._changed and not self._seconds:
                return None
            if self._alarm is not None:
                self.state.snapshot = self._alarm.snapshot
            self._changed = False
            return Unwritten(self.state.model_dump_json(), self.comparison.model_dump_json(), self._seconds.take())

    def put_back(self, unwritten: Unwritten) -> None:
        """Hold what could not be written until the next time, the newest an hour of it."""
        with self.lock:
            self._changed = True
            self._seconds.put_back(unwritten.seconds)

    def estimated(self, expected: FalseAlarmRate, heard_s: float) -> None:
        """Take the false alarms a week to expect, estimated from so much sound."""
        with self.lock:
            self.state.expected = expected
            self.state.estimated_at_s = heard_s
            self._changed = True

    def conclude(self) -> None:
        """Hear nothing any more, and keep the sound that there is."""
        with self.lock:
            self._keep_sound(math.inf)
            self._monitor = None
            self._model = None

    def _judge(self, step: LiveStep) -> None:
        observation, alarm = step.observation, self._alarm
        if observation is None or alarm is None:
            return
        for event in alarm.observe(observation):
            if event.kind == "raised":
                self._raise(step, observation)
            elif event.kind == "cleared":
                self.comparison.cleared("new", observation.at_s)
                self._changed = True
        self.comparison.scored(observation.at_s, self._score_in_use(step.end_sample), observation.score)
        self._count(observation, alarm, step.level_dbfs)
        for episode in self.comparison.settle(observation.at_s):
            self._on_settled(episode.by)

    def _raise(self, step: LiveStep, observation: Observation) -> None:
        assert self._alarm is not None  # the caller checks
        self.comparison.raised("new", observation.at_s)
        self._alarm.acknowledge(who=OPERATOR, why="", at_s=observation.at_s)  # else a latch would hold it
        self._sounds.want(step, observation.at_s, self.state.rule.on_delay_s)
        self._changed = True

    def _count(self, observation: Observation, alarm: AlarmStateMachine, level_dbfs: float) -> None:
        """Keep a second; its score only if it is one that decides, on sound that is not doubtful."""
        at_s = int(observation.at_s)
        decides = observation.score is not None and not observation.reasons and STARTING not in alarm.reasons
        state: MachineState = "normal" if decides and alarm.state == "unknown" else alarm.state
        self._seconds.put(
            ScoreSecond(
                machine_id=self.machine_id,
                at_s=at_s,
                score=observation.score if decides else None,
                level_dbfs=level_dbfs if math.isfinite(level_dbfs) else None,
                state=state,
            )
        )
        if observation.at_s > self.state.heard_until_s:  # else it was heard before a restart
            self.state.heard_until_s = observation.at_s
            self.state.heard_s += observation.audio_s if observation.score is not None else 0.0

    def _score_in_use(self, end_sample: int) -> float | None:
        score = None
        while self._in_use and self._in_use[0][0] <= end_sample:
            score = self._in_use.popleft()[1]
        return score

    def _keep_sound(self, heard: float) -> None:
        """Keep the sound of alarms of the candidate alone that has become whole."""
        for raised_s, sound in self._sounds.take_whole(heard):
            if self.comparison.is_of_both(raised_s):
                continue  # the alarm of the version in use has it
            name = sound_name(self.state.version, raised_s)
            self.comparison.kept(raised_s, name)
            self._changed = True
            self._on_sound(name, sound, self._sounds.rate_hz)
