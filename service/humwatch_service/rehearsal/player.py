"""Playing of recordings through the objects that follow a microphone, as fast as it goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from humwatch.alarm.events import MachineState, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.trackers import ALARM_LEVEL
from humwatch.arrays import Float32
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.source.faults import SourceFault
from humwatch_service.live.alarm_machine import alarm_machine
from humwatch_service.rehearsal.report import Episode
from humwatch_service.sources.looped import LoopedRecording


@dataclass
class _OpenEpisode:
    """An episode that is not over."""

    start_s: float
    peak_score: float = -np.inf
    alarmed: bool = False


class RehearsalPlayer:
    """Sound played through a monitor and an alarm state machine.

    Attributes:
        model: model that judges.
        loop: loop that is played.
        machine: alarm state machine.
        alarms: alarms so far, each with its end.
        warnings: warnings so far that did not become an alarm.
        watched: samples of which the highest score is kept.
        peak_score: highest normalised score of clips that lie in the watched samples; None without one.
    """

    def __init__(
        self,
        model: LiveModel,
        rule: AlarmRule,
        loop: LoopedRecording,
        *,
        use_level: bool,
        on_played: Callable[[float], None],
        on_score: Callable[[Observation], None] = lambda observation: None,
    ) -> None:
        self.model = model
        self.loop = loop
        self.machine = alarm_machine(rule, model)
        self.alarms: list[Episode] = []
        self.warnings: list[Episode] = []
        self.watched = range(0)
        self.peak_score: float | None = None
        self._monitor = LiveMonitor(
            model,
            source_rate_hz=loop.rate_hz,
            time_of=lambda sample: sample / loop.rate_hz,
            use_level=use_level,
            full_scale=loop.full_scale,
        )
        self._on_played = on_played
        self._on_score = on_score
        self._state_s: defaultdict[MachineState, float] = defaultdict(float)
        self._faults_s: defaultdict[SourceFault, float] = defaultdict(float)
        self._scored_s = self._over_s = 0.0
        self._alarm: _OpenEpisode | None = None
        self._shown: _OpenEpisode | None = None

    def play(self, sound: Iterable[Float32]) -> None:
        """Play pieces of sound, float32 (n,)."""
        for piece in sound:
            self._judge(self._monitor.push(piece))
            self._on_played(len(piece) / self.loop.rate_hz)

    def finish(self) -> None:
        """Judge the rest; an episode that is not over stays without an end."""
        self._judge(self._monitor.flush())
        if self._alarm is not None:
            self.alarms.append(self._episode(self._alarm, None))
        if self._shown is not None and not self._shown.alarmed:
            self.warnings.append(self._episode(self._shown, None))

    def state_shares(self) -> dict[MachineState, float]:
        """Return the share of the time in each state that was shown."""
        total = sum(self._state_s.values())
        return {state: seconds / total for state, seconds in self._state_s.items() if seconds}

    def fault_shares(self) -> dict[SourceFault, float]:
        """Return the share of the time for which each fault of the sound was named, the longest first."""
        total = sum(self._state_s.values())
        longest_first = sorted(self._faults_s.items(), key=lambda item: -item[1])
        return {code: seconds / total for code, seconds in longest_first if seconds}

    def share_over(self) -> float | None:
        """Return the share of the scored time over the alarm level; None if nothing was scored."""
        return self._over_s / self._scored_s if self._scored_s else None

    def _judge(self, steps: list[LiveStep]) -> None:
        for step in steps:
            if step.observation is not None:
                self._observe(step.observation)
                for fault in step.faults:
                    self._faults_s[fault.code] += step.observation.audio_s
                self._watch(step, step.observation.score)

    def _observe(self, observation: Observation) -> None:
        for event in self.machine.observe(observation):
            if event.kind == "raised":
                self._alarm = _OpenEpisode(observation.at_s)
                self.machine.acknowledge(who="rehearsal", why="", at_s=observation.at_s)
            elif event.kind == "cleared" and self._alarm is not None:
                self.alarms.append(self._episode(self._alarm, observation.at_s))
                self._alarm = None
        self._follow_warning(observation.at_s)
        self._state_s[self.machine.state] += observation.audio_s
        if observation.score is not None:
            self._measure(observation.score, observation.audio_s)
            self._on_score(observation)

    def _follow_warning(self, at_s: float) -> None:
        state = self.machine.state
        if state in ("warning", "alarm"):
            self._shown = self._shown or _OpenEpisode(at_s)
            self._shown.alarmed = self._shown.alarmed or state == "alarm"
        elif self._shown is not None:
            if not self._shown.alarmed:
                self.warnings.append(self._episode(self._shown, at_s))
            self._shown = None

    def _measure(self, score: float, audio_s: float) -> None:
        self._scored_s += audio_s
        self._over_s += audio_s if score >= ALARM_LEVEL else 0.0
        for begun in (self._alarm, self._shown):
            if begun is not None:
                begun.peak_score = max(score, begun.peak_score)

    def _watch(self, step: LiveStep, score: float | None) -> None:
        """Keep the highest score of clips that lie in the watched samples."""
        start = step.clip_start_sample
        if score is None or start is None or start < self.watched.start or step.end_sample > self.watched.stop:
            return
        self.peak_score = score if self.peak_score is None else max(score, self.peak_score)

    def _episode(self, begun: _OpenEpisode, end_s: float | None) -> Episode:
        place = self.loop.place(round(begun.start_s * self.loop.rate_hz) - 1)
        return Episode(
            start_s=begun.start_s,
            end_s=end_s,
            peak_score=begun.peak_score,
            file=str(place.path),
            file_s=place.offset_s,
        )
